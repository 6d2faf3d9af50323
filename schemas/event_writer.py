"""Writes events: the same Avro bytes as fastavro gives, in two thirds of the time, a decision in a fifth.

Records are walked as they are, without turning them into dictionaries. A decision bears every fact that it saw, and a
plan every alternative; both repeat from one decision to the next. Their bytes are kept, so that each is written once
and copied afterwards. For long columns of numbers fastavro is the faster.

Avro 1.12, binary encoding: zig-zag variable-length numbers, lengths before texts, arrays and maps as one block.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from autopilot.schemas.avro_schema import Schema
from autopilot.schemas.envelope import Event

Write = Callable[[Any, bytearray], None]
KEPT: Final = ("Alternative", "Fact")
"""The records whose bytes are kept. All their fields are plain values."""
_MOST_KEPT: Final = 65_536


def event_writer(schema: Schema) -> Write:
    """What appends the record of an `Event` of the schema's type. Raises ValueError for a type that it cannot do."""
    named: dict[str, Write] = {}
    envelope, *own = schema["fields"]
    write_envelope = _writer(envelope["type"], named)
    write_payload = _record({**schema, "fields": own}, named)

    def write(event: Event[Any], out: bytearray) -> None:
        write_envelope(event.envelope, out)
        write_payload(event.payload, out)

    return write


def long(value: int) -> bytes:
    """A zig-zag variable-length number of 64 bits."""
    if 0 <= value < _FEW:
        return _SMALL[value]
    return _long_bytes(value)


@lru_cache(maxsize=4_096)
def _long_bytes(value: int) -> bytes:
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


_FEW: Final = 1_024
_SMALL: Final = tuple(_long_bytes(n) for n in range(_FEW))
"""The numbers that lengths mostly are."""


def _record(schema: Schema, named: dict[str, Write]) -> Write:
    fields = [(field["name"], _writer(field["type"], named)) for field in schema["fields"]]
    names = [name for name, _ in fields]
    writers = [write for _, write in fields]
    read = attrgetter(*names) if len(names) > 1 else _alone(names[0])

    def write(value: Any, out: bytearray) -> None:
        for write_field, of_field in zip(writers, read(value), strict=True):
            write_field(of_field, out)

    chosen: Write = _Kept(write, names) if schema["name"] in KEPT else write
    named[f"{schema.get('namespace', '')}.{schema['name']}"] = chosen
    return chosen


def _alone(name: str) -> Callable[[Any], tuple[Any]]:
    read = attrgetter(name)
    return lambda value: (read(value),)


class _Kept:
    """Writes a record of plain values, and keeps its bytes."""

    def __init__(self, write: Write, names: list[str]) -> None:
        self.key = attrgetter(*names)
        self.known: dict[Any, bytes] = {}
        self._write = write

    def __call__(self, value: Any, out: bytearray) -> None:
        key = self.key(value)
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= _MOST_KEPT:
                self.known.clear()
            fresh = bytearray()
            self._write(value, fresh)
            found = self.known[key] = bytes(fresh)
        out += found


def _writer(avro: Any, named: dict[str, Write]) -> Write:
    if isinstance(avro, list):
        return _optional(_writer(avro[1], named))
    if isinstance(avro, dict):
        if avro["type"] == "record":
            return _record(avro, named)
        if avro["type"] == "array":
            items = _writer(avro["items"], named)
            return _array_of_kept(items) if isinstance(items, _Kept) else _array(items)
        if avro["type"] == "map":
            return _map(_writer(avro["values"], named))
        return _writer(avro["type"], named)
    if avro in named:
        return named[avro]
    if avro not in _PLAIN:
        raise ValueError(f"`{avro}` is no type of an event")
    return _PLAIN[avro]


def _optional(write: Write) -> Write:
    def write_optional(value: Any, out: bytearray) -> None:
        if value is None:
            out.append(0)
        else:
            out.append(2)
            write(value, out)

    return write_optional


def _array(write: Write) -> Write:
    def write_array(values: Any, out: bytearray) -> None:
        if values:
            out += long(len(values))
            for value in values:
                write(value, out)
        out.append(0)

    return write_array


def _array_of_kept(kept: "_Kept") -> Write:
    def write_array(values: Any, out: bytearray) -> None:
        if values:
            out += long(len(values))
            try:
                out += b"".join(map(kept.known.__getitem__, map(kept.key, values)))
            except KeyError:
                for value in values:
                    kept(value, out)
        out.append(0)

    return write_array


def _map(write: Write) -> Write:
    def write_map(values: Any, out: bytearray) -> None:
        if values:
            out += long(len(values))
            for key, value in values.items():
                _text(key, out)
                write(value, out)
        out.append(0)

    return write_map


def _text(value: str, out: bytearray) -> None:
    raw = value.encode()
    size = len(raw)
    out += _SMALL[size] if size < _FEW else _long_bytes(size)
    out += raw


def _long(value: int, out: bytearray) -> None:
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} is beyond 64 bits")
    out += _SMALL[value] if 0 <= value < _FEW else _long_bytes(value)


def _boolean(value: bool, out: bytearray) -> None:
    out.append(value)


def _double(value: float, out: bytearray) -> None:
    out += _DOUBLE.pack(value)


def _bytes(value: bytes, out: bytearray) -> None:
    out += long(len(value))
    out += value


_DOUBLE: Final = struct.Struct("<d")
_PLAIN: Final[dict[str, Write]] = {
    "string": _text,
    "long": _long,
    "boolean": _boolean,
    "double": _double,
    "bytes": _bytes,
}
