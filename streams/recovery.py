"""Recovery: the newest snapshot, then a fold up to the committed offset that writes nothing.

A snapshot of other code is the last state of an epoch: the new code takes it over, when the agent's `load_state` can
read it and the runtime's part has the very fields that it has now. When not, nothing of it is taken over and the new
code folds the partition from the beginning. Either way an `AgentUpgraded` marks the offset from which the new code
folded, and what the old code had parked the new code takes up again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.runtime import AgentUpgraded
from autopilot.streams.code import code_digest
from autopilot.streams.errors import RestoredLogError
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.reader import read_raw
from autopilot.streams.record import ARCHIVED_OFFSET, Outgoing, Record
from autopilot.streams.snapshots import Snapshot, load_latest, records_of

CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """How a partition was recovered. `upgrade` is to be recorded when other code was at work before."""

    folded: int
    from_snapshot: int | None
    upgrade: Draft | None


def recover(
    kafka: Mapping[str, str], codec: Codec, fold: PartitionFold[Any], topic: Topic, partition: int, committed: int
) -> Recovered:
    """Brings a fresh `fold` to the committed offset, or to the newest snapshot where offsets have expired."""
    snapshot = load_latest(kafka, codec, agent=fold.agent.name, topic=topic, partition=partition)
    loaded = snapshot is not None and _load(fold, snapshot)
    folded = 0
    start = fold.runtime.next_offset
    if snapshot is None and committed < 0:
        _refuse_restored(kafka, topic, partition)
    if start < committed:
        records = read_raw(kafka, topic, partitions=[partition], start={partition: start}, end={partition: committed})
        for chunk in chunks(records):
            fold.step(chunk)
            folded += len(chunk)
    return Recovered(folded, start if loaded else None, _upgrade(fold, snapshot, partition, start))


def _refuse_restored(kafka: Mapping[str, str], topic: Topic, partition: int) -> None:
    """An agent that has never been here would say everything again that the restored log already says."""
    first = next(read_raw(kafka, topic, partitions=[partition]), None)
    if first is not None and ARCHIVED_OFFSET in first.headers:
        raise RestoredLogError(
            f"{topic}[{partition}] was restored from an archive: it is for reading, not to go on with"
        )


def snapshot_records(mint: Mint, fold: PartitionFold[Any], topic: Topic, partition: int) -> list[Outgoing]:
    """The records of a snapshot of a fold as it is now."""
    return records_of(
        mint,
        agent=fold.agent.name,
        code_digest=code_digest(fold.agent),
        topic=topic,
        partition=partition,
        next_offset=fold.runtime.next_offset,
        state=fold.dump(),
        now_us=fold.runtime.now_us,
    )


def _load(fold: PartitionFold[Any], snapshot: Snapshot) -> bool:
    same_code = snapshot.manifest.code_digest == code_digest(fold.agent)
    try:
        fold.load(snapshot.state, same_code=same_code)
    except (ValueError, KeyError, TypeError):
        if same_code:
            raise
        return False
    return True


def _upgrade(fold: PartitionFold[Any], snapshot: Snapshot | None, partition: int, from_offset: int) -> Draft | None:
    previous, present = snapshot.manifest.code_digest if snapshot is not None else "", code_digest(fold.agent)
    if previous == present:
        return None
    event = AgentUpgraded(
        agent=fold.agent.name,
        code_digest=present,
        previous_digest=previous,
        partition=partition,
        from_offset=from_offset,
    )
    return Draft(event, "")


def chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The records, in lists as long as it pays to fold at once."""
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
