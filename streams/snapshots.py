"""Snapshots: an agent's folded state on the compacted topic, so that recovery need not fold from the beginning.

A state that fits is in the manifest itself; a larger one is cut into parts that are written before it, all in one
transaction with the offsets that it is the state of. Part keys are reused, so compaction keeps one snapshot for each
agent and partition.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.runtime import AgentSnapshot, SnapshotPart
from autopilot.streams.errors import TornSnapshotError
from autopilot.streams.mint import Mint
from autopilot.streams.reader import read_raw
from autopilot.streams.record import EVENT_TYPE, Outgoing, Record

PART_BYTES = 900_000
"""Most bytes of state in one record: below the broker's limit of a record with room for the rest."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot: the manifest and the state's bytes."""

    manifest: AgentSnapshot
    state: bytes


class SnapshotOf(NamedTuple):
    """What a snapshot is of."""

    agent: str
    topic: str
    partition: int


def _key(agent: str, topic: str, partition: int) -> str:
    return f"{agent}/{topic}/{partition}"


def digest(state: bytes) -> str:
    """The digest of a state: SHA-256 of its bytes, hexadecimal."""
    return hashlib.sha256(state).hexdigest()


def records_of(
    mint: Mint, *, agent: str, code_digest: str, topic: str, partition: int, next_offset: int, state: bytes, now_us: int
) -> list[Outgoing]:
    """The records of a snapshot, parts first. To be written in one transaction with the offset that it is of."""
    key = _key(agent, topic, partition)
    chunks = [state[i : i + PART_BYTES] for i in range(0, len(state), PART_BYTES)] if len(state) > PART_BYTES else []
    manifest = AgentSnapshot(
        agent=agent,
        code_digest=code_digest,
        source_topic=topic,
        source_partition=partition,
        next_offset=next_offset,
        state_digest=digest(state),
        parts=[SnapshotPart(index=i, sha256=digest(chunk)) for i, chunk in enumerate(chunks)],
        state=b"" if chunks else state,
        taken_at_us=now_us,
    )
    event = mint.outside_event(Draft(manifest, ""), now_us)
    parts = [
        Outgoing(Topic.SNAPSHOTS, partition, f"{key}/part-{i}".encode(), chunk, {}) for i, chunk in enumerate(chunks)
    ]
    return [*parts, mint.record(event, partition, key=key.encode())]


def latest(records: Iterable[Record], codec: Codec, *, agent: str, topic: str, partition: int) -> Snapshot | None:
    """The last whole snapshot of an agent's partition among the snapshot topic's records, or None."""
    key = _key(agent, topic, partition)
    own = (record for record in records if _owner(record) == key)
    return every_latest(own, codec).get(SnapshotOf(agent, topic, partition))


def every_latest(records: Iterable[Record], codec: Codec) -> dict[SnapshotOf, Snapshot]:
    """The last whole snapshot of each agent's partition among the snapshot topic's records, in one pass."""
    parts: dict[bytes, bytes] = {}
    found: dict[SnapshotOf, Snapshot] = {}
    for record in records:
        if record.headers.get(EVENT_TYPE) != b"AgentSnapshot":
            parts[record.key] = record.value
        elif (snapshot := _assembled(record, codec, parts)) is not None:
            at = snapshot.manifest
            found[SnapshotOf(at.agent, at.source_topic, at.source_partition)] = snapshot
    return found


def _owner(record: Record) -> str:
    """Whose a record is: the key of the manifest, also where it is a part."""
    return record.key.decode(errors="replace").partition("/part-")[0]


def _assembled(record: Record, codec: Codec, parts: Mapping[bytes, bytes]) -> Snapshot | None:
    try:
        manifest = codec.decode(record.value).payload
    except ContractError:
        return None
    if not isinstance(manifest, AgentSnapshot):
        return None
    key = _key(manifest.agent, manifest.source_topic, manifest.source_partition)
    if key != record.key.decode(errors="replace"):
        return None
    try:
        state = b"".join(_chunks(manifest, key, parts)) or manifest.state
    except TornSnapshotError:
        return None
    return Snapshot(manifest, state) if digest(state) == manifest.state_digest else None


def _chunks(manifest: AgentSnapshot, key: str, parts: Mapping[bytes, bytes]) -> Iterator[bytes]:
    for part in manifest.parts:
        chunk = parts.get(f"{key}/part-{part.index}".encode())
        if chunk is None or digest(chunk) != part.sha256:
            raise TornSnapshotError(f"part {part.index} of the snapshot of {key} is missing or differs")
        yield chunk


def load_latest(kafka: Mapping[str, str], codec: Codec, *, agent: str, topic: str, partition: int) -> Snapshot | None:
    """The last whole snapshot on the cluster, or None."""
    records = read_raw(kafka, Topic.SNAPSHOTS, partitions=[partition])
    return latest(records, codec, agent=agent, topic=topic, partition=partition)


def load_every_latest(kafka: Mapping[str, str], codec: Codec) -> dict[SnapshotOf, Snapshot]:
    """The last whole snapshots on the cluster: the topic is read once."""
    return every_latest(read_raw(kafka, Topic.SNAPSHOTS), codec)
