"""Whether every event's identity is its own and its cause stands where it says. Pure, in 50 bytes an event.

Only envelopes are decoded: the envelope is the first field of every event, so an Avro reader can stop after it.
"""

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt

from autopilot.schemas.codec import HEADER_BYTES
from autopilot.schemas.envelope import Position
from autopilot.schemas.errors import ContractError, UndecodableError
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.findings import Finding, Kind, at
from autopilot.streams.record import Record
from autopilot.streams.seals import Partition


class EnvelopeReader:
    """Reads the envelope of an event's bytes and nothing else."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._schemas: dict[int, Any] = {}

    def read(self, value: bytes) -> dict[str, Any]:
        """The envelope's fields. Raises a `ContractError` when the bytes begin with none."""
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        if len(value) <= HEADER_BYTES or value[0]:
            raise UndecodableError("value", f"{len(value)} bytes", "a Confluent-framed event")
        if schema_id not in self._schemas:
            written = self._registry.schema_for(schema_id)
            self._schemas[schema_id] = fastavro.parse_schema(written["fields"][0]["type"])
        try:
            envelope: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), self._schemas[schema_id], None)
        except Exception as error:  # fastavro raises many unrelated types on broken input
            raise UndecodableError("value", f"{type(error).__name__}: {error}", "an envelope") from None
        return dict(envelope)


@dataclass
class _Partition:
    """What is remembered of a partition's events, as columns; identities by their first 8 bytes."""

    offsets: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    caused: list[tuple[int, Partition, int, int]] = field(default_factory=list)
    """Index of an event, and partition, offset and identity of its cause."""
    low: int = 0
    end: int = 0


class Links:
    """Collects events of any partitions in any order of partitions; `findings` judges them together."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._envelopes = EnvelopeReader(registry)
        self._seen: dict[Partition, _Partition] = {}
        self._broken: list[Finding] = []

    def cover(self, partition: Partition, low: int, end: int) -> None:
        """Says that all of a partition's events in a range of offsets are going to be added."""
        self._seen[partition] = _Partition(low=low, end=end)

    def add(self, record: Record) -> None:
        """Takes in one event of a range that is covered; what is none becomes a finding."""
        seen = self._seen[Partition(record.position.topic, record.position.partition)]
        try:
            envelope = self._envelopes.read(record.value)
            identity = _short_id(envelope["event_id"])
        except (ContractError, ValueError) as error:
            self._broken.append(at(Kind.UNDECODABLE, record.position, str(error)))
            return
        seen.offsets.append(record.position.offset)
        seen.ids.append(identity)
        if envelope["cause_topic"]:
            cause = Partition(envelope["cause_topic"], envelope["cause_partition"])
            caused_by = _short_id(envelope["causation_id"]) if envelope["causation_id"] else 0
            seen.caused.append((len(seen.ids) - 1, cause, envelope["cause_offset"], caused_by))

    def findings(self) -> list[Finding]:
        """Duplicates, orphans and what did not decode, by position."""
        return sorted([*self._broken, *self._duplicates(), *self._orphans()], key=lambda finding: finding.position)

    def _duplicates(self) -> Iterator[Finding]:
        """Events from outside may be said twice: their identity is their content's, and readers count it once."""
        first: dict[int, Position] = {}
        for partition in sorted(self._seen):
            seen = self._seen[partition]
            for index, _, _, _ in seen.caused:
                here = Position(partition.topic, partition.number, seen.offsets[index])
                other = first.setdefault(seen.ids[index], here)
                if other is not here:
                    yield at(Kind.DUPLICATE, here, f"the event with this id stands at {other}")

    def _orphans(self) -> Iterator[Finding]:
        columns = {p: (_column(s.offsets), _column(s.ids)) for p, s in self._seen.items()}
        for partition in sorted(self._seen):
            seen = self._seen[partition]
            for index, cause, offset, identity in seen.caused:
                own = seen.offsets[index]
                if cause not in columns or not self._is_covered(cause, offset, own if cause == partition else None):
                    continue
                offsets, ids = columns[cause]
                found = int(np.searchsorted(offsets, offset))
                if found == len(offsets) or offsets[found] != offset or ids[found] != identity:
                    here = Position(partition.topic, partition.number, seen.offsets[index])
                    yield at(Kind.ORPHAN, here, f"its cause does not stand at {Position(*cause, offset)}")

    def _is_covered(self, cause: Partition, offset: int, before: int | None) -> bool:
        """Whether it would have been read if it stood there; an effect's own partition was read up to the effect."""
        seen = self._seen[cause]
        return seen.low <= offset and (offset < seen.end or before is not None)


def _column(numbers: list[int]) -> npt.NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


def _short_id(event_id: str) -> int:
    return uuid.UUID(event_id).int >> 64
