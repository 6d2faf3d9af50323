"""Events to bytes and back, in the Confluent wire format: a zero byte, a big-endian schema id, an Avro record.

Logical types are left as integers (`timestamp-micros` stays a long): agents calculate with integers, and building
`datetime` objects would cost more than all the rest.
"""

import io
import struct
from typing import Any

import fastavro
from pydantic import ValidationError

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Envelope, Event
from autopilot.schemas.errors import InvalidError, UndecodableError, UnknownEventTypeError
from autopilot.schemas.event_reader import GIVEN_UP, Read, event_reader
from autopilot.schemas.event_writer import Fields, Write, event_writer
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.observer import MeasurementTaken
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.registry import SchemaRegistry

_HEADER = struct.Struct(">bI")
HEADER_BYTES = _HEADER.size
"""Bytes before the Avro record. They name a schema in one registry, so signatures do not cover them."""

MAX_RECORD_BYTES = 1_000_000
"""The largest record value that is decoded or written, in bytes; Kafka's own default limit is a little above."""


_SHORT_STRING_BYTES = 64
"""Avro writes the length of a string shorter than this in one byte."""


def identified(value: bytes, event_id: str) -> bytes:
    """The wire bytes of the same event with `event_id`, of those with an empty one.

    An event's Avro record begins with its envelope and that with the id, so that nothing else has to be written anew.
    Raises ValueError when there is an id already, or for one of 64 bytes or more.
    """
    text = event_id.encode()
    if value[HEADER_BYTES] != 0 or len(text) >= _SHORT_STRING_BYTES:
        raise ValueError(f"`event_id` is `{event_id}`, expected a short one, of an event that has none")
    return b"".join((value[:HEADER_BYTES], bytes([2 * len(text)]), text, value[HEADER_BYTES + 1 :]))


COLUMNAR = (TelemetryBatch, MeasurementTaken)
"""Event types that are columns of numbers: fastavro writes them faster than the writer of all others."""


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    return [_without_logical_types(item) for item in node] if isinstance(node, list) else node


def _columns_writer(schema: Schema) -> Write:
    parsed = fastavro.parse_schema(_without_logical_types(schema))

    def write(envelope: Fields, payload: Payload) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, {**payload.model_dump(), "envelope": envelope})
        return buffer.getvalue()

    return write


class SlowReader:
    """Reads events of one type with fastavro and pydantic: also those of other versions, and says what is wrong."""

    def __init__(self, model: type[Payload], written: Schema) -> None:
        current = schema_of(model)
        self._model = model
        self._writer = fastavro.parse_schema(_without_logical_types(written))
        self._reader = None if written == current else fastavro.parse_schema(_without_logical_types(current))

    def read(self, value: bytes) -> Event[Payload]:
        """The event whose wire bytes these are. Raises `UndecodableError` or `InvalidError`."""
        buffer = io.BytesIO(value)
        buffer.seek(HEADER_BYTES)
        try:
            record: Any = fastavro.schemaless_reader(buffer, self._writer, self._reader)
        except Exception as error:  # fastavro raises many unrelated types on broken input
            said = str(error).replace(repr(buffer), "the value")  # an address would make each dead letter another one
            raise UndecodableError(
                "value", f"{type(error).__name__}: {said}", f"an Avro {self._model.__name__}"
            ) from None
        if buffer.tell() != len(value):
            raise UndecodableError(
                "value", f"{len(value) - buffer.tell()} bytes left over", f"one Avro {self._model.__name__}"
            )
        return _event(self._model, record)


class Codec:
    """Encodes and decodes events against one registry. Holds only caches, so it may be shared."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._writers: dict[type[Payload], tuple[bytes, Write]] = {}
        self._readers: dict[int, tuple[Read | None, SlowReader]] = {}

    def encode(self, event: Event[Payload]) -> bytes:
        """The event's wire bytes."""
        return self.encode_parts(vars(event.envelope), event.payload)

    def encode_parts(self, envelope: Fields, payload: Payload) -> bytes:
        """The wire bytes of an event of which the envelope is given by its fields: each of them must be there."""
        header, write = self._writer(type(payload))
        return header + write(envelope, payload)

    def _writer(self, model: type[Payload]) -> tuple[bytes, Write]:
        cached = self._writers.get(model)
        if cached is None:
            header = _HEADER.pack(0, self._registry.id_for(model))
            write = (_columns_writer if model in COLUMNAR else event_writer)(schema_of(model))
            cached = self._writers[model] = (header, write)
        return cached

    def decode(self, value: bytes | None) -> Event[Payload]:
        """The event in `value`. Raises a `ContractError` that names what is wrong."""
        if value is None or len(value) <= HEADER_BYTES:
            raise UndecodableError("value", f"{len(value or b'')} bytes", f"more than {HEADER_BYTES} bytes")
        if len(value) > MAX_RECORD_BYTES:
            raise InvalidError("value", f"{len(value)} bytes", f"at most {MAX_RECORD_BYTES} bytes")
        magic, schema_id = _HEADER.unpack_from(value)
        if magic != 0:
            raise UndecodableError("first byte", str(magic), "0 (Confluent wire format)")
        read, slow = self._readers.get(schema_id) or self._reader(schema_id)
        if read is None:
            return slow.read(value)
        try:
            return read(value, HEADER_BYTES)
        except GIVEN_UP:
            return slow.read(value)

    def _reader(self, schema_id: int) -> tuple[Read | None, SlowReader]:
        written: Schema = self._registry.schema_for(schema_id)
        model = EVENT_TYPES.get(written["name"])
        if model is None:
            raise UnknownEventTypeError("event type", written["name"], "an event type of this version")
        read = event_reader(model) if written == schema_of(model) else None
        found = self._readers[schema_id] = (read, SlowReader(model, written))
        return found


def _event(model: type[Payload], record: dict[str, Any]) -> Event[Payload]:
    try:
        envelope = Envelope.model_validate(record.pop("envelope"), strict=False)
        return Event(envelope, model.model_validate(record, strict=False))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidError(field, repr(first["input"]), first["msg"]) from None
