"""Records of the log in an Avro object container (Avro 1.12): each with its offset, timestamp and raw parts."""

import io
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_bytes
from typing import Any, BinaryIO

import fastavro

from autopilot.infra.archive.manifest import Damage
from autopilot.streams.seals import WholeRecord

SUFFIX = ".avro"
_BLOCK_BYTES = 64 * 1024
_MARKER_BYTES = 16
_NULLABLE = ["null", "bytes"]
_HEADER = {
    "type": "record",
    "name": "Header",
    "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": _NULLABLE}],
}
_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "ArchivedRecord",
        "namespace": "autopilot.archive",
        "doc": "A Kafka record with all that Kafka keeps of it.",
        "fields": [
            {"name": "offset", "type": "long", "doc": "Where it stood in its partition."},
            {"name": "timestamp_ms", "type": "long", "doc": "Kafka's record timestamp, milliseconds since the epoch."},
            {"name": "key", "type": _NULLABLE, "doc": "The key; null where there was none."},
            {"name": "value", "type": _NULLABLE, "doc": "The value, unchanged."},
            {"name": "headers", "type": {"type": "array", "items": _HEADER}, "doc": "The headers in their order."},
        ],
    }
)


def write_log(path: Path, batches: Iterable[list[WholeRecord]], marker: bytes | None = None) -> None:
    """Writes a new file. `marker` are the 16 bytes between its blocks, drawn at random unless they are given."""
    with path.open("wb") as file:
        rows = (_row(record) for batch in batches for record in batch)
        fastavro.writer(
            file, _SCHEMA, rows, codec="deflate", sync_interval=_BLOCK_BYTES, sync_marker=marker or token_bytes(16)
        )


def read_log(path: Path) -> Iterator[list[WholeRecord] | Damage]:
    """The records of a file, block by block. A block that cannot be read is skipped: the next one is found by its
    marker, so that damage costs no more than what it touches."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            head, marker = _head(file)
        except Exception as error:  # fastavro raises many unrelated types on broken input
            yield Damage(f"the head of the file cannot be read: {type(error).__name__}: {error}")
            return
        start = len(head)
        while start < len(content):
            end = content.find(marker, start)
            block = content[start : end if end >= 0 else len(content)]
            yield _block(head + block + marker)
            start += len(block) + len(marker)


def _head(file: BinaryIO) -> tuple[bytes, bytes]:
    """The head of a container file with its marker, and the marker: the last 16 bytes of the head."""
    fastavro.reader(file)
    size = file.tell()
    file.seek(0)
    head = file.read(size)
    return head, head[-_MARKER_BYTES:]


def _block(container: bytes) -> list[WholeRecord] | Damage:
    try:
        return [_record(row) for row in fastavro.reader(io.BytesIO(container))]
    except Exception as error:  # fastavro raises many unrelated types on broken input
        return Damage(f"a block cannot be read: {type(error).__name__}: {error}"[:300])


def _row(record: WholeRecord) -> dict[str, Any]:
    headers = [{"name": name, "value": value} for name, value in record.headers]
    return {**record._asdict(), "headers": headers}


def _record(row: Any) -> WholeRecord:
    headers = tuple((header["name"], header["value"]) for header in row["headers"])
    return WholeRecord(row["offset"], row["timestamp_ms"], row["key"], row["value"], headers)
