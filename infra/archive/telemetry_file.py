"""Records of telemetry in Parquet: the raw parts, so that seals verify, and beside them the samples as columns.

The decoded columns serve whoever analyses telemetry; they follow from `value` and prove nothing themselves. Reading
records back never looks at them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autopilot.infra.archive.manifest import Damage
from autopilot.schemas.codec import Codec
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.streams.seals import WholeRecord

SUFFIX = ".parquet"
_RAW = ["offset", "timestamp_ms", "key", "value", "headers"]
_SERIES = pa.struct(
    [
        ("metric", pa.string()),
        ("kind", pa.string()),
        ("unit", pa.string()),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("timestamps_us", pa.list_(pa.int64())),
        ("values", pa.list_(pa.float64())),
    ]
)
_SCHEMA = pa.schema(
    [
        ("offset", pa.int64()),
        ("timestamp_ms", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
        ("event_type", pa.string()),
        ("event_id", pa.string()),
        ("service", pa.string()),
        ("source", pa.string()),
        ("series", pa.list_(_SERIES)),
    ]
)


def write_telemetry(path: Path, batches: Iterable[list[WholeRecord]], codec: Codec) -> None:
    """Writes a new file, zstd-compressed, one row group for each batch."""
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            rows = [{**_raw(record), **_decoded(record, codec)} for record in batch]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


def read_telemetry(path: Path) -> Iterator[list[WholeRecord] | Damage]:
    """The records of a file, row group by row group; one that cannot be read is skipped."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        yield Damage(f"the foot of the file cannot be read: {error}")
        return
    with file:
        for group in range(file.num_row_groups):
            yield _group(file, group)


def _group(file: pq.ParquetFile, group: int) -> list[WholeRecord] | Damage:
    try:
        return [_record(row) for row in file.read_row_group(group, columns=_RAW).to_pylist()]
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        return Damage(f"row group {group} cannot be read: {error}"[:300])


def _raw(record: WholeRecord) -> dict[str, Any]:
    headers = [{"name": name, "value": value} for name, value in record.headers]
    return {**record._asdict(), "headers": headers}


def _decoded(record: WholeRecord, codec: Codec) -> dict[str, Any]:
    """The columns beside the raw ones; all null for what does not decode."""
    try:
        event = codec.decode(record.value)
    except ContractError:
        return {}
    columns: dict[str, Any] = {
        "event_type": event.type,
        "event_id": event.envelope.event_id,
        "service": event.envelope.service,
    }
    if isinstance(event.payload, TelemetryBatch):
        series = [
            {**one.model_dump(mode="python"), "kind": str(one.kind), "attributes": list(one.attributes.items())}
            for one in event.payload.series
        ]
        columns |= {"source": event.payload.source, "series": series}
    return columns


def _record(row: dict[str, Any]) -> WholeRecord:
    headers = tuple((header["name"], header["value"]) for header in row["headers"])
    return WholeRecord(row["offset"], row["timestamp_ms"], row["key"], row["value"], headers)
