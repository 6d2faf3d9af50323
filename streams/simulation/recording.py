"""Recorded telemetry as columns, and its stretches of time as the batches that a service would have sent. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_BATCH_SAMPLES = 10_000
"""Samples in one batch: what the observer takes at most."""


class SeriesId(NamedTuple):
    """Whose series it is, and what tells it apart. Attributes in order of name."""

    service: str
    metric: str
    kind: SeriesKind
    unit: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class RecordedSeries:
    """One series: times in microseconds since the epoch, oldest first, and the value at each."""

    id: SeriesId
    timestamps_us: Ints
    values: Floats

    def between(self, after_us: int, until_us: int) -> tuple[int, int]:
        """Places of the samples later than `after_us` and not later than `until_us`."""
        first, last = np.searchsorted(self.timestamps_us, (after_us, until_us), side="right").tolist()
        return first, last


@dataclass(frozen=True)
class Recording:
    """Every series, in order of its identity."""

    series: tuple[RecordedSeries, ...]
    left_out: int = 0
    """Rows without a value: nothing was measured there."""

    @classmethod
    def of(cls, columns: dict[SeriesId, tuple[Ints, Floats]], left_out: int = 0) -> "Recording":
        """Sorts each series by time; samples of one time stay in the order in which they were recorded."""
        made = []
        for identity in sorted(columns):
            times, values = columns[identity]
            order = np.argsort(times, kind="stable")
            made.append(RecordedSeries(identity, times[order], values[order]))
        return cls(tuple(one for one in made if len(one.timestamps_us)), left_out)

    @property
    def points(self) -> int:
        """Samples in all."""
        return sum(len(one.timestamps_us) for one in self.series)

    @property
    def services(self) -> list[str]:
        """Names of the services, in order."""
        return sorted({one.id.service for one in self.series})

    @property
    def times_us(self) -> Ints:
        """Every time at which there is a sample, oldest first, each once."""
        return np.unique(np.concatenate([one.timestamps_us for one in self.series]))

    def of_service(self, service: str, metric: str | None = None) -> list[RecordedSeries]:
        """The series of a service, of one metric when it is given."""
        return [one for one in self.series if one.id.service == service and metric in (None, one.id.metric)]


class Part(NamedTuple):
    """Some samples of one series."""

    series: RecordedSeries
    first: int
    last: int


def ticks_of(times_us: Ints, tick_us: int, gap_us: int) -> Iterator[int]:
    """The virtual clock: whole multiples of `tick_us` that cover the samples' times.

    Where nothing was recorded for longer than `gap_us`, and two ticks, the clock jumps: nobody was recording then,
    which is another thing than a service that fell silent.
    """
    jumps = np.nonzero(np.diff(times_us) > max(gap_us, 2 * tick_us))[0]
    starts = [int(times_us[0]), *times_us[jumps + 1].tolist()]
    ends = [*times_us[jumps].tolist(), int(times_us[-1])]
    for start, end in zip(starts, ends, strict=True):
        yield from range((start - 1) // tick_us * tick_us, end + tick_us, tick_us)


def stretches(recording: Recording, ticks: Ints) -> Iterator[dict[str, list[Part]]]:
    """For each tick, by service in order, the samples since the tick before; the first tick has those up to it."""
    bounds = [
        (one, np.searchsorted(one.timestamps_us, ticks, side="right").tolist()) for one in recording.series
    ]  # fmt: skip
    before = [0] * len(bounds)
    for number in range(len(ticks)):
        found: dict[str, list[Part]] = {}
        for place, (one, ends) in enumerate(bounds):
            end = ends[number]
            if end > before[place]:
                found.setdefault(one.id.service, []).append(Part(one, before[place], end))
                before[place] = end
        yield found


def batches(source: str, parts: Sequence[tuple[Part, Floats]]) -> Iterator[TelemetryBatch]:
    """Batches of the parts' samples with the values given, split where there are more than one may hold."""
    made: list[Series] = []
    room = MAX_BATCH_SAMPLES
    for part, values in parts:
        done = 0
        while done < len(values):
            taken = min(room, len(values) - done)
            first = part.first + done
            made.append(_series(part.series, first, values[done : done + taken]))
            done, room = done + taken, room - taken
            if room == 0:
                yield TelemetryBatch(source=source, series=made)
                made, room = [], MAX_BATCH_SAMPLES
    if made:
        yield TelemetryBatch(source=source, series=made)


def _series(of: RecordedSeries, first: int, values: Floats) -> Series:
    return Series(
        metric=of.id.metric,
        kind=of.id.kind,
        unit=of.id.unit,
        attributes=dict(of.id.attributes),
        timestamps_us=of.timestamps_us[first : first + len(values)].tolist(),
        values=values.tolist(),
    )
