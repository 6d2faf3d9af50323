"""The fold around an agent: what the runtime adds to `handle`, pure, for one partition.

Live worker, in-process runner and replay all turn this same crank: `step` takes records in order of offset and gives
the records to be written because of them. It decodes, checks signatures, folds the configuration in force, ignores
late ticks, parks what faulted and mints envelopes. Given the same records it gives the same bytes.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from autopilot.agents.agent import Agent, BatchingAgent
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Principal
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Envelope, Event, Output, Recorded, Rejection
from autopilot.schemas.errors import ContractError, InvalidError, UnknownEventTypeError
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.runtime import AgentFaulted, DeadLettered, Tick
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, RUN, Outgoing, Record
from autopilot.streams.repetition import Heard, check_repetition
from autopilot.streams.trust import check_activation, check_signature

S = TypeVar("S")

WHOLE_PARTITION = "*"
AHEAD_US = 60_000_000
"""How far a tick may be ahead of the broker's own time of its record. One of next year would stop time until then."""
_RUNTIME_TYPES = frozenset({Tick.event_type(), ConfigurationActivated.event_type()})


def is_ahead(tick: Tick, record: Record) -> bool:
    """Whether a tick is too far ahead of its record's time to count."""
    return 0 < record.timestamp_ms * 1_000 < tick.at_us - AHEAD_US


@dataclass
class RuntimeState:
    """What the runtime itself remembers of a partition."""

    configuration: Configuration = field(default_factory=Configuration)
    placements: dict[str, int] = field(default_factory=dict)
    parked: list[str] = field(default_factory=list)
    """In the order in which they were parked, so that a dump is the same in every process."""
    heard: Heard = field(default_factory=Heard)
    """Signed words, each of which counts once."""
    now_us: int = 0
    next_offset: int = 0


_RUNTIME_STATE = TypeAdapter(RuntimeState)


class BatchFaultError(RuntimeError):
    """`handle_batch` raised and may have left the state half changed: drop the fold and start again one by one."""


class Watch(Protocol):
    """Told of every call of an agent, for traces. It changes nothing."""

    def starting(self) -> None:
        """The agent is about to be called."""
        ...

    def handled(self, recorded: Recorded[Payload], outputs: Sequence[Output]) -> None:
        """The agent has handled `recorded` and made `outputs` of it."""
        ...


class Unwatched:
    """Watches nothing."""

    def starting(self) -> None:
        """Nothing."""

    def handled(self, recorded: Recorded[Payload], outputs: Sequence[Output]) -> None:
        """Nothing."""


class PartitionFold(Generic[S]):
    """One agent over one partition. `one_by_one` never uses the agent's `handle_batch`."""

    def __init__(
        self,
        agent: Agent[S],
        codec: Codec,
        mint: Mint,
        *,
        reads_run: str,
        one_by_one: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.agent = agent
        self._watch = watch or Unwatched()
        self._batching = agent if isinstance(agent, BatchingAgent) else None
        self._one_by_one = one_by_one
        self._codec = codec
        self._mint = mint
        self._reads_run = reads_run.encode()
        self._wanted = {model.event_type().encode() for model in agent.handles} | {t.encode() for t in _RUNTIME_TYPES}
        self._known = {name.encode() for name in EVENT_TYPES}
        self._handles = agent.handles
        self._signers: list[Principal] = []
        self._homes: dict[str, str] = {}
        self.runtime = RuntimeState()
        self.state: S = agent.initial_state()

    # -- state -------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The whole state, for a snapshot or a digest: the runtime's length, the runtime's part, the agent's part."""
        head = _RUNTIME_STATE.dump_json(self.runtime)
        return len(head).to_bytes(4, "big") + head + self.agent.dump_state(self.state)

    def load(self, data: bytes, *, same_code: bool = True) -> None:
        """Takes over a dumped state. What other code had parked is no longer parked under this one.

        Raises ValueError, KeyError or TypeError when it is of another shape; nothing of it is taken over then. One of
        other code is of another shape as well when it says what would be forgotten, or not what would be made up.
        """
        end = 4 + int.from_bytes(data[:4], "big")
        runtime = _runtime_of(data[4:end])
        state = self.agent.load_state(data[end:])
        if not same_code:
            if self.agent.dump_state(state) != data[end:]:
                raise ValueError("the state of an agent of another shape")
            runtime.parked.clear()
        self.runtime, self.state = runtime, state
        self._derive()

    @property
    def signers(self) -> Sequence[Principal]:
        """Whose signatures count now."""
        return self._signers

    # -- fold --------------------------------------------------------------------------------------------------------

    def step(self, records: Sequence[Record]) -> list[Outgoing]:
        """Folds `records`, which follow on the last ones in offset order, and gives what is to be written."""
        out: list[Outgoing] = []
        batch: list[tuple[Record, Recorded[Payload]]] = []
        for record in records:
            recorded = self._admit(record, out, batch)
            if recorded is not None:
                batch.append((record, recorded))
        self._handle(batch, out)
        if records:
            self.runtime.next_offset = records[-1].position.offset + 1
        return out

    def _admit(
        self, record: Record, out: list[Outgoing], batch: list[tuple[Record, Recorded[Payload]]]
    ) -> Recorded[Payload] | None:
        """The record as the agent is to see it; None for what it is not to see. Dead-letters what is broken."""
        name = record.headers.get(EVENT_TYPE)
        if name is not None and name not in self._wanted and name in self._known:
            return None
        if record.headers.get(RUN, self._reads_run) != self._reads_run:
            return None
        try:
            event = self._decoded(record, name)
        except ContractError as error:
            out.append(self.dead_letter(record, error.error_class, error.field, error.value, error.expected))
            return None
        if event.type in _RUNTIME_TYPES:
            self._handle(batch, out)  # what came before is folded under the time and configuration of then
            batch.clear()
            if not self._take_over(record, event, out):
                return None
        if type(event.payload) not in self._handles:
            return None
        signed_by = check_signature(record, event.type, self._signers)
        if isinstance(signed_by, Rejection):
            out.append(self.dead_letter(record, "unauthorised", signed_by.field, signed_by.value, signed_by.expected))
            return None
        if signed_by is not None and self._is_repeated(record, event, signed_by, out):
            return None
        return Recorded(record.position, event, signed_by, record.timestamp_ms)

    def _decoded(self, record: Record, name: bytes | None) -> Event[Any]:
        """The record's event. Raises `ContractError`."""
        if name is not None and name not in self._known:
            raise UnknownEventTypeError(EVENT_TYPE, name.decode(errors="replace"), "an event type of this version")
        event = self._codec.decode(record.value)
        if event.envelope.run.encode() != self._reads_run:
            raise InvalidError("run", f"`{event.envelope.run}`", f"that of the header, `{self._reads_run.decode()}`")
        return event

    def _is_repeated(self, record: Record, event: Event[Any], signed_by: str, out: list[Outgoing]) -> bool:
        """Whether signed words are somebody's copy of what was said before or elsewhere; they are dead-lettered."""
        found = check_repetition(record, event, signed_by, self.runtime.heard, self.runtime.now_us)
        if found is not None:
            out.append(self.dead_letter(record, "repeated", found.field, found.value, found.expected))
        return found is not None

    def _take_over(self, record: Record, event: Event[Any], out: list[Outgoing]) -> bool:
        """Takes over a tick or an activation; False for one that is late, far ahead, or does not count."""
        if isinstance(event.payload, ConfigurationActivated):
            return self._activate(record, event, out)
        at_us = event.payload.at_us
        if is_ahead(event.payload, record):
            near = f"a time near {record.timestamp_ms * 1_000}"
            out.append(self.dead_letter(record, "invalid", "at_us", str(at_us), near))
            return False
        if at_us <= self.runtime.now_us:
            return False
        self.runtime.now_us = at_us
        return True

    def _activate(self, record: Record, event: Event[Any], out: list[Outgoing]) -> bool:
        outcome = check_activation(record, event, self.runtime.configuration)
        if isinstance(outcome, Rejection):
            out.append(self.dead_letter(record, "unauthorised", outcome.field, outcome.value, outcome.expected))
            return False
        self.runtime.configuration = outcome
        self.runtime.placements = {
            domain.name: domain.partition
            for fleet in outcome.fleets()
            for domain in fleet.domains
            if domain.partition is not None
        }
        self._derive()
        return True

    def _derive(self) -> None:
        """Takes from the configuration in force what is looked up for every record."""
        configuration = self.runtime.configuration
        self._signers = configuration.signers()
        self._homes = {service.name: service.domain for fleet in configuration.fleets() for service in fleet.services}

    def _handle(self, batch: list[tuple[Record, Recorded[Payload]]], out: list[Outgoing]) -> None:
        batching = None if self._one_by_one or self.runtime.parked else self._batching
        if batching is None or len(batch) < 2:
            for record, recorded in batch:
                self._handle_one(record, recorded, out)
            return
        self._watch.starting()
        try:
            self.state, outputs = batching.handle_batch(self.state, [recorded for _, recorded in batch])
        except Exception as error:
            raise BatchFaultError from error
        for (record, recorded), made in zip(batch, outputs, strict=True):
            self._watch.handled(recorded, made)
            self._write(record, recorded, made, out)

    def _handle_one(self, record: Record, recorded: Recorded[Payload], out: list[Outgoing]) -> None:
        parked = self.runtime.parked
        if parked and (WHOLE_PARTITION in parked or _unit(recorded.envelope) in parked):
            return
        self._watch.starting()
        try:
            self.state, outputs = self.agent.handle(self.state, recorded)
        except Exception as error:  # whatever it is, the domain is parked and the partition goes on
            self._park(recorded, error, out)
            return
        self._watch.handled(recorded, outputs)
        self._write(record, recorded, outputs, out)

    # -- outputs -----------------------------------------------------------------------------------------------------

    def _write(self, record: Record, cause: Recorded[Payload], outputs: Sequence[Output], out: list[Outgoing]) -> None:
        parked = self.runtime.parked
        for ordinal, output in enumerate(outputs):
            if isinstance(output, Rejection):
                out.append(self.dead_letter(record, "invalid", output.field, output.value, output.expected))
            elif output.domain not in parked:
                out.append(self._mint_draft(output, cause, ordinal))

    def _mint_draft(self, draft: Draft, cause: Recorded[Payload], ordinal: int) -> Outgoing:
        return self._mint.of_cause(draft, cause, ordinal, self.runtime.placements, self.runtime.now_us)

    def _park(self, recorded: Recorded[Payload], error: Exception, out: list[Outgoing]) -> None:
        unit = _unit(recorded.envelope)
        self.runtime.parked.append(unit)
        where = " <- ".join(
            f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(error.__traceback__))
        )
        fault = AgentFaulted(
            agent=self.agent.name, parked=unit, error=f"{type(error).__name__}: {error}"[:2000], traceback=where
        )
        domain = recorded.envelope.domain or self._homes.get(recorded.envelope.service, "")
        draft = Draft(fault, domain, recorded.envelope.service, recorded.envelope.correlation_id)
        out.append(self._mint_draft(draft, recorded, 0))

    def dead_letter(self, record: Record, error_class: str, name: str, value: str, expected: str) -> Outgoing:
        """The dead letter of a record; its identity is its content's, so a retry writes the same."""
        payload = DeadLettered(
            reader=self.agent.name,
            source_topic=record.position.topic,
            source_partition=record.position.partition,
            source_offset=record.position.offset,
            error_class=error_class,
            field=name,
            value=value[:200],
            expected=expected,
            key=record.key or b"",
            raw=record.value or b"",
            headers=record.headers,
        )
        outgoing = self._mint.from_outside(Draft(payload, ""), self.runtime.now_us, {})
        return replace(outgoing, partition=record.position.partition)


def _runtime_of(data: bytes) -> RuntimeState:
    """The runtime's part of a dump. Raises ValueError when a field is unknown or missing here: nothing is made up."""
    runtime = _RUNTIME_STATE.validate_json(data)
    if _RUNTIME_STATE.dump_json(runtime) != data:
        raise ValueError("the state of a runtime of another shape")
    return runtime


def _unit(envelope: Envelope) -> str:
    """What is parked when an event about it cannot be handled: its domain, its service, or the whole partition."""
    return envelope.domain or envelope.service or WHOLE_PARTITION
