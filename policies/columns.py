"""Facts as columns: one array for each fact, texts as codes into a vocabulary.

A table holds checked facts alone, so that whatever is calculated from it need not check again. `digest` says which
facts it holds: results that are kept for a table are known by it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autopilot.policies.facts import FACTS, FACTS_VERSION, FactSet, Value

Ints = NDArray[np.signedinteger[Any]]
Bools = NDArray[np.bool_]
CODE_TYPE: Final = np.int32


@dataclass(frozen=True)
class Texts:
    """A text column: `vocabulary[codes[row]]` is the text."""

    codes: NDArray[np.int32]
    vocabulary: tuple[str, ...]


@dataclass(frozen=True)
class FactTable:
    """Columns of all facts of the schema, in canonical order, each of `rows` values."""

    rows: int
    ints: Mapping[str, Ints]
    bools: Mapping[str, Bools]
    texts: Mapping[str, Texts]

    @classmethod
    def of(cls, fact_sets: Iterable[FactSet]) -> "FactTable":
        """The table of fact sets, a row for each, in order."""
        return cls.of_checked([each.values for each in fact_sets])

    @classmethod
    def of_checked(cls, rows: Sequence[Mapping[str, Value]]) -> "FactTable":
        """The table of rows whose values were checked against the schema (`FactSpec.check`)."""
        ints = {
            s.name: narrowed(np.fromiter((r[s.name] for r in rows), np.int64, len(rows)))
            for s in FACTS
            if s.type is int
        }
        bools = {s.name: np.fromiter((r[s.name] for r in rows), np.bool_, len(rows)) for s in FACTS if s.type is bool}
        texts = {s.name: _texts([str(r[s.name]) for r in rows]) for s in FACTS if s.type is str}
        return cls(len(rows), ints, bools, texts)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the facts schema's version and every column."""
        hashed = hashlib.sha256(f"{FACTS_VERSION}/{self.rows}".encode())
        for name, column in [*self.ints.items(), *self.bools.items()]:
            hashed.update(name.encode() + np.ascontiguousarray(column).tobytes())
        for name, text in self.texts.items():
            hashed.update("\x1f".join((name, *text.vocabulary)).encode() + text.codes.tobytes())
        return "sha256:" + hashed.hexdigest()

    def values(self, row: int) -> dict[str, Value]:
        """The facts of one row."""
        return {spec.name: self.value(spec.name, row) for spec in FACTS}

    def value(self, name: str, row: int) -> Value:
        """One fact of one row."""
        if name in self.ints:
            return int(self.ints[name][row])
        if name in self.bools:
            return bool(self.bools[name][row])
        text = self.texts[name]
        return text.vocabulary[int(text.codes[row])]

    def combinations(self, names: Sequence[str]) -> tuple[list[dict[str, Value]], NDArray[np.intp]]:
        """The different combinations of those facts' values, and for each row which of them it has."""
        which: NDArray[np.intp] = np.zeros(self.rows, np.intp)
        for name in names:
            column: NDArray[Any] = self._plain(name)
            values, codes = np.unique(column, return_inverse=True)
            _, which = np.unique(which * len(values) + codes, return_inverse=True)
        _, first = np.unique(which, return_index=True)
        return [{name: self.value(name, row) for name in names} for row in first.tolist()], which

    def take(self, rows: NDArray[np.intp]) -> "FactTable":
        """The table of those rows alone."""
        return FactTable(
            len(rows),
            {name: column[rows] for name, column in self.ints.items()},
            {name: column[rows] for name, column in self.bools.items()},
            {name: Texts(text.codes[rows], text.vocabulary) for name, text in self.texts.items()},
        )

    def repeated(self, times: int) -> "FactTable":
        """The same rows, `times` times over; for measuring."""
        return FactTable(
            self.rows * times,
            {name: np.tile(column, times) for name, column in self.ints.items()},
            {name: np.tile(column, times) for name, column in self.bools.items()},
            {name: Texts(np.tile(text.codes, times), text.vocabulary) for name, text in self.texts.items()},
        )

    def _plain(self, name: str) -> NDArray[Any]:
        if name in self.ints:
            return self.ints[name]
        return self.bools[name] if name in self.bools else self.texts[name].codes

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return (self.values(row) for row in range(self.rows))


def narrowed(column: Ints) -> Ints:
    """The column in the narrowest type that holds its numbers. Whoever calculates with it widens it first."""
    if not len(column):
        return column
    low, high = int(column.min()), int(column.max())
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return column.astype(kind)
    return column


def _texts(values: Sequence[str]) -> Texts:
    index = {text: code for code, text in enumerate(dict.fromkeys(values))}
    return Texts(np.fromiter((index[text] for text in values), CODE_TYPE, len(values)), tuple(index))
