"""Whatever is done to a sealed partition is found; and a single deed is located, in place as in a copy."""

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.schemas.events.seals import SealedSegment
from autopilot.streams.audit.findings import Kind
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.seals import OpenSegment, Partition, WholeRecord, pack_column, unpack_column

LOG = Partition("autopilot.log", 3)
LAW = settings(max_examples=60, deadline=None)


@st.composite
def sealed_partitions(draw: st.DrawFn) -> tuple[list[WholeRecord], list[SealedSegment]]:
    """Records at increasing offsets with any gaps, and segments of any sizes over all of them."""
    gaps = draw(st.lists(st.integers(1, 3), min_size=4, max_size=40))
    records, offset = [], -1
    for i, gap in enumerate(gaps):
        offset += gap
        records.append(WholeRecord(offset, 1_000 + i, b"k", b"value-%d" % i, (("h", b"1"),)))
    segments, current = [], OpenSegment(LOG)
    for record in records:
        current.add([record])
        if draw(st.booleans()) or record is records[-1]:
            segment, current = current.cut()
            segments.append(segment)
    return records, segments


def everything(segments: list[SealedSegment], standing: list[WholeRecord]) -> list[tuple[Kind, int]]:
    check = PartitionCheck(LOG, segments)
    check.feed(standing)
    return [(f.kind, f.position.offset) for f in check.finish()]


def found(segments: list[SealedSegment], standing: list[WholeRecord]) -> list[tuple[Kind, int]]:
    return [one for one in everything(segments, standing) if one[0] not in (Kind.MOVED, Kind.RESTAMPED)]


def copied(standing: list[WholeRecord]) -> list[WholeRecord]:
    return [record._replace(offset=i) for i, record in enumerate(standing)]


@LAW
@given(sealed_partitions())
def test_untouched_records_verify_however_they_were_cut_into_segments(
    case: tuple[list[WholeRecord], list[SealedSegment]],
) -> None:
    records, segments = case
    assert found(segments, records) == found(segments, copied(records)) == []


@LAW
@given(sealed_partitions(), st.data())
def test_one_altered_record_is_located(
    case: tuple[list[WholeRecord], list[SealedSegment]], data: st.DataObject
) -> None:
    records, segments = case
    i = data.draw(st.integers(0, len(records) - 1))
    standing = [*records[:i], records[i]._replace(value=b"other"), *records[i + 1 :]]
    assert found(segments, standing) == found(segments, copied(standing)) == [(Kind.ALTERED, records[i].offset)]


@LAW
@given(sealed_partitions(), st.data())
def test_one_removed_record_is_located(
    case: tuple[list[WholeRecord], list[SealedSegment]], data: st.DataObject
) -> None:
    records, segments = case
    i = data.draw(st.integers(0, len(records) - 1))
    standing = records[:i] + records[i + 1 :]
    assert found(segments, standing) == found(segments, copied(standing)) == [(Kind.MISSING, records[i].offset)]


@LAW
@given(sealed_partitions(), st.data())
def test_two_swapped_records_are_located(
    case: tuple[list[WholeRecord], list[SealedSegment]], data: st.DataObject
) -> None:
    records, segments = case
    i, j = sorted(data.draw(st.sets(st.integers(0, len(records) - 1), min_size=2, max_size=2)))
    standing = list(records)
    standing[i] = records[j]._replace(offset=records[i].offset)
    standing[j] = records[i]._replace(offset=records[j].offset)
    expected = [(Kind.SWAPPED, records[i].offset), (Kind.SWAPPED, records[j].offset)]
    assert found(segments, standing) == expected
    if (
        records[i].offset == j
    ):  # in the copy it stands where it was sealed, by chance: what is off then has several names
        assert records[j].offset in {offset for _, offset in everything(segments, copied(standing))}
    else:
        assert found(segments, copied(standing)) == expected


def test_the_last_two_swapped_are_located() -> None:
    records = [WholeRecord(offset, 1_000 + offset, b"k", b"value-%d" % offset, ()) for offset in (0, 1, 3, 4)]
    segment = OpenSegment(LOG)
    segment.add(records)
    standing = [*records[:2], records[3]._replace(offset=3), records[2]._replace(offset=4)]
    assert found([segment.cut()[0]], standing) == [(Kind.SWAPPED, 3), (Kind.SWAPPED, 4)]


@LAW
@given(sealed_partitions(), st.data())
def test_whatever_else_stands_there_is_found(
    case: tuple[list[WholeRecord], list[SealedSegment]], data: st.DataObject
) -> None:
    records, segments = case
    indices = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=len(records)))
    standing = copied([records[i] for i in indices])
    if [r.value for r in standing][: len(records)] != [r.value for r in records]:
        assert found(segments, standing)


@given(st.lists(st.integers(0, 2**53)), st.integers(0, 2**53))
def test_a_column_comes_back_as_it_went(numbers: list[int], start: int) -> None:
    assert unpack_column(pack_column(numbers, start), start, len(numbers)).tolist() == numbers
