"""Rows: what a projection keeps, by key. Plain JSON data, so that a digest of them is the same everywhere.

A key that begins with `~` is the projection's own note (an index, a half of a pair that waits for its other half): it
is stored and digested like any other row, and never shown.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final, Protocol

from autopilot.schemas.configuration import canonical

Row = dict[str, Any]
NOTE: Final = "~"
"""First character of the keys that are never shown."""


class Rows(Protocol):
    """The rows as a projection sees them: it reads its own writes. A row that is changed in place is put again."""

    def get(self, key: str) -> Row | None:
        """The row, or None."""
        ...

    def put(self, key: str, row: Row) -> None:
        """Adds or replaces a row."""
        ...

    def delete(self, key: str) -> None:
        """Removes a row; nothing happens when there is none."""
        ...


class MemoryRows:
    """Rows in memory, for a fold that is thrown away after it was read."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def get(self, key: str) -> Row | None:
        """As `Rows.get`."""
        return self.rows.get(key)

    def put(self, key: str, row: Row) -> None:
        """As `Rows.put`."""
        self.rows[key] = row

    def delete(self, key: str) -> None:
        """As `Rows.delete`."""
        self.rows.pop(key, None)

    def shown(self) -> list[Row]:
        """The rows that are not notes, by key."""
        return [row for key, row in sorted(self.rows.items()) if is_shown(key)]

    def digest(self) -> str:
        """The digest of all rows."""
        return digest_of_rows((key, canonical(row).encode()) for key, row in sorted(self.rows.items()))


def is_shown(key: str) -> bool:
    """Whether the row is for readers rather than a note of the projection's own."""
    return not key.startswith(NOTE)


def digest_of_rows(items: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over keys and canonical JSON of all rows, notes among them, in the order of keys; as `sha256:HEX`."""
    seen = hashlib.sha256()
    for key, value in items:
        for part in (key.encode(), value):
            seen.update(len(part).to_bytes(4, "big"))
            seen.update(part)
    return f"sha256:{seen.hexdigest()}"
