"""Tampering with a sealed partition: found, told apart and located, in place as in a copy with other offsets."""

import pytest
from seals.sealing import LOG, check, places, records, renumbered, sealed

from autopilot.streams.audit.findings import Kind
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.seals import WholeRecord, follows

FOREIGN = WholeRecord(0, 1_010, b"key-1", b"foreign", ())
A = records(100)
SEGMENTS = sealed(A)
IN_A_COPY = (Kind.UNSEALED, Kind.MOVED)


def test_what_was_not_touched_holds_and_every_record_is_verified() -> None:
    partition = PartitionCheck(LOG, SEGMENTS)
    partition.feed(A)
    assert partition.finish() == []
    assert (partition.records, partition.verified) == (100, 100)


@pytest.mark.parametrize(
    "change",
    [
        {"value": b"value-4!"},
        {"value": None},
        {"key": None},
        {"key": b""},
        {"headers": (("event-type", b"Tick"), ("run", b"live"), ("run", b"live"))},
        {"headers": (("run", b"live"), ("event-type", b"Tick"))},
        {"headers": (("event-type", b"Tick"), ("run", None))},
    ],
)
def test_a_changed_key_value_or_header_is_located(change: dict[str, object]) -> None:
    standing = [*A[:44], A[44]._replace(**change), *A[45:]]
    assert places(check(SEGMENTS, standing)) == [(Kind.ALTERED, A[44].offset, A[44].offset)]
    assert places(check(SEGMENTS, renumbered(standing)), Kind.MOVED) == [(Kind.ALTERED, A[44].offset, A[44].offset)]


def test_another_timestamp_is_located_and_told_from_another_content() -> None:
    standing = [*A[:44], A[44]._replace(timestamp_ms=7), *A[45:]]
    (finding,) = check(SEGMENTS, standing)
    assert (finding.kind, finding.position.offset) == (Kind.RESTAMPED, A[44].offset)
    assert finding.detail == f"timestamp 7, sealed with {A[44].timestamp_ms}"


@pytest.mark.parametrize("index", [0, 19, 20, 57, 99])
def test_a_removed_record_is_located(index: int) -> None:
    expected = [(Kind.MISSING, A[index].offset, A[index].offset)]
    standing = A[:index] + A[index + 1 :]
    assert places(check(SEGMENTS, standing)) == expected
    assert places(check(SEGMENTS, renumbered(standing)), *IN_A_COPY) == expected


@pytest.mark.parametrize(("i", "j"), [(3, 4), (10, 15), (18, 21), (5, 95), (98, 99)])
def test_two_swapped_records_are_both_located(i: int, j: int) -> None:
    standing = list(A)
    standing[i] = A[j]._replace(offset=A[i].offset, timestamp_ms=A[i].timestamp_ms)
    standing[j] = A[i]._replace(offset=A[j].offset, timestamp_ms=A[j].timestamp_ms)
    expected = [(Kind.SWAPPED, A[i].offset, A[i].offset), (Kind.SWAPPED, A[j].offset, A[j].offset)]
    assert places(check(SEGMENTS, standing)) == expected
    assert places(check(SEGMENTS, renumbered(standing)), *IN_A_COPY) == expected


def test_an_inserted_record_is_located_where_a_marker_stood() -> None:
    marker = A[24].offset + 1
    assert marker not in {record.offset for record in A}
    standing = [*A[:25], FOREIGN._replace(offset=marker), *A[25:]]
    assert places(check(SEGMENTS, standing)) == [(Kind.INSERTED, marker, marker)]


def test_an_inserted_record_is_located_in_a_copy_that_was_written_anew() -> None:
    standing = renumbered([*A[:25], FOREIGN, *A[25:]])
    assert places(check(SEGMENTS, standing), *IN_A_COPY) == [(Kind.INSERTED, 25, 25)]


def test_a_copy_that_was_written_anew_is_told_from_the_original() -> None:
    findings = check(SEGMENTS, renumbered(A))
    assert {finding.kind for finding in findings} == {Kind.MOVED}
    assert sum(finding.records for finding in findings) == 95  # the first five stand where they stood


def test_a_rewritten_tail_is_one_finding_from_its_first_record_on() -> None:
    standing = [*A[:70], *(r._replace(value=b"other " + (r.value or b"")) for r in A[70:])]
    assert places(check(SEGMENTS, standing)) == [(Kind.REWRITTEN_TAIL, A[70].offset, A[99].offset)]
    assert places(check(SEGMENTS, renumbered(standing)), *IN_A_COPY) == [
        (Kind.REWRITTEN_TAIL, A[70].offset, A[99].offset)
    ]


def test_a_tail_that_was_cut_off_is_missing() -> None:
    assert places(check(SEGMENTS, A[:70])) == [(Kind.MISSING, A[70].offset, A[99].offset)]


def test_several_things_at_once_are_told_apart() -> None:
    standing = [*A[:10], *A[11:30], A[30]._replace(value=b"x"), *A[31:]]
    expected = [(Kind.MISSING, A[10].offset, A[10].offset), (Kind.ALTERED, A[30].offset, A[30].offset)]
    assert places(check(SEGMENTS, standing)) == expected
    assert places(check(SEGMENTS, renumbered(standing)), *IN_A_COPY) == expected


def test_what_follows_the_last_seal_is_not_yet_protected_and_no_violation() -> None:
    more = records(113)
    (finding,) = check(SEGMENTS, more)
    assert (finding.kind, finding.position.offset, finding.records) == (Kind.UNSEALED, more[100].offset, 13)
    assert not finding.violation


def test_unsealed_records_that_a_removal_shifts_into_the_sealed_range_are_not_called_inserted() -> None:
    more = records(113)
    standing = renumbered(more[:40] + more[41:])
    assert places(check(SEGMENTS, standing), *IN_A_COPY) == [(Kind.MISSING, more[40].offset, more[40].offset)]


@pytest.mark.parametrize("kept", [20, 33, 100])
def test_what_retention_took_from_the_front_is_expired_and_not_missing(kept: int) -> None:
    low = A[kept].offset if kept < 100 else A[99].offset + 1
    findings = check(SEGMENTS, A[kept:], low=low)
    assert places(findings) == [(Kind.EXPIRED, 0, low - 1)]
    assert not findings[0].violation


def test_the_kept_part_of_an_expired_segment_is_still_held_against_its_seal() -> None:
    standing = [*A[33:35], A[35]._replace(value=b"x"), *A[36:]]
    findings = check(SEGMENTS, standing, low=A[33].offset)
    assert places(findings) == [(Kind.EXPIRED, 0, A[33].offset - 1), (Kind.ALTERED, A[35].offset, A[35].offset)]


def test_a_range_that_was_never_sealed_is_said_to_be_so() -> None:
    findings = check([SEGMENTS[0], *SEGMENTS[2:]], A)
    assert {finding.kind for finding in findings} == {Kind.UNSEALED}
    assert sum(finding.records for finding in findings) == 20


def test_empty_segments_change_nothing() -> None:
    empty, after = follows(SEGMENTS[0]).cut()
    after.add(A[20:40])
    assert check([SEGMENTS[0], empty, after.cut()[0]], A[:40]) == []


def test_a_second_body_with_the_same_short_digest_is_found_by_the_segment() -> None:
    forged = SEGMENTS[1].model_copy(update={"digest": bytes(32)})
    (finding,) = check([SEGMENTS[0], forged, *SEGMENTS[2:]], A)
    assert (finding.kind, finding.position.offset, finding.last_offset) == (Kind.ALTERED, 23, A[39].offset)


@pytest.mark.parametrize("column", ["offsets", "timestamps", "bodies"])
def test_a_seal_whose_columns_do_not_agree_does_not_stop_the_check(column: str) -> None:
    forged = SEGMENTS[1].model_copy(update={column: b"broken", "digest": bytes(32)})
    (finding,) = check([SEGMENTS[0], forged, *SEGMENTS[2:]], A)
    assert finding.kind is Kind.ALTERED
    assert "offsets 23 to" in finding.detail
