"""Telemetry and labels from files: Parquet or CSV in long form, one row for each sample.

Columns are `service, metric, timestamp, value` under names of one's choice; `kind` and `unit` where they are there; any
further ones that are asked for tell series apart as attributes. Times are ISO 8601 (UTC unless they say otherwise),
Parquet timestamps, or numbers since the epoch in seconds, milliseconds or microseconds, told apart by their size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from autopilot.schemas.events.telemetry import SeriesKind
from autopilot.streams.simulation.labels import Label
from autopilot.streams.simulation.recording import Floats, Ints, Recording, SeriesId

SUFFIXES = (".parquet", ".csv")
_UNITS_US = ((1e8, 1e11, 1_000_000), (1e11, 1e14, 1_000), (1e14, 1e17, 1))
"""From, up to, and microseconds in one, of numbers that are times: years 1973 to 5138 in each unit."""
_TIME = "an ISO 8601 time, or seconds, milliseconds or microseconds since the epoch"


class InputError(ValueError):
    """Input that cannot be used. Names file, row, field, value and what was expected. Rows count from 1, heads not."""

    def __init__(self, file: object, row: int, field: str, value: object, expected: str) -> None:
        where = f"{file}, row {row}" if row else str(file)
        super().__init__(f"{where}: `{field}` is {value!r}, expected {expected}")


@dataclass(frozen=True)
class Columns:
    """The columns' names."""

    service: str = "service"
    metric: str = "metric"
    timestamp: str = "timestamp"
    value: str = "value"
    attributes: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Those that must be there."""
        return (self.service, self.metric, self.timestamp, self.value, *self.attributes)


def read_recording(path: Path, columns: Columns) -> Recording:
    """The telemetry of a file, or of all Parquet and CSV files of a folder. Raises `InputError`."""
    files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InputError(path, 0, "telemetry", "a folder without files", f"one with {' or '.join(SUFFIXES)} files")
    gathered: dict[SeriesId, list[tuple[Ints, Floats]]] = {}
    left_out = 0
    for file in files:
        left_out += _gather(file, _table(file), columns, gathered)
    joined = {
        identity: (np.concatenate([times for times, _ in parts]), np.concatenate([values for _, values in parts]))
        for identity, parts in gathered.items()
    }
    recording = Recording.of(joined, left_out)
    if not recording.points:
        raise InputError(path, 0, columns.value, "nothing", "at least one row with a value")
    return recording


def read_labels(path: Path) -> list[Label]:
    """Labels of a CSV file: `service,start,end`, and `kind` and `noticed` where they are there. Raises `InputError`."""
    table = _table(path)
    _require(path, table, ("service", "start", "end"))
    names = set(table.column_names)
    starts, ends = _times(path, table, "start"), _times(path, table, "end")
    noticed = _times(path, table, "noticed", empty=True) if "noticed" in names else np.full(table.num_rows, -1)
    kinds = _texts(table, "kind") if "kind" in names else [""] * table.num_rows
    labels = []
    rows = zip(_texts(table, "service"), starts.tolist(), ends.tolist(), kinds, noticed.tolist(), strict=True)
    for row, (service, start, end, kind, seen) in enumerate(rows, 1):
        if end <= start:
            raise InputError(path, row, "end", end, f"later than `start`, {start}")
        labels.append(Label(start, end, service, kind, None if seen < 0 else seen))
    return labels


# -- tables ------------------------------------------------------------------------------------------------------------


def _table(path: Path) -> Any:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        if path.suffix == ".csv":
            with path.open("rb") as file:
                names = file.readline().decode("utf-8-sig").strip().split(",")
            types = {name.strip('"'): pa.string() for name in names}
            return pv.read_csv(path, convert_options=pv.ConvertOptions(column_types=types, strings_can_be_null=True))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(path, 0, "file", str(error).splitlines()[0][:200], f"a readable {path.suffix} file") from None
    raise InputError(path, 0, "file", path.name, f"a {' or '.join(SUFFIXES)} file")


def _require(path: Path, table: Any, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.column_names:
            raise InputError(path, 0, "columns", table.column_names, f"a column `{name}`")


def _gather(path: Path, table: Any, columns: Columns, into: dict[SeriesId, list[tuple[Ints, Floats]]]) -> int:
    """Adds a table's samples by series; gives how many rows have no value."""
    _require(path, table, columns.needed)
    values = _numbers(path, table, columns.value)
    times = _times(path, table, columns.timestamp)
    telling = [columns.service, columns.metric, *columns.attributes]
    telling += [name for name in ("kind", "unit") if name in table.column_names and name not in telling]
    codes = [pc.dictionary_encode(_text_column(table, name)).combine_chunks() for name in telling]
    numbers = np.zeros(table.num_rows, np.int64)
    for name, code in zip(telling, codes, strict=True):
        if code.null_count:
            row = int(np.nonzero(code.is_null().to_numpy(zero_copy_only=False))[0][0]) + 1
            raise InputError(path, row, name, None, "a text")
        numbers = numbers * max(len(code.dictionary), 1) + code.indices.to_numpy()
    there = ~table[columns.value].is_null().to_numpy()
    distinct, first = np.unique(numbers, return_index=True)
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], distinct, side="right").tolist()
    begins = [0, *ends][:-1]
    for row, begin, end in zip(first.tolist(), begins, ends, strict=True):
        told = {
            name: str(code.dictionary[code.indices[row].as_py()]) for name, code in zip(telling, codes, strict=True)
        }
        rows = order[begin:end]
        rows = rows[there[rows]]
        into.setdefault(_identity(path, row + 1, told, columns), []).append((times[rows], values[rows]))
    return int(len(there) - there.sum())


def _identity(path: Path, row: int, told: dict[str, str], columns: Columns) -> SeriesId:
    kind = told.get("kind", SeriesKind.GAUGE.value)
    if kind not in {each.value for each in SeriesKind}:
        raise InputError(path, row, "kind", kind, f"one of {', '.join(SeriesKind)}")
    attributes = tuple(sorted((name, told[name]) for name in columns.attributes))
    return SeriesId(told[columns.service], told[columns.metric], SeriesKind(kind), told.get("unit", "1"), attributes)


def _text_column(table: Any, name: str) -> Any:
    column = table[name]
    return column.cast(pa.string())


def _texts(table: Any, name: str) -> list[str]:
    return [text or "" for text in _text_column(table, name).to_pylist()]


def _numbers(path: Path, table: Any, name: str) -> Floats:
    """A column as floats; where there is nothing, NaN."""
    column = table[name]
    try:
        numbers: Floats = pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy()
    except pa.ArrowException:
        raise _first_bad(path, name, column.to_pylist(), float, "a number") from None
    return numbers


def _times(path: Path, table: Any, name: str, *, empty: bool = False) -> Ints:
    """A column as microseconds since the epoch; -1 where there is nothing and there may be."""
    column = table[name]
    if column.null_count and not empty:
        row = int(np.nonzero(column.is_null().to_numpy())[0][0]) + 1
        raise InputError(path, row, name, None, _TIME)
    if pa.types.is_timestamp(column.type):
        stamps: Ints = pc.fill_null(
            pc.cast(pc.cast(column, pa.timestamp("us", column.type.tz)), pa.int64()), -1
        ).to_numpy()
        return stamps
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _scaled(path, name, pc.fill_null(pc.cast(column, pa.float64()), -1.0).to_numpy())
    texts = column.to_pylist()
    try:
        numbers = np.array([-1.0 if text is None else float(text) for text in texts])
    except ValueError:
        return _moments(path, name, texts)
    return _scaled(path, name, numbers)


def _moments(path: Path, name: str, texts: list[str | None]) -> Ints:
    try:
        return np.array([-1 if text is None else _moment(text) for text in texts], np.int64)
    except ValueError:
        raise _first_bad(path, name, texts, _moment, _TIME) from None


def _scaled(path: Path, name: str, numbers: Floats) -> Ints:
    """Numbers since the epoch, each in the unit that its size tells. Seconds and milliseconds may have fractions."""
    times = np.where(numbers == -1.0, -1, 0).astype(np.int64)
    known = numbers == -1.0
    for low, high, unit_us in _UNITS_US:
        fits = (numbers >= low) & (numbers < high)
        times = np.where(fits, np.rint(np.where(fits, numbers, 0.0) * unit_us).astype(np.int64), times)
        known |= fits
    if not known.all():
        row = int(np.nonzero(~known)[0][0])
        raise InputError(path, row + 1, name, numbers[row].item(), _TIME)
    return times


def _moment(text: str) -> int:
    for low, high, unit_us in _UNITS_US if text.isdecimal() else ():
        if low <= int(text) < high:
            return int(text) * unit_us
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _first_bad(path: Path, name: str, texts: list[Any], read: Callable[[Any], object], expected: str) -> InputError:
    for row, text in enumerate(texts, 1):
        try:
            if text is not None:
                read(text)
        except (TypeError, ValueError):
            return InputError(path, row, name, text, expected)
    return InputError(path, 0, name, "a column of another type", expected)
