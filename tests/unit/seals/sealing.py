"""A partition and its sealed segments, for tests: records with gaps for transaction markers, sealed in chunks."""

from collections.abc import Iterable, Sequence

from autopilot.schemas.events.seals import SealedSegment
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.seals import OpenSegment, Partition, WholeRecord

LOG = Partition("autopilot.log", 0)


def records(count: int, *, marker_every: int = 5) -> list[WholeRecord]:
    """Records of which every few are followed by an offset that is a marker."""
    return [
        WholeRecord(
            i + i // marker_every,
            1_000 + i // 3,
            f"key-{i % 4}".encode(),
            f"value-{i}".encode(),
            (("event-type", b"Tick"), ("run", b"live")),
        )
        for i in range(count)
    ]


def sealed(all_records: Sequence[WholeRecord], size: int = 20) -> list[SealedSegment]:
    """Segments of `size` records each; the last ones that do not fill one are left unsealed."""
    segments = []
    current = OpenSegment(LOG)
    for i in range(0, len(all_records) - size + 1, size):
        current.add(all_records[i : i + size])
        segment, current = current.cut()
        segments.append(segment)
    return segments


def check(segments: Sequence[SealedSegment], standing: Sequence[WholeRecord], *, low: int = 0) -> list[Finding]:
    """What the check finds, fed in uneven batches."""
    partition = PartitionCheck(LOG, segments, low=low)
    for i in range(0, len(standing), 7):
        partition.feed(standing[i : i + 7])
    return partition.finish()


def renumbered(standing: Iterable[WholeRecord]) -> list[WholeRecord]:
    """The same records as a copy to a fresh topic has them: at offsets 0, 1, 2 ..."""
    return [record._replace(offset=i) for i, record in enumerate(standing)]


def places(findings: Iterable[Finding], *leaving_out: Kind) -> list[tuple[Kind, int, int]]:
    """Kind, first and last offset of each finding."""
    return [(f.kind, f.position.offset, f.last_offset) for f in findings if f.kind not in leaving_out]
