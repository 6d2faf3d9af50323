"""Seal and verify rates on one core, and what a seal costs in bytes.

    python -m bench.seals [--records N]

Pure figures are over records in memory, as they come from a consumer; records are like those of the log: 400 bytes of
value, four headers. Run it alone on the machine.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence

from autopilot.schemas.events.seals import SealedSegment
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.seals import OpenSegment, Partition, WholeRecord

LOG = Partition("autopilot.log", 0)
BATCH = 2_000
EVERY = 10_000


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


def best_rate(work: Callable[[], object], count: int, rounds: int = 3) -> float:
    """The best of some rounds, in records per second of this process's own time."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return count / min(times)


def main() -> None:
    """Prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=200_000)
    count: int = parser.parse_args().records
    records = log_records(count)
    segments = seal(records)
    altered = list(records)
    altered[count // 2] = altered[count // 2]._replace(value=b"altered")
    moved = [record._replace(offset=i) for i, record in enumerate(records[: count // 2] + records[count // 2 + 1 :])]
    size = sum(len(s.offsets) + len(s.timestamps) + len(s.bodies) for s in segments)
    body = sum(len(r.value or b"") + sum(len(n) + len(v or b"") for n, v in r.headers) for r in records)
    print(f"seal                            {best_rate(lambda: seal(records), count):10,.0f} records/s per core")
    print(f"verify, nothing wrong           {best_rate(lambda: verify(segments, records), count):10,.0f} records/s")
    print(f"verify, one record altered      {best_rate(lambda: verify(segments, altered), count, 1):10,.0f} records/s")
    print(f"verify, one removed, all moved  {best_rate(lambda: verify(segments, moved), count, 1):10,.0f} records/s")
    print(f"seals: {size / count:.2f} bytes a record, {100 * size / body:.1f} % of the records' own bytes")


if __name__ == "__main__":
    main()
