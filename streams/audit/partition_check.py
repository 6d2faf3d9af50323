"""The records of one partition held against its sealed segments, in one pass. Pure.

Of segments that hold nothing is kept. Those that do not are kept to the end and compared together, because what is
missing in one may stand in another.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from autopilot.schemas.envelope import Position
from autopilot.schemas.events.seals import SealedSegment
from autopilot.streams.audit.difference import differences
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.seals import SHORT, Partition, Row, SealError, WholeRecord, holds, row_of, sealed_rows


@dataclass
class _Doubt:
    """What was sealed and what stands, of all segments that do not hold. `until` is where the last of them ends."""

    sealed: list[Row] = field(default_factory=list)
    standing: list[Row] = field(default_factory=list)
    until: int = 0
    is_tail: bool = False


@dataclass
class _Unsealed:
    """A range that no seal covers."""

    first: int
    last: int
    records: int
    ahead: bool


class PartitionCheck:
    """Takes the records of a partition in order; `finish` says what is wrong with them.

    `low` is the first offset that the partition still keeps. Segments that end at or before `start` are left out.
    """

    def __init__(
        self, partition: Partition, segments: Sequence[SealedSegment], *, low: int = 0, start: int = 0
    ) -> None:
        self._partition = partition
        self._low = low
        self._findings: list[Finding] = []
        self._todo = deque(segment for segment in segments if segment.next_offset > start)
        self._expire()
        self._rows: list[Row] = []
        self._doubt = _Doubt()
        self._unsealed: list[_Unsealed] = []
        self.verified = 0
        """Records that stand as they were sealed, so far."""
        self.records = 0
        """Records read so far."""

    @property
    def first_offset(self) -> int:
        """Where reading is to begin."""
        return max(self._low, self._todo[0].first_offset) if self._todo else self._low

    def feed(self, records: Sequence[WholeRecord]) -> None:
        """Takes the records that follow."""
        self.records += len(records)
        for row in map(row_of, records):
            while self._todo and row.offset >= self._todo[0].next_offset:
                self._close()
            if self._todo and row.offset >= self._todo[0].first_offset:
                self._rows.append(row)
            else:
                self._note_unsealed(row)

    def finish(self) -> list[Finding]:
        """Everything that was found, in the order of offsets."""
        while self._todo:
            self._close()
        self._settle()
        self._findings += [self._unsealed_finding(gap) for gap in self._unsealed]
        return sorted(self._findings, key=lambda finding: finding.position)

    # -- segments ----------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        """Takes out what retention took; what is left of a segment is still held against its short digests."""
        expired = [segment for segment in self._todo if segment.first_offset < self._low]
        while self._todo and self._todo[0].next_offset <= self._low:
            self._todo.popleft()
        if expired:
            first, until = expired[0].first_offset, min(expired[-1].next_offset, self._low)
            records = sum(segment.records for segment in expired if segment.next_offset <= self._low)
            detail = (
                f"retention took the sealed offsets {first} to {until - 1}; they can be verified in an archive only"
            )
            self._findings.append(Finding(Kind.EXPIRED, self._at(first), detail, until - 1, records))

    def _close(self) -> None:
        segment, rows = self._todo.popleft(), self._rows
        self._rows = []
        whole = segment.first_offset >= self._low
        if whole and holds(segment, rows):
            self.verified += len(rows)
            self._doubt.is_tail = False
            return
        try:
            sealed = [row for row in sealed_rows(segment) if row.offset >= self._low]
        except SealError as error:
            self._broken(segment, str(error))
            return
        standing = [_short(row) for row in rows]
        if sealed == standing:
            if whole:
                self._broken(segment, "the digest does not hold, yet every record's short digest does")
            self.verified += 0 if whole else len(rows)
            return
        self._doubt.sealed += sealed
        self._doubt.standing += standing
        self._doubt.until = segment.next_offset
        self._doubt.is_tail = True

    def _settle(self) -> None:
        """Says what the doubt comes down to, if there is any."""
        doubt = self._doubt
        if not doubt.until:
            return
        found = differences(self._partition, doubt.sealed, doubt.standing, doubt.until, is_tail=doubt.is_tail)
        self._findings += found
        wrong = sum(f.records for f in found if f.kind not in (Kind.INSERTED, Kind.MOVED, Kind.RESTAMPED))
        self.verified += max(0, len(doubt.sealed) - wrong)

    def _broken(self, segment: SealedSegment, why: str) -> None:
        detail = f"the segment of offsets {segment.first_offset} to {segment.next_offset - 1}: {why}"
        self._findings.append(
            Finding(Kind.ALTERED, self._at(segment.first_offset), detail, segment.next_offset - 1, segment.records)
        )

    # -- what no seal covers -----------------------------------------------------------------------------------------

    def _note_unsealed(self, row: Row) -> None:
        ahead = not self._todo
        if ahead and self._doubt.is_tail:
            self._doubt.standing.append(_short(row))
        if (
            self._unsealed
            and self._unsealed[-1].ahead == ahead
            and (ahead or self._unsealed[-1].last == row.offset - 1)
        ):
            self._unsealed[-1].last = row.offset
            self._unsealed[-1].records += 1
        else:
            self._unsealed.append(_Unsealed(row.offset, row.offset, 1, ahead))

    def _unsealed_finding(self, gap: _Unsealed) -> Finding:
        detail = "past the last seal: not yet protected" if gap.ahead else "no seal covers this range"
        return Finding(Kind.UNSEALED, self._at(gap.first), detail, gap.last, gap.records)

    def _at(self, offset: int) -> Position:
        return Position(self._partition.topic, self._partition.number, offset)


def _short(row: Row) -> Row:
    return Row(row.offset, row.timestamp_ms, row.body[:SHORT])
