"""FULL_TRANSITIVE compatibility, rule by rule."""

from typing import Any

import pytest

from autopilot.schemas.compatibility import check, full_obstacles, obstacles

ACTION = {"type": "record", "name": "Action", "fields": [{"name": "verb", "type": "string"}]}


def record(*fields: dict[str, Any], name: str = "Said", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "n", "fields": list(fields), **more}


def field(name: str, avro_type: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": avro_type, **more}


def problems(new: Any, old: Any) -> list[tuple[str, str]]:
    return [(obstacle.path, obstacle.problem) for obstacle in full_obstacles(new, old)]


def test_the_same_schema_is_compatible_whatever_its_docs_say() -> None:
    old = record(field("a", "long", doc="before"), field("b", ACTION))
    assert problems(record(field("a", "long", doc="after"), field("b", ACTION)), old) == []


def test_fields_with_defaults_may_come_go_and_change_places() -> None:
    old = record(field("a", "long"), field("gone", "string", default=""))
    new = record(field("come", ["null", "string"], default=None), field("a", "long"))
    assert problems(new, old) == []


def test_a_field_added_without_a_default_is_found() -> None:
    (found,) = full_obstacles(record(field("a", "long"), field("b", "long")), record(field("a", "long")))
    assert (found.path, found.problem) == ("b", "field added without a default")
    assert found.advice == "give it a default that is true of recorded events"


def test_a_field_removed_without_a_default_is_found() -> None:
    (found,) = full_obstacles(record(field("a", "long")), record(field("a", "long"), field("b", "long")))
    assert (found.path, found.advice) == ("b", "put it back")
    assert found.problem == "field removed, and the release had no default for it"


@pytest.mark.parametrize(
    ("wide", "narrow"), [("long", "int"), ("double", "long"), ("double", "float"), ("bytes", "string")]
)
def test_a_promotion_works_one_way_and_is_therefore_found(wide: str, narrow: str) -> None:
    assert obstacles(wide, narrow) == []
    assert problems(record(field("a", wide)), record(field("a", narrow))) == [
        ("a", f"type changed from {narrow} to {wide}")
    ]


def test_bytes_do_not_become_a_string_as_they_need_not_be_utf_8() -> None:
    assert [o.problem for o in obstacles("string", "bytes")] == ["type changed from bytes to string"]


def test_a_logical_type_must_stay() -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    assert problems(micros, micros) == []
    assert problems(micros, millis) == [("", "type changed from timestamp-millis to timestamp-micros")]
    assert problems(micros, "long") == [("", "type changed from long to timestamp-micros")]


def test_the_path_leads_through_lists_and_maps_into_nested_records() -> None:
    grown = {**ACTION, "fields": [*ACTION["fields"], field("target", "string")]}
    old = record(field("steps", {"type": "array", "items": {"type": "map", "values": ACTION}}))
    new = record(field("steps", {"type": "array", "items": {"type": "map", "values": grown}}))
    assert problems(new, old) == [("steps[]{}.target", "field added without a default")]


def test_a_type_named_by_reference_is_compared_with_its_definition() -> None:
    old = record(field("one", ACTION), field("other", "Action"))
    new = record(field("one", ACTION), field("other", "long"))
    assert problems(new, old) == [("other", "type changed from n.Action to long")]


def test_a_recursive_record_is_compared_once() -> None:
    tree = record(field("children", {"type": "array", "items": "Said"}), field("a", "long"))
    grown = record(field("children", {"type": "array", "items": "Said"}), field("a", "string"))
    assert problems(tree, tree) == []
    assert [path for path, _ in problems(grown, tree)] == ["a"]


def test_a_union_that_gains_a_branch_is_found_for_released_readers() -> None:
    assert obstacles(["null", "string"], "string") == []
    assert problems(["null", "string"], "string") == [("", "type changed from string to null")]
    assert problems(["null", "string"], ["null", "string"]) == []
    assert problems(["null", "string", "boolean"], ["null", "string"]) == [
        ("", "type changed from union of null, string to boolean")
    ]


def test_the_order_of_a_unions_branches_does_not_matter() -> None:
    assert problems(["string", "null"], ["null", "string"]) == []


def test_a_record_inside_a_union_names_the_field_that_stands_in_the_way() -> None:
    grown = {**ACTION, "fields": [*ACTION["fields"], field("target", "string")]}
    assert problems(record(field("a", ["null", grown])), record(field("a", ["null", ACTION]))) == [
        ("a.target", "field added without a default")
    ]


def test_an_enum_that_loses_or_gains_symbols_is_found_unless_its_reader_has_a_default() -> None:
    small = {"type": "enum", "name": "E", "symbols": ["A"]}
    large = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
    assert problems(large, small) == [("", "enum gained `B`, which released readers refuse")]
    assert problems(small, large) == [("", "enum lost `B`, which recorded events may bear")]
    assert problems({**large, "default": "A"}, {**small, "default": "A"}) == []


def test_fixed_sizes_must_agree() -> None:
    four, eight = ({"type": "fixed", "name": "F", "size": size} for size in (4, 8))
    assert problems(four, four) == []
    assert problems(eight, four) == [("", "type changed from F to F")]


def test_renaming_a_record_or_a_field_is_found_as_released_readers_know_no_alias() -> None:
    old = record(field("a", "long"))
    assert problems(record(field("b", "long", aliases=["a"])), old) == [
        ("a", "field removed, and the release had no default for it")
    ]
    assert obstacles(record(field("b", "long", aliases=["a"])), old) == []
    renamed = record(field("a", "long"), name="Told", aliases=["Said"])
    assert obstacles(renamed, old) == []
    assert problems(renamed, old) == [("", "type changed from n.Said to n.Told")]


def test_every_release_is_compared_and_a_removed_event_type_is_found() -> None:
    first, second = record(field("a", "long")), record(field("a", "long"), field("b", "long", default=0))
    found = check(
        {"Said": record(field("b", "long", default=0))}, {"1": {"Said": first}, "2": {"Said": second, "Gone": first}}
    )
    assert [(f.release, f.event_type, f.path) for f in found] == [
        ("1", "Said", "a"),
        ("2", "Said", "a"),
        ("2", "Gone", ""),
    ]
    assert str(found[-1]) == (
        "Gone: the event type is gone (release 2); keep its model: the log holds such events for ever"
    )


def test_a_new_event_type_is_no_finding() -> None:
    assert check({"Said": record(), "New": record(field("a", "long"))}, {"1": {"Said": record()}}) == []
