"""The series of one service: who they are, where each stands in time, and what its samples were like.

Arrived, invalid and late samples are counted in two halves of a sliding window, so that old faults are forgotten.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autopilot.agents.observer.cells import Floats, Ints
from autopilot.schemas.events.telemetry import Series, SeriesKind

Flags = NDArray[np.bool_]

MAX_SERIES = 2_000
"""Series of one service that are followed; further ones are refused until idle ones are dropped."""
IDLE_US = 24 * 3600 * 1_000_000
"""A series of which nothing arrived for this long is dropped."""
NEVER = -1
"""The newest sample's time of a series that had no usable sample yet."""

ARRIVED, INVALID, LATE = 0, 1, 2
"""Rows of the counters: samples that arrived; that were no plausible values; that were not newer than the last."""


class SeriesKey(NamedTuple):
    """What tells a series apart within its service; attributes in order of name."""

    metric: str
    kind: SeriesKind
    attributes: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.metric + "{" + ",".join(f"{name}={value}" for name, value in self.attributes) + "}"


def _ints(count: int = 0, value: int = 0) -> Ints:
    return np.full(count, value, np.int64)


@dataclass
class SeriesTable:
    """One column for each series, in the order in which they were first seen."""

    keys: list[SeriesKey] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    newest_us: Ints = field(default_factory=_ints)
    first_seen_us: Ints = field(default_factory=_ints)
    last_seen_us: Ints = field(default_factory=_ints)
    last_value: Floats = field(default_factory=lambda: np.empty(0, np.float64))
    counts: Ints = field(default_factory=lambda: np.zeros((2, 3, 0), np.int64))
    half_since_us: int = 0
    window_since_us: int = 0

    def __post_init__(self) -> None:
        """Derives what follows from the keys."""
        self._shortcuts: dict[tuple[str, SeriesKind, tuple[tuple[str, str], ...]], int] = {}
        self.index = {key: number for number, key in enumerate(self.keys)}
        names = list(dict.fromkeys(key.metric for key in self.keys))
        self.metrics = names
        place = {name: number for number, name in enumerate(names)}
        self.metric_of = np.array([place[key.metric] for key in self.keys], np.int64)
        self.is_count = np.array([key.kind != SeriesKind.GAUGE for key in self.keys], np.bool_)
        self.is_cumulative = np.array([key.kind == SeriesKind.CUMULATIVE for key in self.keys], np.bool_)

    def number_of(self, series: Series) -> int | None:
        """The series' column, or None for one that is not known. Attributes may come in any order."""
        as_sent = (series.metric, series.kind, tuple(series.attributes.items()))
        number = self._shortcuts.get(as_sent)
        if number is None:
            number = self.index.get(key_of(series))
            if number is not None:
                if len(self._shortcuts) >= 2 * MAX_SERIES:
                    self._shortcuts.clear()
                self._shortcuts[as_sent] = number
        return number

    def register(self, fresh: list[Series], now_us: int) -> None:
        """Adds columns for new series, as far as there is room."""
        for series in fresh:
            key = key_of(series)
            if key not in self.index and len(self.keys) < MAX_SERIES:
                self.index[key] = len(self.keys)
                self.keys.append(key)
                self.units.setdefault(key.metric, series.unit)
        more = len(self.keys) - len(self.newest_us)
        self.newest_us = np.concatenate([self.newest_us, _ints(more, NEVER)])
        self.first_seen_us = np.concatenate([self.first_seen_us, _ints(more, now_us)])
        self.last_seen_us = np.concatenate([self.last_seen_us, _ints(more, now_us)])
        self.last_value = np.concatenate([self.last_value, np.full(more, np.nan)])
        self.counts = np.concatenate([self.counts, np.zeros((2, 3, more), np.int64)], axis=2)
        self.__post_init__()

    def start_window(self, now_us: int) -> None:
        """Begins the quality window afresh."""
        self.half_since_us = self.window_since_us = now_us
        self.counts = np.zeros_like(self.counts)

    def rotate(self, now_us: int, half_us: int) -> None:
        """Begins a new half of the quality window when the present one is over."""
        if self.half_since_us == 0:
            self.start_window(now_us)
        elif now_us - self.half_since_us >= half_us:
            self.window_since_us = self.half_since_us
            self.half_since_us = now_us
            self.counts = np.stack([np.zeros_like(self.counts[0]), self.counts[0]])

    def drop_idle(self, now_us: int) -> bool:
        """Drops series of which nothing arrived for a day; tells whether there were any."""
        stays = self.last_seen_us > now_us - IDLE_US
        if bool(stays.all()):
            return False
        self.keys = [key for key, stay in zip(self.keys, stays.tolist(), strict=True) if stay]
        left = {key.metric for key in self.keys}
        self.units = {metric: unit for metric, unit in self.units.items() if metric in left}
        self.newest_us, self.first_seen_us = self.newest_us[stays], self.first_seen_us[stays]
        self.last_seen_us, self.last_value = self.last_seen_us[stays], self.last_value[stays]
        self.counts = self.counts[:, :, stays]
        self.__post_init__()
        return True


def key_of(series: Series) -> SeriesKey:
    """The series' identity."""
    return SeriesKey(series.metric, series.kind, tuple(sorted(series.attributes.items())))
