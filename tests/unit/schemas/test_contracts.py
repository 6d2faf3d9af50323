"""What holds for every contract: descriptions, units, defaults, topics, frozenness."""

import re
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.catalogue import events_page, unit_of
from autopilot.schemas.contract import Contract, Payload, Topic
from autopilot.schemas.envelope import Envelope
from autopilot.schemas.events import EVENT_TYPES, FAMILIES
from autopilot.schemas.events.runtime import Tick

UNITS_IN_WORDS = {
    "microseconds": "_us",
    "milliseconds": "_ms",
    "thousandths": "_milli",
    "basis points": "_bp",
}


def records(node: object) -> Iterator[Schema]:
    """Every record schema in `node`, outermost first."""
    if isinstance(node, dict):
        if node.get("type") == "record":
            yield node
        for value in node.values():
            yield from records(value)
    elif isinstance(node, list):
        for value in node:
            yield from records(value)


ALL_FIELDS = sorted(
    {
        (record["name"], field["name"], field["doc"], str(field["type"]))
        for model in EVENT_TYPES.values()
        for record in records(schema_of(model))
        for field in record["fields"]
        if not any(records(field["type"]))
    }
)


@pytest.mark.parametrize("model", EVENT_TYPES.values(), ids=list(EVENT_TYPES))
def test_every_event_type_says_what_it_means(model: type[Payload]) -> None:
    for record in records(schema_of(model)):
        assert record["doc"].endswith("."), record["name"]
        for field in record["fields"]:
            assert len(field["doc"]) >= len("Why."), f"{record['name']}.{field['name']}"
            assert field["doc"].endswith("."), f"{record['name']}.{field['name']}"


def test_a_unit_that_a_description_names_is_the_last_part_of_the_name() -> None:
    for record, name, doc, avro_type in ALL_FIELDS:
        if "double" in avro_type:  # telemetry carries its unit beside it
            continue
        for words, suffix in UNITS_IN_WORDS.items():
            if re.search(rf"\b(in )?{words}\b", doc):
                assert name.endswith(suffix), f"{record}.{name}: {doc}"


def test_points_in_time_are_microseconds_with_a_logical_type() -> None:
    for record, name, _, avro_type in ALL_FIELDS:
        assert name.endswith("_us") == ("timestamp-micros" in avro_type), f"{record}.{name}"
        assert not re.search(r"_seconds$|_time$|_secs?$|_percent$", name), f"{record}.{name}"


def test_a_unit_is_shown_in_words_in_the_catalogue() -> None:
    assert (unit_of("confidence_bp"), unit_of("took_ms"), unit_of("attempt")) == ("basis points", "milliseconds", "")


def test_names_of_events_are_unique_and_each_belongs_to_one_family() -> None:
    for name, model in EVENT_TYPES.items():
        assert name == model.event_type()
        assert sum(model.__module__ == family.__name__ for family in FAMILIES) == 1


def test_only_broadcasts_and_telemetry_leave_the_log() -> None:
    elsewhere = {name for name, model in EVENT_TYPES.items() if model.topic is not Topic.LOG}
    assert elsewhere == {
        "TelemetryBatch", "MeasurementRequested", "DeadLettered", "AgentSnapshot", "LogSealed", "KpiWindowClosed",
    }  # fmt: skip
    assert {name for name, model in EVENT_TYPES.items() if model.broadcast} == {
        "Tick", "Halt", "Resume", "ConfigurationActivated", "BundleSubmitted", "BundleReviewed", "BundleShadowed",
        "BundleActivated", "BundleRetired",
    }  # fmt: skip


def test_a_contract_cannot_be_changed_and_refuses_what_it_does_not_know() -> None:
    name = "at_us"
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Tick(at_us=5), name, 6)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Tick.model_validate({"at_us": 5, "more": 1})
    with pytest.raises(ValidationError, match="valid integer"):
        Tick.model_validate({"at_us": "5"})
    assert issubclass(Envelope, Contract)


def test_a_field_without_a_description_has_no_schema() -> None:
    class Silent(Payload):
        """It happened."""

        number: int

    with pytest.raises(TypeError, match="field `number` has no description"):
        schema_of(Silent)


def test_the_catalogue_names_every_event_and_every_field() -> None:
    page = events_page({})
    for name, model in EVENT_TYPES.items():
        section = page.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert all(f"| `{field}` |" in section for field in model.model_fields), name
