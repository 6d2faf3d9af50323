"""Canonical bytes, segments, chains, the seal file and the seals' own chain."""

from pathlib import Path

import pytest
from seals.sealing import LOG, records, sealed

from autopilot.schemas.codec import Codec
from autopilot.schemas.envelope import Draft, Position
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.seals import LogSealed
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.findings import Kind
from autopilot.streams.audit.seal_chain import check_seals, compare_with_file
from autopilot.streams.mint import Mint
from autopilot.streams.record import SIGNATURE, Record
from autopilot.streams.seal_file import Seal, SealFile, seal_of
from autopilot.streams.seals import GENESIS, SealError, canonical, holds, row_of, sealed_rows, segment_digest

REGISTRY = BundledRegistry()
CODEC = Codec(REGISTRY)
KEY = SigningKey.generate("sealer")
SEGMENTS = sealed(records(100))


def seals(count: int = 5, key: SigningKey = KEY) -> list[Seal]:
    """A chain of seals, one segment each, at every second offset of the topic."""
    mint = Mint(CODEC, "sealer", 1, key=key, signs=frozenset({"LogSealed"}))
    made: list[Seal] = []
    for i in range(count):
        content = LogSealed(
            sequence=i + 1,
            previous_seal=made[-1].digest if made else b"",
            sealed_at_us=i * 1_000_000,
            public_key=key.public_key,
            segments=[SEGMENTS[i]],
        )
        out = mint.from_outside(Draft(content, ""), i * 1_000_000, {})
        record = Record(Position("autopilot.seals", 0, 2 * i), i, out.key, out.value, out.headers)
        made.append(seal_of(record, CODEC))
    return made


def test_no_two_records_have_the_same_canonical_bytes() -> None:
    alike = [
        (b"ab", b"c", ()),
        (b"a", b"bc", ()),
        (None, b"c", ()),
        (b"", b"c", ()),
        (b"", None, ()),
        (b"", b"", ()),
        (b"", b"", (("a", b"b"),)),
        (b"", b"", (("a", None),)),
        (b"", b"", (("a", b""),)),
        (b"", b"", (("a", b"b"), ("a", b"b"))),
        (b"", b"", (("ab", b""),)),
    ]
    assert len({canonical(*content) for content in alike}) == len(alike)


def test_a_segment_binds_topic_partition_and_range() -> None:
    rows = [row_of(record) for record in records(3)]
    digests = {
        segment_digest(LOG, 0, 3, rows),
        segment_digest(LOG._replace(number=1), 0, 3, rows),
        segment_digest(LOG._replace(topic="autopilot.telemetry"), 0, 3, rows),
        segment_digest(LOG, 0, 4, rows),
        segment_digest(LOG, 0, 3, rows[:2]),
    }
    assert len(digests) == 5


def test_segments_are_chained_and_each_holds_alone() -> None:
    rows = [row_of(record) for record in records(100)]
    assert SEGMENTS[0].previous_chain == GENESIS
    for i, segment in enumerate(SEGMENTS):
        assert holds(segment, rows[20 * i : 20 * i + 20])
        assert segment.previous_chain == (SEGMENTS[i - 1].chain if i else GENESIS)
        assert [row[:2] for row in sealed_rows(segment)] == [row[:2] for row in rows[20 * i : 20 * i + 20]]


def test_a_seal_costs_about_nine_bytes_a_record() -> None:
    (segment,) = sealed(records(5_000), size=5_000)
    size = len(segment.offsets) + len(segment.timestamps) + len(segment.bodies)
    assert 8 <= size / 5_000 < 9


def test_an_untouched_chain_of_seals_holds() -> None:
    checked = check_seals(seals(), [KEY.public_key])
    assert checked.findings == []
    assert checked.segments == {LOG: SEGMENTS}


def test_a_seal_of_another_key_is_broken_and_proves_nothing() -> None:
    checked = check_seals(seals(key=SigningKey.generate("mallory")), [KEY.public_key])
    assert {finding.kind for finding in checked.findings} == {Kind.SEAL_BROKEN, Kind.SEAL_MISSING}
    assert checked.segments == {}


def test_without_a_known_key_the_first_one_is_taken_on_trust_and_that_is_said() -> None:
    checked = check_seals(seals(), [])
    assert [finding.kind for finding in checked.findings] == [Kind.UNKNOWN_SEALER]
    assert checked.segments == {LOG: SEGMENTS}


def test_a_seal_that_was_changed_after_it_was_signed_is_broken() -> None:
    chain = seals()
    header = chain[2].record.headers[SIGNATURE]
    chain[2] = Seal(chain[2].record._replace(headers={SIGNATURE: header[:-4] + b"AAA="}), chain[2].content)
    (broken, missing, gap) = check_seals(chain, [KEY.public_key]).findings
    assert (broken.kind, broken.position.offset) == (Kind.SEAL_BROKEN, 4)
    assert (missing.kind, gap.kind) == (Kind.SEAL_MISSING, Kind.SEAL_MISSING)


def test_a_seal_that_was_taken_out_is_missing() -> None:
    chain = seals()
    findings = check_seals([*chain[:2], *chain[3:]], [KEY.public_key]).findings
    assert findings[0].detail == "seals 3 to 3 are missing before it"
    assert {finding.kind for finding in findings} == {Kind.SEAL_MISSING}


def test_seals_in_another_order_are_broken() -> None:
    chain = seals()
    findings = check_seals([chain[1], chain[0], *chain[2:]], [KEY.public_key]).findings
    assert Kind.SEAL_BROKEN in {finding.kind for finding in findings}


def test_the_file_brings_its_schema_and_gives_back_what_was_appended(tmp_path: Path) -> None:
    file, chain = SealFile(tmp_path / "seals.jsonl"), seals()
    file.append(chain[:2], REGISTRY)
    file.append(chain[2:], REGISTRY)
    assert file.read() == chain
    assert file.path.read_bytes().count(b'"schema"') == 1
    assert b"autopilot.log[0] 0..23" in file.path.read_bytes()


def test_a_line_that_a_crash_tore_is_not_read_and_is_mended_by_the_next_append(tmp_path: Path) -> None:
    file, chain = SealFile(tmp_path / "seals.jsonl"), seals()
    file.append(chain[:3], REGISTRY)
    file.path.write_bytes(file.path.read_bytes()[:-40])
    assert file.read() == chain[:2]
    file.append(chain[2:], REGISTRY)
    assert file.read() == chain


def test_a_line_that_is_no_seal_is_named(tmp_path: Path) -> None:
    file = SealFile(tmp_path / "seals.jsonl")
    file.append(seals(1), REGISTRY)
    with file.path.open("ab") as handle:
        handle.write(b"{}\n")
    with pytest.raises(SealError, match="line 3 of the seal file"):
        file.read()


def test_another_event_where_a_seal_should_stand_is_refused() -> None:
    out = Mint(CODEC, "clock", 1).from_outside(Draft(Tick(at_us=1), ""), 1, {})
    record = Record(Position("autopilot.seals", 0, 0), 0, out.key, out.value, out.headers)
    with pytest.raises(SealError, match="a `Tick` stands at"):
        seal_of(record, CODEC)


def test_the_file_outside_says_which_seals_the_topic_lacks_or_has_otherwise() -> None:
    chain, other = seals(), seals(key=SigningKey.generate("mallory"))
    (gone,) = compare_with_file(chain[:3], chain)
    assert (gone.kind, gone.position.offset, gone.last_offset, gone.records) == (Kind.SEAL_MISSING, 6, 8, 2)
    (rewritten,) = compare_with_file([*chain[:1], other[1], *chain[2:]], chain)
    assert (rewritten.position.offset, rewritten.records) == (2, 1)
    assert "another than in the file" in rewritten.detail
    assert compare_with_file(chain, chain[:3]) == []
