"""Given / when / then over one agent, without a runtime.

    given(Planner(), documents, domain="shop", service="checkout")
        .events(SignalRaised(...))
        .when(PlanDenied(...))
        .then(PlanProposed)

Events are folded through `handle` at made-up positions and times. After each of them the state goes through a dump and
a load, so that every scenario also shows that a snapshot loses nothing. Whatever an agent returned for the last `when`
is in `outputs`; `only(PlanProposed)` is the one payload of that type among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from autopilot.agents.agent import Agent
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Envelope, Event, Output, Position, Recorded, Rejection
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.events.runtime import Tick

P = TypeVar("P", bound=Payload)

START_US = 1_760_000_000_000_000
"""The time at which a scenario begins, microseconds since the epoch."""


@dataclass(frozen=True)
class Said:
    """A payload with an address or a signature of its own; None takes the scenario's."""

    payload: Payload
    domain: str | None = None
    service: str | None = None
    correlation_id: str = ""
    signed_by: str | None = None
    occurred_at_us: int | None = None


Told = Payload | Said


def envelope(**of: Any) -> Envelope:
    """The envelope of an event that nothing on record has caused."""
    content: dict[str, Any] = {
        "event_id": "e",
        "run": "live",
        "correlation_id": "",
        "causation_id": "",
        "cause_topic": "",
        "cause_partition": -1,
        "cause_offset": -1,
        "occurred_at_us": 0,
        "domain": "",
        "service": "",
        "producer": "test",
    }
    return Envelope(**{**content, **of})


def recorded(told: Told, offset: int, *, now_us: int, domain: str, service: str, topic: str) -> Recorded[Any]:
    """A record of `told` at a made-up position."""
    said = told if isinstance(told, Said) else Said(told)
    broadcast = said.payload.broadcast
    bears = envelope(
        event_id=f"event-{offset}",
        correlation_id=said.correlation_id,
        occurred_at_us=now_us if said.occurred_at_us is None else said.occurred_at_us,
        domain=("" if broadcast else domain) if said.domain is None else said.domain,
        service=("" if broadcast else service) if said.service is None else said.service,
    )
    return Recorded(Position(topic, 0, offset), Event(bears, said.payload), said.signed_by, now_us // 1000)


class Scenario:
    """One agent, one partition, and the time."""

    def __init__(self, agent: Agent[Any], domain: str, service: str) -> None:
        self.agent = agent
        self.state = agent.initial_state()
        self.now_us = START_US
        self.offset = 0
        self.outputs: list[Output] = []
        self._domain = domain
        self._service = service

    def events(self, *told: Told) -> "Scenario":
        """Folds what came before; its outputs are not looked at."""
        for one in told:
            self._fold(one)
        return self

    def when(self, *told: Told) -> "Scenario":
        """Folds what is looked at: `outputs` is what came of all of `told`."""
        self.outputs = []
        for one in told:
            self.outputs += self._fold(one)
        return self

    def after(self, *, seconds: float, step_seconds: float | None = None) -> "Scenario":
        """Lets time pass, by one tick or by one each `step_seconds`: `outputs` is what came of it."""
        until = self.now_us + round(seconds * 1_000_000)
        step = round((step_seconds or seconds) * 1_000_000)
        ticks = [Tick(at_us=at) for at in range(self.now_us + step, until + 1, step)]
        return self.when(*ticks)

    def then(self, *expected: type[Payload] | Payload) -> "Scenario":
        """Asserts what was said, in order: a type stands for any payload of it."""
        seen = [output.payload for output in self.drafts()]
        assert len(seen) == len(expected), f"said {[type(p).__name__ for p in seen]}"
        for payload, wanted in zip(seen, expected, strict=True):
            if isinstance(wanted, type):
                assert isinstance(payload, wanted), f"said {payload!r}, expected a {wanted.__name__}"
            else:
                assert payload == wanted
        return self

    def then_nothing(self) -> "Scenario":
        """Asserts that nothing was said."""
        assert self.outputs == []
        return self

    def then_rejected(self, field: str) -> "Scenario":
        """Asserts that the input was rejected because of `field`."""
        assert [output.field for output in self.outputs if isinstance(output, Rejection)] == [field]
        return self

    def drafts(self) -> list[Draft]:
        """What was said; fails when anything was rejected."""
        assert not any(isinstance(output, Rejection) for output in self.outputs), self.outputs
        return [output for output in self.outputs if isinstance(output, Draft)]

    def only(self, kind: type[P]) -> P:
        """The one payload of `kind` that was said, among whatever else."""
        found = [draft.payload for draft in self.drafts() if isinstance(draft.payload, kind)]
        assert len(found) == 1, (
            f"{len(found)} of {kind.__name__} among {[type(d.payload).__name__ for d in self.drafts()]}"
        )
        return found[0]

    def _fold(self, told: Told) -> Sequence[Output]:
        payload = told.payload if isinstance(told, Said) else told
        if isinstance(payload, Tick):
            self.now_us = max(self.now_us, payload.at_us)
        record = recorded(
            told, self.offset, now_us=self.now_us, domain=self._domain, service=self._service, topic=self.agent.reads
        )
        self.offset += 1
        if type(payload) not in self.agent.handles:
            return []
        self.state, outputs = self.agent.handle(self.state, record)
        dumped = self.agent.dump_state(self.state)
        self.state = self.agent.load_state(dumped)
        assert self.agent.dump_state(self.state) == dumped
        return outputs


def given(
    agent: Agent[Any], documents: Sequence[Document] = (), *events: Told, domain: str = "shop", service: str = ""
) -> Scenario:
    """A scenario in which `documents` are in force and `events` have happened."""
    scenario = Scenario(agent, domain, service)
    if documents:
        ordered = sorted(documents, key=lambda doc: (doc.kind, doc.name))
        scenario.events(ConfigurationActivated(revision="r", documents=ordered, author="test", comment=""))
    return scenario.events(*events)
