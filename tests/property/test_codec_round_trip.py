"""What is encoded is decoded, for every event type; what is damaged is refused with an error that says how."""

import contextlib
import io
import math
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.codec import HEADER_BYTES, Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event
from autopilot.schemas.errors import ContractError, InvalidError, UndecodableError
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch
from autopilot.schemas.registry import BundledRegistry
from tests.property.event_strategies import events

CODEC = Codec(BundledRegistry())


class OneSchema(BundledRegistry):
    """A registry whose id 1 is one given schema."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self._schemas = {1: schema}


every_type = pytest.mark.parametrize("model", EVENT_TYPES.values(), ids=list(EVENT_TYPES))
any_event = st.sampled_from(list(EVENT_TYPES.values())).flatmap(events)


@every_type
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_an_event_survives_the_wire(model: type[Payload], data: st.DataObject) -> None:
    event = data.draw(events(model))
    assert CODEC.decode(CODEC.encode(event)) == event


@every_type
@settings(max_examples=2, deadline=None)
@given(st.data())
def test_a_record_cut_anywhere_is_refused(model: type[Payload], data: st.DataObject) -> None:
    value = CODEC.encode(data.draw(events(model)))
    for length in range(len(value)):
        with pytest.raises((UndecodableError, InvalidError)):
            CODEC.decode(value[:length])


@settings(max_examples=100, deadline=None)
@given(any_event, st.binary(min_size=1, max_size=4))
def test_bytes_after_the_record_are_refused(event: Event[Any], surplus: bytes) -> None:
    with pytest.raises(UndecodableError, match="left over"):
        CODEC.decode(CODEC.encode(event) + surplus)


@settings(max_examples=200, deadline=None)
@given(any_event, st.data())
def test_damaged_bytes_raise_contract_errors_or_nothing(event: Event[Any], data: st.DataObject) -> None:
    value = bytearray(CODEC.encode(event))
    at = data.draw(st.integers(HEADER_BYTES, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ContractError):
        assert isinstance(CODEC.decode(bytes(value)).payload, Payload)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(range(1, len(EVENT_TYPES) + 1)), st.binary(max_size=200))
def test_noise_under_a_known_schema_raises_contract_errors_or_nothing(schema_id: int, noise: bytes) -> None:
    with contextlib.suppress(ContractError):
        assert isinstance(CODEC.decode(b"\0" + schema_id.to_bytes(4, "big") + noise).payload, Payload)


@settings(max_examples=100, deadline=None)
@given(any_event)
def test_equal_events_give_equal_bytes(event: Event[Any]) -> None:
    again = Event(event.envelope.model_copy(), event.payload.model_copy(deep=True))
    assert CODEC.encode(again) == CODEC.encode(event)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@settings(max_examples=5, deadline=None)
@given(event=events(TelemetryBatch))
def test_values_that_are_no_numbers_survive_for_the_observer_to_judge(value: float, event: Event[Any]) -> None:
    series = Series(metric="m", kind=SeriesKind.GAUGE, unit="1", attributes={}, timestamps_us=[1], values=[value])
    batch = TelemetryBatch(source="s", series=[series])
    decoded: Any = CODEC.decode(CODEC.encode(Event(event.envelope, batch)))
    assert repr(decoded.payload.series[0].values) == repr([value])


DEFAULTED = [
    (model, name, info.default)
    for model in EVENT_TYPES.values()
    for name, info in model.model_fields.items()
    if not info.is_required()
]


@pytest.mark.parametrize(("model", "name", "default"), DEFAULTED, ids=[f"{m.__name__}.{n}" for m, n, _ in DEFAULTED])
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_what_was_written_before_a_field_was_added_is_read_with_its_default(
    model: type[Payload], name: str, default: Any, data: st.DataObject
) -> None:
    event = data.draw(events(model))
    schema = schema_of(model)
    older = {**schema, "fields": [field for field in schema["fields"] if field["name"] != name]}
    buffer = io.BytesIO()
    buffer.write(b"\0" + (1).to_bytes(4, "big"))
    record = {"envelope": event.envelope.model_dump(), **event.payload.model_dump()}
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(older), record)
    decoded = Codec(OneSchema(older)).decode(buffer.getvalue())
    assert decoded == Event(event.envelope, event.payload.model_copy(update={name: default}))


@every_type
def test_every_schema_is_valid_avro(model: type[Payload]) -> None:
    parsed: Any = fastavro.parse_schema(schema_of(model))
    assert parsed["name"] == f"autopilot.events.{model.event_type()}"


@every_type
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_events_are_written_as_fastavro_writes_them(model: type[Payload], data: st.DataObject) -> None:
    event = data.draw(events(model))
    general = io.BytesIO()
    record = {**event.payload.model_dump(), "envelope": event.envelope.model_dump()}
    fastavro.schemaless_writer(general, fastavro.parse_schema(schema_of(model)), record)
    assert CODEC.encode(event)[HEADER_BYTES:] == general.getvalue()
