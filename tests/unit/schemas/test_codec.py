"""The wire format byte by byte, its errors, and reading what an older version wrote."""

import copy
import io
import json
import struct
from typing import Any

import fastavro
import pytest
from scenario import envelope

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.codec import HEADER_BYTES, MAX_RECORD_BYTES, Codec, identified
from autopilot.schemas.compatibility import full_obstacles
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event
from autopilot.schemas.errors import InvalidError, UndecodableError, UnknownEventTypeError, UnknownSchemaError
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.effector import StepSucceeded
from autopilot.schemas.events.kpis import KpiWindowClosed
from autopilot.schemas.events.observer import SignalCleared
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import BundledRegistry, subject_of
from autopilot.streams.kpis.fold import NO_FIGURES

ENVELOPE = envelope(occurred_at_us=7, domain="d", service="s", producer="p")
STEP = StepSucceeded(
    execution_id="x",
    plan_id="p",
    incident_id="i",
    step_id="1",
    phase="forward",
    attempt=1,
    changed=True,
    after={},
    took_ms=9,
)


class OtherSchemas(BundledRegistry):
    """The bundled registry, and schemas of other versions from id 1000."""

    def __init__(self, *schemas: Schema) -> None:
        super().__init__()
        self._others = dict(enumerate(schemas, start=1000))

    def schema_for(self, schema_id: int) -> Schema:
        return self._others[schema_id] if schema_id in self._others else super().schema_for(schema_id)


def written(schema: Schema, event: Event[Any], schema_id: int = 1000, **changed: Any) -> bytes:
    """The event as a program with another `schema` would have written it."""
    buffer = io.BytesIO(struct.pack(">bI", 0, schema_id))
    buffer.seek(0, io.SEEK_END)
    record = {"envelope": event.envelope.model_dump(), **event.payload.model_dump(), **changed}
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return buffer.getvalue()


def changed_schema(model: type[Payload], **properties: Any) -> Schema:
    schema: Schema = json.loads(json.dumps(schema_of(model)))
    return {**schema, **properties}


@pytest.fixture
def codec() -> Codec:
    return Codec(BundledRegistry())


def test_a_value_begins_with_a_zero_byte_and_the_big_endian_schema_id(codec: Codec) -> None:
    value = codec.encode(Event(ENVELOPE, Tick(at_us=5)))
    assert value[:HEADER_BYTES] == struct.pack(">bI", 0, BundledRegistry().id_for(Tick))
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), schema_of(Tick), None)
    assert list(record) == ["envelope", "at_us"]
    assert record["envelope"]["domain"] == "d"


def test_a_wrong_magic_byte_is_undecodable(codec: Codec) -> None:
    value = codec.encode(Event(ENVELOPE, Tick(at_us=5)))
    with pytest.raises(UndecodableError, match="`first byte` is 1, expected 0"):
        codec.decode(b"\x01" + value[1:])


def test_an_unknown_schema_id_says_which(codec: Codec) -> None:
    with pytest.raises(UnknownSchemaError, match="`schema id` is 99999"):
        codec.decode(struct.pack(">bI", 0, 99999) + b"x")


@pytest.mark.parametrize("value", [None, b"", b"\0", b"\0\0\0\0\x01"])
def test_a_value_without_a_record_is_undecodable(codec: Codec, value: bytes | None) -> None:
    with pytest.raises(UndecodableError, match="expected more than 5 bytes"):
        codec.decode(value)


def test_an_oversized_value_is_invalid_before_it_is_decoded(codec: Codec) -> None:
    with pytest.raises(InvalidError, match=f"expected at most {MAX_RECORD_BYTES} bytes"):
        codec.decode(b"\0" * (MAX_RECORD_BYTES + 1))


def test_an_event_type_of_another_version_is_named() -> None:
    later = changed_schema(Tick, name="Tock")
    with pytest.raises(UnknownEventTypeError, match="`event type` is Tock"):
        Codec(OtherSchemas(later)).decode(written(later, Event(ENVELOPE, Tick(at_us=5))))


def test_a_value_outside_its_bounds_names_the_field(codec: Codec) -> None:
    value = written(changed_schema(Tick), Event(ENVELOPE, Tick(at_us=5)), BundledRegistry().id_for(Tick), at_us=-1)
    with pytest.raises(InvalidError, match="`at_us` is -1"):
        codec.decode(value)


def test_an_enum_value_of_another_version_names_the_field_and_the_values() -> None:
    model = EVENT_TYPES["StepFailed"]
    names = {f["name"] for f in schema_of(model)["fields"]}
    assert "failure" in names
    event = Event(ENVELOPE, STEP)
    value = written(changed_schema(model), event, BundledRegistry().id_for(model), failure="odd", reason="r")
    with pytest.raises(InvalidError, match=r"`failure` is 'odd'.*'refused'"):
        Codec(BundledRegistry()).decode(value)


def test_an_older_record_without_a_defaulted_field_is_read_with_the_default() -> None:
    older = changed_schema(StepSucceeded)
    older["fields"] = [f for f in older["fields"] if f["name"] != "took_ms"]
    decoded = Codec(OtherSchemas(older)).decode(written(older, Event(ENVELOPE, STEP)))
    assert decoded == Event(ENVELOPE, STEP.model_copy(update={"took_ms": 0}))


def test_an_older_record_without_a_defaulted_contract_is_read_with_the_default() -> None:
    said = KpiWindowClosed(from_us=0, until_us=1, window_ms=1, bundle="", bundle_digest="", figures=NO_FIGURES)
    older = changed_schema(KpiWindowClosed)
    figures = next(f["type"] for f in older["fields"] if f["name"] == "figures")
    figures["fields"] = [f for f in figures["fields"] if f["name"] != "step_wait"]
    decoded = Codec(OtherSchemas(older)).decode(written(older, Event(ENVELOPE, said)))
    assert decoded == Event(ENVELOPE, said)
    assert full_obstacles(schema_of(KpiWindowClosed), older) == []


def test_a_newer_record_with_a_further_field_is_read_without_it() -> None:
    newer = changed_schema(Tick)
    newer["fields"] = [{"name": "further", "type": "string", "default": ""}, *newer["fields"]]
    decoded = Codec(OtherSchemas(newer)).decode(written(newer, Event(ENVELOPE, Tick(at_us=5)), further="x"))
    assert decoded == Event(ENVELOPE, Tick(at_us=5))


def test_a_record_whose_schema_cannot_be_resolved_is_undecodable() -> None:
    alien = changed_schema(SignalCleared)
    alien["fields"] = [f for f in alien["fields"] if f["name"] == "envelope"]
    with pytest.raises(UndecodableError, match="an Avro SignalCleared"):
        Codec(OtherSchemas(alien)).decode(written(alien, Event(ENVELOPE, Tick(at_us=5))))


def test_a_subject_is_the_records_full_name() -> None:
    assert subject_of(Tick) == "autopilot.events.Tick"


def test_bytes_get_their_identity_without_being_encoded_again() -> None:
    codec = Codec(BundledRegistry())
    blank = codec.encode(Event(ENVELOPE.model_copy(update={"event_id": ""}), STEP))
    assert identified(blank, "e" * 36) == codec.encode(Event(ENVELOPE.model_copy(update={"event_id": "e" * 36}), STEP))
    with pytest.raises(ValueError, match="of an event that has none"):
        identified(codec.encode(Event(ENVELOPE, STEP)), "f")
