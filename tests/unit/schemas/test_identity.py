"""Identities: the same content gives the same identity, and every part of the content matters."""

import re
import uuid

from autopilot.schemas.envelope import Position
from autopilot.schemas.identity import NAMESPACE, content_id, derived_id, digest_of, event_id, span_id, trace_id

AT = Position("autopilot.log", 1, 42)


def test_an_event_id_is_a_uuid_of_version_5_that_never_changes() -> None:
    identity = event_id("live", "planner", AT, 0)
    assert uuid.UUID(identity).version == 5
    assert identity == "536d454b-7011-5d2d-a8ae-59a25368dab1"


def test_an_event_id_is_the_uuid_of_its_text_in_the_projects_namespace() -> None:
    for ordinal in range(100):
        expected = uuid.uuid5(NAMESPACE, f"live/planner/autopilot.log[1]@42/{ordinal}")
        assert event_id("live", "planner", AT, ordinal) == str(expected)


def test_run_producer_cause_and_ordinal_each_tell_events_apart() -> None:
    identities = {
        event_id("live", "planner", AT, 0),
        event_id("shadow:x", "planner", AT, 0),
        event_id("live", "policy", AT, 0),
        event_id("live", "planner", AT._replace(topic="autopilot.telemetry"), 0),
        event_id("live", "planner", AT._replace(partition=2), 0),
        event_id("live", "planner", AT._replace(offset=43), 0),
        event_id("live", "planner", AT, 1),
    }
    assert len(identities) == 7


def test_an_outside_events_identity_is_its_content_and_its_type() -> None:
    assert content_id("Halt", b"x") == content_id("Halt", b"x")
    assert len({content_id("Halt", b"x"), content_id("Halt", b"y"), content_id("Resume", b"x")}) == 3


def test_a_derived_id_keeps_its_parts_apart() -> None:
    assert re.fullmatch(r"inc-[0-9a-f]{16}", derived_id("inc", "a", "b"))
    assert derived_id("inc", "ab", "c") != derived_id("inc", "a", "bc")


def test_a_digest_is_the_sha_256_of_the_text() -> None:
    assert digest_of("") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_trace_and_span_ids_have_the_lengths_of_the_w3c_trace_context() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id("live", "inc-1"))
    assert re.fullmatch(r"[0-9a-f]{16}", span_id("planner", "e"))
    assert trace_id("live", "inc-1") != trace_id("simulation:x", "inc-1")
    assert span_id("planner", "e") != span_id("policy", "e")


def test_a_position_is_shown_and_ordered_by_topic_partition_and_offset() -> None:
    assert str(AT) == "autopilot.log[1]@42"
    assert sorted([Position("b", 0, 0), Position("a", 1, 0), Position("a", 0, 9)]) == [
        Position("a", 0, 9), Position("a", 1, 0), Position("b", 0, 0),
    ]  # fmt: skip
