"""One simulation: recorded telemetry in, an ordinary log out. Deterministic: the same input and seed, the same bytes.

Time is the recording's. At each tick the samples since the tick before reach the observer, and all agents run until
none has anything left to read; so a signal comes at most one tick later than it would have come live.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.observer import Observer
from autopilot.agents.planner import Planner
from autopilot.agents.policy import PolicyAgent
from autopilot.agents.verifier import Verifier
from autopilot.schemas.configuration import Configuration, Principal, Role, Signers, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.people import ApprovalGranted, Document
from autopilot.schemas.events.policy import ApprovalRequested
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess
from autopilot.streams.simulation.effects import RECORDED, EffectModel
from autopilot.streams.simulation.recording import Ints, Part, Recording, batches, stretches, ticks_of
from autopilot.streams.simulation.world import World

MAX_TICK_US = 30_000_000
"""The longest tick: when ticks are further apart, the observer takes it that the clock stood still."""
GAP_US = 900_000_000
"""Where nothing was recorded for longer than this the clock jumps, unless it is said otherwise."""
ADMINISTRATOR, APPROVER, SEALER = "simulated-administrator", "simulated-approver", "simulated-sealer"
PLANNER, POLICY, EXECUTOR, EFFECTOR, VERIFIER = "planner", "policy", "executor", "effector", "verifier"
Progress = Callable[[int, int], None]
"""Told how many samples of how many have been gone through."""


@dataclass(frozen=True)
class Options:
    """What a simulation is to do. `tick_us` 0 takes the shortest telemetry interval, 30 s at most."""

    name: str
    seed: int = 0
    model: EffectModel = field(default_factory=lambda: RECORDED)
    source: str = "recording"
    tick_us: int = 0
    gap_us: int = GAP_US

    @property
    def run(self) -> str:
        """The run that every event of the simulation bears."""
        return f"simulation:{self.name}"


@dataclass(frozen=True)
class Request:
    """An approval that the simulated approver will give."""

    due_us: int
    asked: ApprovalRequested
    domain: str
    service: str
    correlation_id: str


def key_of(principal: str, seed: int) -> SigningKey:
    """A key that exists in simulations alone: it follows from the seed, so it protects nothing."""
    return SigningKey.from_bytes(principal, hashlib.sha256(f"simulation/{seed}/{principal}".encode()).digest())


def signers(seed: int) -> Document:
    """The signer list of a simulation; it stands in for whatever signers the configuration has."""
    roles = {
        ADMINISTRATOR: [Role.ADMINISTRATOR],
        PLANNER: [Role.PLANNER],
        POLICY: [Role.POLICY],
        EXECUTOR: [Role.EXECUTOR],
        EFFECTOR: [Role.EFFECTOR],
        VERIFIER: [Role.VERIFIER],
        APPROVER: [Role.APPROVER],
        SEALER: [Role.SEALER],
    }  # fmt: skip
    principals = [
        Principal(name=name, public_key=key_of(name, seed).public_key, roles=list(held)) for name, held in roles.items()
    ]
    return document(Signers(name="simulation", signers=principals).model_dump(mode="json"))


def five_agents() -> list[Agent[Any]]:
    """A fresh one of each, for one partition."""
    return [Observer(1), Planner(), PolicyAgent(), Executor(), Verifier()]


class Simulation:
    """The runner, the world and the recording."""

    def __init__(self, recording: Recording, documents: Sequence[Document], options: Options) -> None:
        """`documents` must have been checked. Raises ValueError when no service of the fleet is in the recording."""
        self._options = options
        kept = [doc for doc in documents if doc.kind != "Signers"]
        fleets = Configuration().with_activated(kept).fleets()
        self.ignored = sorted(set(recording.services) - {one.name for fleet in fleets for one in fleet.services})
        """Services of the recording that the fleet map does not know: their telemetry is left out."""
        known = tuple(one for one in recording.series if one.id.service not in self.ignored)
        if not known:
            raise ValueError("no service of the recording is in the fleet map")
        self.recording = Recording(known, recording.left_out)
        self.ticks: Ints = self._ticks([one.telemetry.interval_ms for fleet in fleets for one in fleet.services])
        self._world = World(options.model, self.recording, fleets, options.seed)
        self._requests: list[Request] = []
        self.runner = InProcess(
            five_agents(),
            start_us=int(self.ticks[0]) - 1,
            run=options.run,
            keys=[key_of(name, options.seed) for name in (PLANNER, POLICY, EXECUTOR, EFFECTOR, VERIFIER)],
            responders=[self._world.respond, self._note_request],
        )
        self.runner.configure([*kept, signers(options.seed)], key_of(ADMINISTRATOR, options.seed))

    def run(self, progress: Progress = lambda _done, _all: None) -> None:
        """Goes through the whole recording."""
        key = key_of(EFFECTOR, self._options.seed)
        for draft in self._world.observed():
            self.runner.append(draft.payload, domain=draft.domain, service=draft.service, producer=EFFECTOR, key=key)
        done, points = 0, self.recording.points
        for at_us, parts in zip(self.ticks.tolist(), stretches(self.recording, self.ticks), strict=True):
            self._world.now_us = at_us
            self.runner.tick(at_us)
            for service, of_service in parts.items():
                done += self._send(service, of_service)
            self._approve(at_us)
            self.runner.settle()
            progress(done, points)

    def events(self) -> Iterator[Recorded[Payload]]:
        """The log, in order, with its virtual record times."""
        for record in self.runner.topics[str(Topic.LOG)][0]:
            yield Recorded(record.position, self.runner.codec.decode(record.value), None, record.timestamp_ms)

    def recorded_stretches(self) -> list[tuple[int, int]]:
        """The stretches of time between the clock's jumps, microseconds."""
        jumps = np.nonzero(np.diff(self.ticks) > MAX_TICK_US)[0]
        starts = [int(self.ticks[0]), *self.ticks[jumps + 1].tolist()]
        return list(zip(starts, [*self.ticks[jumps].tolist(), int(self.ticks[-1])], strict=True))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ticks(self, intervals_ms: list[int]) -> Ints:
        tick_us = self._options.tick_us or min(*(interval * 1000 for interval in intervals_ms), MAX_TICK_US)
        return np.fromiter(ticks_of(self.recording.times_us, min(tick_us, MAX_TICK_US), self._options.gap_us), np.int64)

    def _send(self, service: str, parts: list[Part]) -> int:
        valued = [(part, self._world.values(part)) for part in parts]
        for batch in batches(self._options.source, valued):
            self.runner.append(batch, service=service, producer="recording")
        return sum(len(values) for _, values in valued)

    def _note_request(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        after_ms = self._options.model.approve_after_ms
        if isinstance(recorded.payload, ApprovalRequested) and after_ms is not None:
            envelope, due_us = recorded.envelope, self.runner.now_us + after_ms * 1000
            request = Request(due_us, recorded.payload, envelope.domain, envelope.service, envelope.correlation_id)
            self._requests.append(request)
        yield from ()

    def _approve(self, now_us: int) -> None:
        due = [request for request in self._requests if request.due_us <= now_us]
        self._requests = [request for request in self._requests if request.due_us > now_us]
        for request in due:
            decision = request.asked.decision
            granted = ApprovalGranted(
                approval_id=request.asked.approval_id,
                plan_id=decision.plan_id,
                plan_hash=decision.plan_hash,
                facts_digest=decision.facts_digest,
                approver=APPROVER,
                comment="granted by the simulation's declared model",
            )
            self.runner.append(
                granted, domain=request.domain, service=request.service, correlation_id=request.correlation_id,
                producer=APPROVER, key=key_of(APPROVER, self._options.seed),
            )  # fmt: skip
