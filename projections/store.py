"""One projection's rows in RocksDB, with the offsets up to which they were folded: both in one write, or neither.

Layout, all keys and values bytes: `r` + key is the change number (8 bytes) and the row as canonical JSON; `s` + change
number is the key of the row that changed last then; `o` holds the offsets, `c` + partition the configuration in force
there, `h` + partition what was heard there, `t` the time in each, `q` the last change number. A reader may ask what
has changed since any number, also after a restart.

A write reaches the operating system before it is reported, so that the process may be killed at any point. After a
power failure the end of the writes may be missing; offsets are missing with them, and Kafka still has the records.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter
from rocksdict import Options, Rdict, WriteBatch

from autopilot.projections.rows import Row, digest_of_rows, is_shown
from autopilot.schemas.configuration import Configuration, canonical
from autopilot.streams.repetition import Heard

_ROW, _CHANGE, _CONFIGURATION, _HEARD = b"r", b"s", b"c", b"h"
_OFFSETS, _TIMES, _LAST = b"o", b"t", b"q"
_HEARD_JSON: Final = TypeAdapter(Heard)
_NUMBER_BYTES: Final = 8
CACHED_ROWS: Final = 100_000
"""Rows that are kept decoded; when there are more, all are forgotten and read again."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that changed: its new content, or None when it is gone."""

    number: int
    key: str
    row: Row | None


@dataclass
class Content:
    """Rows as they stood at one moment, and the moment: the first offset of each partition that is not in them."""

    rows: list[Row]
    as_of: dict[int, int]
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Standing:
    """What goes with the rows, by partition: the configuration in force, what was heard, and the last tick's time."""

    configurations: Mapping[int, Configuration] = field(default_factory=dict)
    heard: Mapping[int, Heard] = field(default_factory=dict)
    now_us: Mapping[int, int] = field(default_factory=dict)


NOTHING: Final = Standing()


class Store:
    """The rows of one projection. One thread folds and commits; any thread may read what was committed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_max_log_file_size(1_000_000)
        options.set_keep_log_file_num(2)
        self.path = path
        self._db: Any = Rdict(str(path), options)
        self._lock = threading.Lock()
        self._cache: dict[str, Row | None] = {}
        self._changed: dict[str, None] = {}
        self.last_change = int.from_bytes(self._db.get(_LAST) or b"", "big")
        self.offsets = _numbers_in(self._db.get(_OFFSETS))
        self._times = _numbers_in(self._db.get(_TIMES))

    # -- rows, for the fold ------------------------------------------------------------------------------------------

    def get(self, key: str) -> Row | None:
        """As `Rows.get`."""
        if key in self._cache:
            return self._cache[key]
        if len(self._cache) >= CACHED_ROWS and not self._changed:
            self._cache.clear()
        row = self._cache[key] = _row_in(self._db.get(_ROW + key.encode()))
        return row

    def put(self, key: str, row: Row) -> None:
        """As `Rows.put`."""
        self._cache[key] = row
        self._changed[key] = None

    def delete(self, key: str) -> None:
        """As `Rows.delete`."""
        if self.get(key) is not None:
            self._cache[key] = None
            self._changed[key] = None

    def commit(self, offsets: Mapping[int, int], standing: Standing = NOTHING) -> None:
        """Writes the rows that changed since the last commit, the offsets that go with them, and what else changed."""
        batch = WriteBatch(raw_mode=True)
        number = self.last_change
        for key in self._changed:
            number += 1
            self._write(batch, number, key, self._cache[key])
        for partition, configuration in standing.configurations.items():
            batch.put(_CONFIGURATION + str(partition).encode(), configuration.model_dump_json().encode())
        for partition, heard in standing.heard.items():
            batch.put(_HEARD + str(partition).encode(), _HEARD_JSON.dump_json(heard))
        merged, times = {**self.offsets, **offsets}, {**self._times, **standing.now_us}
        batch.put(_OFFSETS, json.dumps(merged).encode())
        batch.put(_TIMES, json.dumps(times).encode())
        batch.put(_LAST, number.to_bytes(_NUMBER_BYTES, "big"))
        with self._lock:
            self._db.write(batch)
            self.offsets, self._times, self.last_change = merged, times, number
        self._changed.clear()

    def _write(self, batch: Any, number: int, key: str, row: Row | None) -> None:
        name, stamp = key.encode(), number.to_bytes(_NUMBER_BYTES, "big")
        before = self._db.get(_ROW + name)
        if before is not None:
            batch.delete(_CHANGE + before[:_NUMBER_BYTES])
        if row is None:
            batch.delete(_ROW + name)
        else:
            batch.put(_ROW + name, stamp + canonical(row).encode())
        batch.put(_CHANGE + stamp, name)

    def standing(self) -> Standing:
        """What goes with the rows, as committed."""
        with self._lock:
            stored, heard, times = list(self._scan(_CONFIGURATION)), list(self._scan(_HEARD)), dict(self._times)
        return Standing(
            {int(key[1:]): Configuration.model_validate_json(value) for key, value in stored},
            {int(key[1:]): _HEARD_JSON.validate_json(value) for key, value in heard},
            times,
        )

    # -- reading -----------------------------------------------------------------------------------------------------

    def content(self, prefix: str = "") -> Content:
        """The shown rows whose keys begin with `prefix`, in the order of keys."""
        with self._lock:
            found = [(key[1:].decode(), value) for key, value in self._scan(_ROW + prefix.encode())]
            as_of = dict(self.offsets)
        shown = [(key, value) for key, value in found if is_shown(key)]
        return Content([json.loads(value[_NUMBER_BYTES:]) for _, value in shown], as_of, [key for key, _ in shown])

    def row(self, key: str) -> tuple[Row | None, dict[int, int]]:
        """A row as committed, and the offsets that it goes with."""
        with self._lock:
            return _row_in(self._db.get(_ROW + key.encode())), dict(self.offsets)

    def changes(self, since: int, limit: int) -> list[Change]:
        """The shown rows that changed after change number `since`, each once, in the order of its last change."""
        start = _CHANGE + (since + 1).to_bytes(_NUMBER_BYTES, "big")
        found: list[Change] = []
        with self._lock:
            for key, name in self._scan(_CHANGE, start):
                if len(found) == limit:
                    break
                if is_shown(name.decode()):
                    number = int.from_bytes(key[1:], "big")
                    found.append(Change(number, name.decode(), _row_in(self._db.get(_ROW + name))))
        return found

    def count(self) -> int:
        """How many shown rows there are."""
        with self._lock:
            return sum(is_shown(key[1:].decode()) for key, _ in self._scan(_ROW))

    def digest(self) -> str:
        """The digest of all committed rows."""
        with self._lock:
            return digest_of_rows((key[1:].decode(), value[_NUMBER_BYTES:]) for key, value in self._scan(_ROW))

    def close(self) -> None:
        """Gives the folder free; what was not committed is forgotten."""
        with self._lock:
            self._db.close()

    def _scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._db.items(from_key=start or prefix):
            if not key.startswith(prefix):
                return
            yield key, value


def _numbers_in(value: bytes | None) -> dict[int, int]:
    return {int(partition): number for partition, number in json.loads(value or b"{}").items()}


def _row_in(value: bytes | None) -> Row | None:
    return None if value is None else json.loads(value[_NUMBER_BYTES:])
