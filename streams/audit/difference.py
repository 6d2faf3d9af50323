"""How the records that stand differ from the records that were sealed. Pure.

Three alignments are tried and the one that leaves least unexplained is taken: by offset (somebody changed a file or a
segment in place), by rank (the partition was written anew with as many records), and by the longest common runs of
bodies (written anew, with records left out or put in). On equal terms the earlier one counts. What pairs up and
differs is altered or, when it stands in another one's place, swapped; what does not pair up is missing or inserted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, pairwise

from autopilot.schemas.envelope import Position
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.seals import Partition, Row

Pair = tuple[int, int]
_MOST_ISLANDS = 2_000
"""Finding common runs takes time that grows with the number of differences; beyond so many it is not tried."""


@dataclass(frozen=True)
class _Alignment:
    """Indices of sealed and standing rows that belong together, in order, and those that belong to none."""

    pairs: list[Pair]
    missing: list[int]
    inserted: list[int]

    def unexplained(self, sealed: Sequence[Row], standing: Sequence[Row]) -> int:
        altered = sum(sealed[i].body != standing[j].body for i, j in self.pairs)
        return altered + len(self.missing) + len(self.inserted)


def differences(
    partition: Partition, sealed: Sequence[Row], standing: Sequence[Row], sealed_until: int, *, is_tail: bool
) -> list[Finding]:
    """The findings that tell `standing` from `sealed`, in order. Bodies are short digests on both sides.

    `standing` may go on after the sealed range, which ends at `sealed_until`: what only follows is no finding. With
    `is_tail` nothing is sealed after `sealed`, so a difference up to its end is a rewritten tail.
    """
    candidates = [_by_offset(sealed, standing, sealed_until), _by_rank(sealed, standing)]
    if _islands(candidates[0], sealed, standing) <= _MOST_ISLANDS:
        candidates.append(_by_runs(sealed, standing))
    best = min(candidates, key=lambda alignment: alignment.unexplained(sealed, standing))
    return sorted(_Judge(partition, sealed, standing, best).findings(is_tail), key=lambda f: f.position)


def _islands(alignment: _Alignment, sealed: Sequence[Row], standing: Sequence[Row]) -> int:
    """How many separate runs of pairs differ. A shift is one; many are changes in place, which need no runs."""
    differs = [sealed[i].body != standing[j].body for i, j in alignment.pairs]
    return sum(wrong and not before for before, wrong in pairwise([False, *differs]))


def _by_offset(sealed: Sequence[Row], standing: Sequence[Row], sealed_until: int) -> _Alignment:
    places = {row.offset: j for j, row in enumerate(standing)}
    pairs = [(i, places[row.offset]) for i, row in enumerate(sealed) if row.offset in places]
    missing = [i for i, row in enumerate(sealed) if row.offset not in places]
    known = {row.offset for row in sealed}
    inserted = [j for j, row in enumerate(standing) if row.offset not in known and row.offset < sealed_until]
    return _Alignment(pairs, missing, inserted)


def _by_rank(sealed: Sequence[Row], standing: Sequence[Row]) -> _Alignment:
    both = min(len(sealed), len(standing))
    return _Alignment([(i, i) for i in range(both)], list(range(both, len(sealed))), [])


def _by_runs(sealed: Sequence[Row], standing: Sequence[Row]) -> _Alignment:
    pairs: list[Pair] = []
    missing: list[int] = []
    inserted: list[int] = []
    known = {row.body for row in sealed}
    matcher = SequenceMatcher(None, [r.body for r in sealed], [r.body for r in standing], autojunk=False)
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        both = min(i2 - i1, j2 - j1)
        pairs += [(i1 + k, j1 + k) for k in range(both)]
        missing += range(i1 + both, i2)
        # behind the end only what was sealed further up is out of place: the rest is what came since
        inserted += [j for j in range(j1 + both, j2) if i2 < len(sealed) or standing[j].body in known]
    return _Alignment(pairs, missing, inserted)


class _Judge:
    """Turns an alignment into findings."""

    def __init__(
        self, partition: Partition, sealed: Sequence[Row], standing: Sequence[Row], alignment: _Alignment
    ) -> None:
        self._partition = partition
        self._sealed = sealed
        self._standing = standing
        self._alignment = alignment
        self._altered = [(i, j) for i, j in alignment.pairs if sealed[i].body != standing[j].body]

    def findings(self, is_tail: bool) -> Iterator[Finding]:
        swapped = self._swapped()
        missing = [i for i in self._alignment.missing if i not in swapped]
        altered = [(i, j) for i, j in self._altered if i not in swapped]
        tail = self._tail_start({i for i, _ in altered} | set(missing), altered) if is_tail else None
        yield from swapped.values()
        if tail is not None:
            yield self._tail(tail)
            missing = [i for i in missing if i < tail]
            altered = [(i, j) for i, j in altered if i < tail]
        yield from self._runs(Kind.MISSING, missing, "was sealed here and is not there")
        yield from self._runs(Kind.ALTERED, [i for i, _ in altered], "key, value or headers are not what was sealed")
        yield from self._inserted(swapped, tail)
        yield from self._moved_and_restamped(tail)

    def _swapped(self) -> dict[int, Finding]:
        """By index of the sealed row: rows whose bodies stand in the place of another row that is not as sealed."""
        strays = {self._standing[j].body: j for j in self._alignment.inserted}
        strays |= {self._standing[j].body: j for _, j in self._altered}
        found: dict[int, Finding] = {}
        for i in [*(i for i, _ in self._altered), *self._alignment.missing]:
            row = self._sealed[i]
            if row.body in strays:
                where = self._standing[strays[row.body]].offset
                detail = f"the record that was sealed here stands at offset {where}"
                found[i] = Finding(Kind.SWAPPED, self._at(row), detail, row.offset)
        return found

    def _tail_start(self, wrong: set[int], altered: Sequence[Pair]) -> int | None:
        """Where the run of wrong rows up to the end begins; None when fewer than two, or when nothing stands there."""
        start = len(self._sealed)
        while start - 1 in wrong:
            start -= 1
        rewritten = any(i >= start for i, _ in altered)
        return start if len(self._sealed) - start >= 2 and rewritten else None

    def _tail(self, start: int) -> Finding:
        first, last = self._sealed[start], self._sealed[-1]
        detail = f"from here to offset {last.offset}, the end of what is sealed, other records stand than were sealed"
        return Finding(Kind.REWRITTEN_TAIL, self._at(first), detail, last.offset, len(self._sealed) - start)

    def _inserted(self, swapped: dict[int, Finding], tail: int | None) -> Iterator[Finding]:
        explained = {self._sealed[i].body for i in swapped}
        from_tail = self._sealed[tail].offset if tail is not None else None
        for j in self._alignment.inserted:
            row = self._standing[j]
            in_tail = from_tail is not None and row.offset >= from_tail
            if row.body not in explained and not in_tail:
                yield Finding(Kind.INSERTED, self._at(row), "no such record was sealed here", row.offset)

    def _moved_and_restamped(self, tail: int | None) -> Iterator[Finding]:
        sound = [
            (self._sealed[i], self._standing[j])
            for i, j in self._alignment.pairs
            if self._sealed[i].body == self._standing[j].body and (tail is None or i < tail)
        ]
        for shift, run in groupby(sound, key=lambda pair: pair[1].offset - pair[0].offset):
            if shift:
                yield self._run(
                    Kind.MOVED, [was for was, _ in run], f"stand {shift:+d} offsets from where they were sealed"
                )
        for restamped, pairs in groupby(sound, key=lambda pair: pair[0].timestamp_ms != pair[1].timestamp_ms):
            if restamped:
                was, now = next(both := iter(list(pairs)))
                detail = f"timestamp {now.timestamp_ms}, sealed with {was.timestamp_ms}"
                yield self._run(Kind.RESTAMPED, [was, *(sealed for sealed, _ in both)], detail)

    def _runs(self, kind: Kind, indices: Sequence[int], detail: str) -> Iterator[Finding]:
        for _, run in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
            yield self._run(kind, [self._sealed[i] for _, i in run], detail)

    def _run(self, kind: Kind, rows: Sequence[Row], detail: str) -> Finding:
        return Finding(kind, self._at(rows[0]), detail, rows[-1].offset, len(rows))

    def _at(self, row: Row) -> Position:
        return Position(self._partition.topic, self._partition.number, row.offset)
