"""Rings of time buckets in three flat arrays: how much there was of something, by time, in bounded memory.

A cell holds the number of its bucket, a value and a weight. What falls into a newer bucket than the cell holds starts
it afresh; what falls into an older one is left out. So a cell depends on what was added and not on how it was split
into batches, and sums are added up in the order of the samples, one by one, which makes them equal bit for bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EMPTY = -1
"""The bucket number of a cell that was never used."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Where a ring stands: `size` cells from `offset`, each for one bucket of `width_us`."""

    key: str
    width_us: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class Buckets:
    """The used cells of a span, oldest first."""

    numbers: Ints
    values: Floats
    weights: Floats


@dataclass
class Cells:
    """All rings of one service."""

    rings: dict[str, Ring] = field(default_factory=dict)
    epoch: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    value: Floats = field(default_factory=lambda: np.empty(0, np.float64))
    weight: Floats = field(default_factory=lambda: np.empty(0, np.float64))

    def ring(self, key: str, width_us: int, size: int) -> Ring:
        """The ring of that key, new if there is none of that shape."""
        known = self.rings.get(key)
        if known is not None and (known.width_us, known.size) == (width_us, size):
            return known
        made = Ring(key, width_us, size, len(self.epoch))
        self.rings[key] = made
        self.epoch = np.concatenate([self.epoch, np.full(size, EMPTY, np.int64)])
        self.value = np.concatenate([self.value, np.zeros(size)])
        self.weight = np.concatenate([self.weight, np.zeros(size)])
        return made

    def keep(self, keys: Iterable[str]) -> None:
        """Drops every other ring and moves those that stay together."""
        wanted = set(keys)
        kept = [ring for key, ring in self.rings.items() if key in wanted]
        spans = [np.arange(ring.offset, ring.offset + ring.size) for ring in kept]
        index = np.concatenate([np.empty(0, np.int64), *spans])
        self.epoch, self.value, self.weight = self.epoch[index], self.value[index], self.weight[index]
        self.rings, offset = {}, 0
        for ring in kept:
            self.rings[ring.key] = Ring(ring.key, ring.width_us, ring.size, offset)
            offset += ring.size

    def add(self, cell: Ints, bucket: Ints, value: Floats, weight: Floats) -> None:
        """Adds to cells, in the order given. `bucket` is the bucket number of each addition."""
        held = self.epoch[cell]
        if not np.array_equal(held, bucket):
            newer = bucket > held
            fresh = cell[newer]
            np.maximum.at(self.epoch, fresh, bucket[newer])
            self.value[fresh] = 0.0
            self.weight[fresh] = 0.0
            current = self.epoch[cell] == bucket
            cell, value, weight = cell[current], value[current], weight[current]
        np.add.at(self.value, cell, value)
        np.add.at(self.weight, cell, weight)

    def span(self, ring: Ring, first: int, last: int) -> Buckets:
        """The used buckets numbered `first` to `last` inclusive; at most the ring's newest ones."""
        numbers = np.arange(max(first, last - ring.size + 1), last + 1)
        cell = ring.offset + numbers % ring.size
        used = self.epoch[cell] == numbers
        cell = cell[used]
        return Buckets(numbers[used], self.value[cell], self.weight[cell])

    def sums(self, ring: Ring, first: int, last: int) -> tuple[int, int]:
        """Sum of values and of weights over a span, for cells that hold whole numbers."""
        span = self.span(ring, first, last)
        return int(span.values.sum()), int(span.weights.sum())
