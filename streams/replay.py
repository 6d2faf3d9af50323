"""Replay: fold recorded partitions again and compare, byte for byte, with what was recorded because of them.

A replay makes records and writes none: it opens no producer and is given no key. An output is known by its event id,
which is derived from its cause, so outputs are compared whatever the order in which partitions are read. Where the
agent had signed, the recorded signature is checked instead of made.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autopilot.agents.agent import Agent
from autopilot.schemas.codec import HEADER_BYTES, Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event, Position
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.runtime import AgentUpgraded
from autopilot.schemas.identity import LIVE_RUN
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, RUN, Outgoing, Record

UNCAUSED = frozenset({AgentUpgraded.event_type().encode(), b"DeadLettered", b"AgentSnapshot"})
"""Event types that the runtime writes of itself; no record causes them."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One difference between what was recorded and what a replay makes."""

    agent: str
    kind: str
    """`differs`, `not recorded` (the replay makes it) or `not made` (it was recorded)."""
    cause: Position
    """The record because of which it was made."""
    event_type: str
    event_id: str
    fields: tuple[tuple[str, str, str], ...] = ()
    """Field, recorded value, replayed value: those that differ."""


@dataclass
class Replayed:
    """What a replay of one agent found."""

    agent: str
    records: int = 0
    outputs: int = 0
    epochs: set[str] = field(default_factory=set)
    """Digests of the code that the log says was at work."""
    divergences: list[Divergence] = field(default_factory=list)


class Recordings:
    """The outputs that agents were recorded to have made, by event id. Keeps digests and positions, not events."""

    def __init__(self, codec: Codec, agents: Iterable[str], run: str = LIVE_RUN) -> None:
        self._codec = codec
        self._run = run.encode()
        self._outputs: dict[str, dict[str, tuple[bytes, Position]]] = {agent: {} for agent in agents}
        self.epochs: dict[str, set[str]] = {agent: set() for agent in self._outputs}
        """For each agent the digests of the code that the log says was at work."""

    def take(self, records: Iterable[Record]) -> None:
        """Takes note of the agents' outputs among `records`."""
        for record in records:
            if record.headers.get(RUN) == self._run:
                self._note(record)

    def _note(self, record: Record) -> None:
        try:
            event = self._codec.decode(record.value)
        except ContractError:
            return
        outputs = self._outputs.get(event.envelope.producer)
        if outputs is None:
            return
        if isinstance(event.payload, AgentUpgraded):
            self.epochs[event.envelope.producer].add(event.payload.code_digest)
        if record.headers.get(EVENT_TYPE) not in UNCAUSED:
            outputs[event.envelope.event_id] = (_digest(record.value), record.position)

    def tick_off(self, agent: str, event_id: str, value: bytes) -> tuple[bool, Position | None]:
        """Whether the output was recorded with these bytes, and where it stands; (False, None) when nowhere."""
        found = self._outputs[agent].pop(event_id, None)
        return (False, None) if found is None else (found[0] == _digest(value), found[1])

    def left(self, agent: str) -> list[Position]:
        """Where the outputs stand that no replay has made."""
        return sorted(position for _, position in self._outputs[agent].values())


Fetch = Callable[[Position], Record]
"""Gives the record at a position, for telling how it differs."""


def replay(
    agent: Agent[Any],
    codec: Codec,
    partitions: Sequence[Iterable[Sequence[Record]]],
    recordings: Recordings,
    fetch: Fetch,
    snapshots: Mapping[int, bytes] | None = None,
) -> Replayed:
    """Folds every partition of the agent's topic, given as chunks of records, and compares with `recordings`.

    With a partition's dumped state among `snapshots` its chunks are those that follow on it, and what was recorded
    because of earlier ones is not asked for.
    """
    result = Replayed(agent.name, epochs=recordings.epochs[agent.name])
    mint = Mint(codec, agent.name, len(partitions))
    begun: dict[int, int] = {}
    for number, chunks in enumerate(partitions):
        fold = PartitionFold(agent, codec, mint, reads_run=LIVE_RUN)
        if snapshots and number in snapshots:
            fold.load(snapshots[number])
        begun[number] = fold.runtime.next_offset
        for chunk in chunks:
            result.records += len(chunk)
            for out in fold.step(chunk):
                _compare(out, codec, recordings, fetch, result)
    for position in recordings.left(agent.name):
        event = codec.decode(fetch(position).value)
        cause = event.envelope.cause
        if cause is not None and cause.offset >= begun.get(cause.partition, 0):
            result.divergences.append(_divergence(agent.name, "not made", event))
    return result


def _compare(out: Outgoing, codec: Codec, recordings: Recordings, fetch: Fetch, result: Replayed) -> None:
    if out.headers.get(EVENT_TYPE) in UNCAUSED:
        return
    result.outputs += 1
    made = codec.decode(out.value)
    same, position = recordings.tick_off(result.agent, made.envelope.event_id, out.value)
    if position is None:
        result.divergences.append(_divergence(result.agent, "not recorded", made))
    elif not same:
        recorded = fetch(position).value or b""
        old = codec.decode(recorded)
        fields = tuple(differences(old.payload.model_dump(), made.payload.model_dump()))
        fields += tuple(differences(old.envelope.model_dump(), made.envelope.model_dump(), "envelope"))
        if not fields and recorded[:HEADER_BYTES] != out.value[:HEADER_BYTES]:
            return  # the same said in another schema of the type: other bytes, and no other decision
        result.divergences.append(_divergence(result.agent, "differs", made, fields))


def _divergence(
    agent: str, kind: str, event: Event[Payload], fields: tuple[tuple[str, str, str], ...] = ()
) -> Divergence:
    cause = event.envelope.cause or Position("", -1, -1)
    return Divergence(agent, kind, cause, event.type, event.envelope.event_id, fields)


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """The leaves in which two values differ: path, old, new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}[{i}]")
    elif old != new:
        yield path, repr(old), repr(new)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
