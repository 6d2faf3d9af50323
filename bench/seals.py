"""Seal and verify rates on one core, and what a seal costs in bytes.

Over records in memory, as they come from a consumer; they are like those of the log: 400 bytes of value, four headers.
"""

import os
from collections.abc import Iterator, Sequence

from autopilot.schemas.events.seals import SealedSegment
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.seals import OpenSegment, Partition, WholeRecord
from bench.measure import Figure, print_figures, rate

LOG = Partition("autopilot.log", 0)
BATCH = 2_000
EVERY = 10_000
COUNT = 100_000
GOAL = ">= 100 k records/s"


def log_records(count: int) -> list[WholeRecord]:
    """Records like those of the log, a transaction marker after every third."""
    headers = (
        ("event-type", b"PlanProposed"),
        ("run", b"live"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("signature", b"0123456789abcdef:" + b"A" * 88),
    )
    return [
        WholeRecord(i + i // 3, 1_700_000_000_000 + i // 2, b"shop", os.urandom(400), headers) for i in range(count)
    ]


def seal(records: Sequence[WholeRecord]) -> list[SealedSegment]:
    """What the sealer does with them, but for Kafka."""
    segments, current = [], OpenSegment(LOG)
    for i in range(0, len(records), BATCH):
        current.add(records[i : i + BATCH])
        if len(current.rows) >= EVERY:
            segment, current = current.cut()
            segments.append(segment)
    return segments


def verify(segments: Sequence[SealedSegment], records: Sequence[WholeRecord]) -> int:
    """What the audit does with them; gives how many findings there were."""
    check = PartitionCheck(LOG, segments)
    for i in range(0, len(records), BATCH):
        check.feed(records[i : i + BATCH])
    return len(check.finish())


def figures() -> Iterator[Figure]:
    """Rates, and what a seal costs."""
    records = log_records(COUNT)
    segments = seal(records)
    half = COUNT // 2
    altered = [*records[:half], records[half]._replace(value=b"altered"), *records[half + 1 :]]
    moved = [record._replace(offset=i) for i, record in enumerate(records[:half] + records[half + 1 :])]
    yield Figure("seal", rate(lambda: COUNT * bool(seal(records)), rounds=3), "records/s", GOAL)
    for name, standing, wrong in (
        ("verify, nothing wrong", records, 0),
        ("verify, one record altered", altered, 1),
        ("verify, one removed and all after it moved", moved, 2),
    ):
        findings = verify(segments, standing)
        if (findings > 0) != (wrong > 0):
            raise AssertionError(f"{name}: {findings} findings")
        measured = rate(lambda it=standing: COUNT + 0 * verify(segments, it), rounds=3)
        yield Figure(name, measured, "records/s", "" if wrong else GOAL)
    size = sum(len(s.offsets) + len(s.timestamps) + len(s.bodies) for s in segments)
    body = sum(len(r.value or b"") + sum(len(n) + len(v or b"") for n, v in r.headers) for r in records)
    yield Figure("a seal's columns", size / COUNT, "bytes/record", note=f"{100 * size / body:.1f} % of the records")


if __name__ == "__main__":
    print_figures("seals", figures())
