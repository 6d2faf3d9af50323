"""Rebuilding: fold the whole log again into new folders, in bulk, then serve those instead of the old ones.

The old view is served meanwhile. The new one ends where the log ended when the rebuild began; whoever serves it next
goes on from there.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from autopilot.projections.folding import Folding, LogFold, assign
from autopilot.projections.projection import Projection
from autopilot.projections.shelf import Shelf
from autopilot.projections.store import Store
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.kafka import plain_consumer
from autopilot.streams.reader import partitions_of

BATCH = 10_000
COMMIT_EVERY = 50_000
"""Records between two commits: a row that changes often is then written once for many changes."""
Progress = Callable[[int, int], None]
"""Told how many of how many offsets have been read."""


@dataclass(frozen=True)
class Rebuilt:
    """One projection after a rebuild."""

    projection: str
    digest: str
    rows: int
    as_of: dict[int, int]
    """First offset of each partition of the log that is not in it."""
    records: int
    """Records of the log that were read for it."""
    took_s: float


def rebuild(
    kafka: Mapping[str, str],
    registry: SchemaRegistry,
    folder: Path,
    projections: Sequence[Projection],
    progress: Progress,
    run: str = LIVE_RUN,
) -> list[Rebuilt]:
    """Folds the log into new generations of these projections, in one pass, and puts them in place.

    Raises `RebuildUnderWayError` when another process rebuilds one of them, and `UnreachableError` when the broker
    does not answer; the views that were served are then served still.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as builds:
        paths = [builds.enter_context(Shelf(folder, one).building()) for one in projections]
        foldings = [
            Folding(projection, builds.enter_context(_opened(path)))
            for projection, path in zip(projections, paths, strict=True)
        ]
        records = _refold(kafka, registry, foldings, progress, run)
        took_s = time.perf_counter() - started
        return [_rebuilt(folding, records, took_s) for folding in foldings]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Store]:
    store = Store(path)
    try:
        yield store
    finally:
        store.close()


def _refold(
    kafka: Mapping[str, str],
    registry: SchemaRegistry,
    foldings: Sequence[Folding],
    progress: Progress,
    run: str,
) -> int:
    consumer = plain_consumer(kafka, "autopilot-rebuild", **{"fetch.wait.max.ms": 100})
    try:
        partitions = partitions_of(consumer, str(Topic.LOG))
        fold = LogFold(foldings, Codec(registry), partitions, run)
        begins, ends = assign(consumer, fold.starts)
        _read_up_to(consumer, fold, begins, ends, progress)
        return fold.records
    finally:
        consumer.close()


def _read_up_to(
    consumer: Consumer, fold: LogFold, begins: Mapping[int, int], ends: Mapping[int, int], progress: Progress
) -> None:
    committed, total = 0, sum(ends.values())
    while True:
        messages = consumer.consume(BATCH, 0.2)
        fold.take([message for message in messages if _is_before(message.offset(), ends[message.partition() or 0])])
        if fold.records - committed >= COMMIT_EVERY:
            fold.commit()
            committed = fold.records
        at = _positions(consumer, begins)
        progress(sum(min(offset, ends[p]) for p, offset in at.items()), total)
        if all(at[p] >= end for p, end in ends.items()):
            fold.commit()
            return


def _is_before(offset: int | None, end: int) -> bool:
    return offset is None or offset < end


def _positions(consumer: Consumer, begins: Mapping[int, int]) -> dict[int, int]:
    """Where each partition will be read next; the ends of transactions count as positions."""
    positions = consumer.position([TopicPartition(str(Topic.LOG), p) for p in begins])
    return {tp.partition: max(tp.offset, begins[tp.partition]) for tp in positions}


def _rebuilt(folding: Folding, records: int, took_s: float) -> Rebuilt:
    store = folding.store
    return Rebuilt(folding.projection.name, store.digest(), store.count(), dict(store.offsets), records, took_s)
