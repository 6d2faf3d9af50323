"""Replay: fold recorded partitions again and compare, byte for byte, with what was recorded because of them.

A replay makes records and writes none: it opens no producer and is given no key. An output is known by its event id,
which is derived from its cause, so outputs are compared whatever the order in which partitions are read. Where the
agent had signed, the recorded signature is checked instead of made.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from autopilot.agents.agent import Agent
from autopilot.schemas.codec import Codec
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
    """The outputs that one agent was recorded to have made, by event id. Holds digests; whole events only on demand."""

    def __init__(self, agent: str, codec: Codec, run: str = LIVE_RUN) -> None:
        self._agent = agent
        self._codec = codec
        self._run = run.encode()
        self._outputs: dict[str, tuple[bytes, bytes]] = {}
        self.epochs: set[str] = set()

    def take(self, records: Iterable[Record]) -> None:
        """Takes note of the agent's outputs among `records`."""
        for record in records:
            if record.headers.get(RUN) == self._run:
                self._note(record)

    def _note(self, record: Record) -> None:
        try:
            event = self._codec.decode(record.value)
        except ContractError:
            return
        if event.envelope.producer != self._agent:
            return
        if isinstance(event.payload, AgentUpgraded):
            self.epochs.add(event.payload.code_digest)
        if record.headers.get(EVENT_TYPE) not in UNCAUSED:
            self._outputs[event.envelope.event_id] = (_digest(record.value), record.value)

    def matches(self, event_id: str, value: bytes) -> bool | None:
        """Whether the output was recorded with these bytes; None when it was not recorded at all. Ticks it off."""
        found = self._outputs.get(event_id)
        if found is None:
            return None
        if found[0] == _digest(value):
            del self._outputs[event_id]
            return True
        return False

    def recorded(self, event_id: str) -> Event[Payload]:
        """The recorded event, ticked off."""
        return self._codec.decode(self._outputs.pop(event_id)[1])

    def left(self) -> Iterator[Event[Payload]]:
        """The outputs that no replay has made."""
        for _, value in self._outputs.values():
            yield self._codec.decode(value)


def replay(
    agent: Agent[Any], codec: Codec, partitions: Sequence[Iterable[Sequence[Record]]], recordings: Recordings
) -> Replayed:
    """Folds every partition of the agent's topic, given as chunks of records, and compares with `recordings`."""
    result = Replayed(agent.name, epochs=recordings.epochs)
    mint = Mint(codec, agent.name, len(partitions))
    for chunks in partitions:
        fold = PartitionFold(agent, codec, mint, reads_run=LIVE_RUN)
        for chunk in chunks:
            result.records += len(chunk)
            for out in fold.step(chunk):
                _compare(out, codec, recordings, result)
    for event in recordings.left():
        result.divergences.append(_divergence(agent.name, "not made", event))
    return result


def _compare(out: Outgoing, codec: Codec, recordings: Recordings, result: Replayed) -> None:
    if out.headers.get(EVENT_TYPE) in UNCAUSED:
        return
    result.outputs += 1
    made = codec.decode(out.value)
    same = recordings.matches(made.envelope.event_id, out.value)
    if same is None:
        result.divergences.append(_divergence(result.agent, "not recorded", made))
    elif not same:
        old = recordings.recorded(made.envelope.event_id)
        fields = tuple(differences(old.payload.model_dump(), made.payload.model_dump()))
        fields += tuple(differences(old.envelope.model_dump(), made.envelope.model_dump(), "envelope"))
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
