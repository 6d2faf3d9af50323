"""The seal file: every seal once more, outside Kafka, where whoever can rewrite the log cannot reach.

One JSON object a line. A seal's line has its key, value and headers as they stand on the topic, so that its signature
can be checked, and what it covers for people to read. A line with the writer's schema comes before the first seal that
needs it: the file is read without a registry. A last line without its newline is what a crash left, and is not read.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopilot.schemas.avro_schema import Schema
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Position
from autopilot.schemas.errors import ContractError, UnknownSchemaError
from autopilot.schemas.events.seals import LogSealed
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.record import Record
from autopilot.streams.seals import SealError, seal_digest


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it was recorded, with the record that its signature covers."""

    record: Record
    content: LogSealed

    @property
    def digest(self) -> bytes:
        """What the next seal says of it."""
        return seal_digest(self.record.value)


def seal_of(record: Record, codec: Codec) -> Seal:
    """The seal in a record. Raises a `ContractError` when there is none in it."""
    content = codec.decode(record.value).payload
    if not isinstance(content, LogSealed):
        raise SealError(f"a `{content.event_type()}` stands at {record.position}, expected a `LogSealed`")
    return Seal(record, content)


class SealFile:
    """A seal file that is appended to; every append is on disk before it returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Seal]:
        """Every seal in the file, in order. Raises `SealError` for a line that is none."""
        return list(read_seals(self.path.read_bytes().splitlines(keepends=True))) if self.path.exists() else []

    def append(self, seals: Iterable[Seal], registry: SchemaRegistry) -> None:
        """Appends seals, whose schemas are in `registry`; a torn line that a crash left is cut off first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = self._mend()
        with self.path.open("ab") as file:
            for seal in seals:
                schema_id = int.from_bytes(seal.record.value[1:5], "big")
                if schema_id not in known:
                    known.add(schema_id)
                    file.write(_line({"schema_id": schema_id, "schema": registry.schema_for(schema_id)}))
                file.write(_line(_as_json(seal)))
            file.flush()
            os.fsync(file.fileno())

    def _mend(self) -> set[int]:
        """Cuts off a torn last line; gives the schema ids that the file already explains."""
        if not self.path.exists():
            return set()
        lines = self.path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            os.truncate(self.path, sum(map(len, lines[:-1])))
            lines.pop()
        return {json.loads(line)["schema_id"] for line in lines if line.startswith(b'{"schema_id"')}


def read_seals(lines: Iterable[bytes]) -> Iterator[Seal]:
    """The seals of a file's lines."""
    registry = _FileRegistry()
    codec = Codec(registry)
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            return
        try:
            content = json.loads(line)
            if "schema" in content:
                registry.schemas[content["schema_id"]] = content["schema"]
            else:
                yield seal_of(_record(content), codec)
        except (ContractError, ValueError, KeyError, TypeError) as error:
            raise SealError(f"line {number} of the seal file: {error}") from None


class _FileRegistry:
    """The schemas that a seal file itself brings."""

    def __init__(self) -> None:
        self.schemas: dict[int, Schema] = {}

    def id_for(self, model: type[Payload]) -> int:
        raise UnknownSchemaError("schema", model.event_type(), "to be read only")

    def schema_for(self, schema_id: int) -> Schema:
        if schema_id not in self.schemas:
            raise UnknownSchemaError("schema id", str(schema_id), "one that the seal file brings")
        return self.schemas[schema_id]


def _as_json(seal: Seal) -> dict[str, Any]:
    record = seal.record
    return {
        "sequence": seal.content.sequence,
        "position": list(record.position),
        "sealed_at_us": seal.content.sealed_at_us,
        "covers": [
            f"{s.source_topic}[{s.source_partition}] {s.first_offset}..{s.next_offset}" for s in seal.content.segments
        ],
        "timestamp_ms": record.timestamp_ms,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": {name: _text(content) for name, content in record.headers.items()},
    }


def _record(content: dict[str, Any]) -> Record:
    topic, partition, offset = content["position"]
    headers = {name: base64.b64decode(text) for name, text in content["headers"].items()}
    key, value = base64.b64decode(content["key"]), base64.b64decode(content["value"])
    return Record(Position(topic, partition, offset), content["timestamp_ms"], key, value, headers)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
