"""Seals: what stands in a partition, in so few bytes that a signed record can say it. Pure.

A record's *body digest* is the SHA-256 of its key, value and headers, each with its length before it, so that no two
records have the same canonical bytes. A *segment* is a contiguous range of offsets; its digest is the SHA-256 over
topic, partition and range and, as columns, every record's offset, timestamp and body digest. A partition's segments
are chained: each chain digest covers the one before it, so the last one covers the partition from its beginning, and
still any archived segment verifies alone.

A digest alone says *that* a segment was changed. To say *which* record, a seal also carries the segment's offsets and
timestamps as differences and the first 8 bytes of every body digest: about 9 bytes a record, 2 to 4 % of a usual log
record. The alternatives were weighed: a Merkle tree whose leaves stand in the archive needs leaves that nobody can
touch, which is the question that was to be answered, and it cannot tell two swapped records or a shift from so many
changed ones; whole digests would cost four times as much. Eight bytes only ever locate: a forger who finds a second
body with the same 8 bytes (2^64 tries) is still found by the segment's digest, and then located to the segment.

Kafka's transaction markers and aborted records take up offsets without being seen by readers. Since a seal lists the
offsets that were records, an offset that is missing is never mistaken for a marker, nor the other way round.
"""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autopilot.schemas.codec import HEADER_BYTES
from autopilot.schemas.events.seals import SealedSegment

SHORT = 8
"""Bytes of a body digest that a seal carries."""
GENESIS = bytes(32)
"""The chain digest before a partition's first segment."""

_SEGMENT = b"autopilot-segment-v1\0"
_CHAIN = b"autopilot-chain-v1\0"
_LENGTH = struct.Struct(">i")
_RANGE = struct.Struct(">iqqq")
_MOST_COLUMN_BYTES = 64 * 1024 * 1024

RawHeaders = Sequence[tuple[str, bytes | None]]
Integers = npt.NDArray[np.int64]


class WholeRecord(NamedTuple):
    """A record with all that Kafka keeps of it: null keys and values, repeated and null headers in their order."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders


class Row(NamedTuple):
    """What is remembered of a record: where it stands, when it was written, and the digest of the rest."""

    offset: int
    timestamp_ms: int
    body: bytes


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class SealError(ValueError):
    """A seal's own columns do not decode or do not agree with each other."""


def canonical(key: bytes | None, value: bytes | None, headers: RawHeaders) -> bytes:
    """Key, value and headers as bytes that no other key, value and headers have. A null is length -1."""
    pack = _LENGTH.pack
    parts = [
        pack(-1) if key is None else pack(len(key)) + key,
        pack(-1) if value is None else pack(len(value)),
        value or b"",
        pack(len(headers)),
    ]
    for name, content in headers:
        raw = name.encode()
        parts += (pack(len(raw)), raw, pack(-1) if content is None else pack(len(content)) + content)
    return b"".join(parts)


def row_of(record: WholeRecord) -> Row:
    """The row of a record."""
    offset, timestamp_ms, key, value, headers = record
    return Row(offset, timestamp_ms, hashlib.sha256(canonical(key, value, headers)).digest())


def segment_digest(partition: Partition, first_offset: int, next_offset: int, rows: Sequence[Row]) -> bytes:
    """The digest of a segment."""
    hashed = hashlib.sha256(_SEGMENT)
    topic = partition.topic.encode()
    hashed.update(_LENGTH.pack(len(topic)) + topic)
    hashed.update(_RANGE.pack(partition.number, first_offset, next_offset, len(rows)))
    hashed.update(np.fromiter((row.offset for row in rows), ">i8", len(rows)).tobytes())
    hashed.update(np.fromiter((row.timestamp_ms for row in rows), ">i8", len(rows)).tobytes())
    hashed.update(b"".join([row.body for row in rows]))
    return hashed.digest()


def chained(previous: bytes, digest: bytes) -> bytes:
    """The chain digest after a segment."""
    return hashlib.sha256(_CHAIN + previous + digest).digest()


def seal_digest(value: bytes) -> bytes:
    """What the next seal says of a seal: SHA-256 of its Avro record, whichever registry numbered its schema."""
    return hashlib.sha256(value[HEADER_BYTES:]).digest()


def pack_column(numbers: Sequence[int], start: int) -> bytes:
    """Integers as compressed differences, the first from `start`."""
    column = np.fromiter(numbers, np.int64, len(numbers))
    return zlib.compress(np.diff(column, prepend=np.int64(start)).astype(">i8").tobytes(), 6)


def unpack_column(packed: bytes, start: int, count: int) -> Integers:
    """The integers of `pack_column`. Raises `SealError` when there are not `count` of them."""
    try:
        opened = zlib.decompressobj().decompress(packed, _MOST_COLUMN_BYTES)
    except zlib.error as error:
        raise SealError(f"a column does not decompress: {error}") from None
    if len(opened) != 8 * count:
        raise SealError(f"a column has {len(opened)} bytes, expected {8 * count}")
    return np.cumsum(np.frombuffer(opened, ">i8").astype(np.int64)) + start


@dataclass
class OpenSegment:
    """The segment of a partition that is being filled. `head` is where the last one ended."""

    partition: Partition
    first_offset: int = 0
    chain: bytes = GENESIS
    rows: list[Row] = field(default_factory=list)

    @property
    def next_offset(self) -> int:
        """The first offset that is not yet in it."""
        return self.rows[-1].offset + 1 if self.rows else self.first_offset

    def add(self, records: Sequence[WholeRecord]) -> None:
        """Takes in records, in the order of their offsets."""
        self.rows.extend(map(row_of, records))

    def cut(self) -> tuple[SealedSegment, "OpenSegment"]:
        """What a seal says of it, and the segment that follows."""
        digest = segment_digest(self.partition, self.first_offset, self.next_offset, self.rows)
        sealed = SealedSegment(
            source_topic=self.partition.topic,
            source_partition=self.partition.number,
            first_offset=self.first_offset,
            next_offset=self.next_offset,
            records=len(self.rows),
            digest=digest,
            previous_chain=self.chain,
            chain=chained(self.chain, digest),
            offsets=pack_column([row.offset for row in self.rows], self.first_offset),
            timestamps=pack_column([row.timestamp_ms for row in self.rows], 0),
            bodies=b"".join([row.body[:SHORT] for row in self.rows]),
        )
        return sealed, OpenSegment(self.partition, self.next_offset, sealed.chain)


def follows(segment: SealedSegment) -> OpenSegment:
    """The open segment that follows on a sealed one."""
    return OpenSegment(partition_of(segment), segment.next_offset, segment.chain)


def partition_of(segment: SealedSegment) -> Partition:
    """The partition that a segment is of."""
    return Partition(segment.source_topic, segment.source_partition)


def sealed_rows(segment: SealedSegment) -> list[Row]:
    """The rows that a seal remembers, with short bodies. Raises `SealError` when its columns do not agree."""
    count = segment.records
    if len(segment.bodies) != SHORT * count:
        raise SealError(f"{len(segment.bodies)} bytes of bodies, expected {SHORT * count}")
    offsets = unpack_column(segment.offsets, segment.first_offset, count).tolist()
    timestamps = unpack_column(segment.timestamps, 0, count).tolist()
    bodies = segment.bodies
    return [
        Row(o, t, bodies[i * SHORT : (i + 1) * SHORT]) for i, (o, t) in enumerate(zip(offsets, timestamps, strict=True))
    ]


def holds(segment: SealedSegment, rows: Sequence[Row]) -> bool:
    """Whether exactly these records stand in the segment's range, unchanged, and its chain digest follows from it."""
    digest = segment_digest(partition_of(segment), segment.first_offset, segment.next_offset, rows)
    return digest == segment.digest and chained(segment.previous_chain, digest) == segment.chain
