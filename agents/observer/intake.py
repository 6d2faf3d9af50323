"""What arrives: the check of a batch's shape, and which of its samples can be used.

A sample is invalid when it is not finite, implausible, negative where something is counted, from the future or too
old; it is late when it is not newer than what its series had before. Neither is used; both are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopilot.agents.observer.cells import Floats, Ints
from autopilot.agents.observer.indicators import FUTURE_TOLERANCE_US, MAX_EVENTS
from autopilot.agents.observer.series import ARRIVED, INVALID, LATE, Flags, SeriesTable
from autopilot.schemas.envelope import Rejection
from autopilot.schemas.events.telemetry import Series, TelemetryBatch

MAX_SAMPLES = 10_000
"""Samples in one batch."""
TOO_OLD_US = 24 * 3600 * 1_000_000
"""Samples older than this, against the last tick, are invalid."""
MAX_LEVEL = 1e100
"""A level beyond this is no plausible value: sums of levels must stay finite."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples as columns: the number of the series, the time and the value of each."""

    series: Ints
    timestamps_us: Ints
    values: Floats


def shape_fault(batch: TelemetryBatch) -> Rejection | None:
    """What is wrong with the batch as a whole; None for a good one."""
    samples = 0
    for place, series in enumerate(batch.series):
        length = len(series.timestamps_us)
        if length != len(series.values):
            return Rejection(
                f"series[{place}].values", f"{len(series.values)} values of `{series.metric}`",
                f"one for each of its {length} timestamps",
            )  # fmt: skip
        samples += length
    if samples == 0:
        return Rejection("series", f"{len(batch.series)} series without a sample", "at least one sample")
    if samples > MAX_SAMPLES:
        return Rejection("series", f"oversized: {samples} samples", f"at most {MAX_SAMPLES} samples in a batch")
    return None


def rounds(numbers: Sequence[int]) -> list[list[int]]:
    """Places of `numbers` in rounds, in order, so that no number stands in a round twice."""
    if len(set(numbers)) == len(numbers):
        return [list(range(len(numbers)))]
    made: list[list[int]] = []
    seen: dict[int, int] = {}
    for place, number in enumerate(numbers):
        turn = seen[number] = seen.get(number, -1) + 1
        if turn == len(made):
            made.append([])
        made[turn].append(place)
    return made


def take(table: SeriesTable, numbers: Sequence[int], sent: Sequence[Series], now_us: int) -> Samples:
    """The usable samples of series that stand here once each and have samples; the table moves on."""
    lengths = np.array([len(series.values) for series in sent], np.int64)
    series = np.array(numbers, np.int64)
    flat_times: list[int] = []
    flat_values: list[float] = []
    for one in sent:
        flat_times += one.timestamps_us
        flat_values += one.values
    times, values = np.array(flat_times, np.int64), np.array(flat_values, np.float64)
    starts = np.cumsum(lengths) - lengths
    of = np.repeat(series, lengths)
    valid = _valid(times, values, table.is_count[of], now_us)
    table.counts[0, ARRIVED, series] += lengths
    table.last_seen_us[series] = now_us
    if not valid.all() or not _in_order(times, starts, table.newest_us[series]):
        used = valid & _fresh(times, valid, starts, lengths, table.newest_us[series])
        valids = np.add.reduceat(valid.astype(np.int64), starts)
        uses = np.add.reduceat(used.astype(np.int64), starts)
        table.counts[0, INVALID, series] += lengths - valids
        table.counts[0, LATE, series] += valids - uses
        of, times, values = of[used], times[used], values[used]
        series, lengths = series[uses > 0], uses[uses > 0]
        starts = np.cumsum(lengths) - lengths
    table.newest_us[series] = times[starts + lengths - 1]
    samples = Samples(of, times, values)
    return _increments(table, samples, series, starts, lengths) if table.is_cumulative[series].any() else samples


def _valid(times: Ints, values: Floats, counted: Flags, now_us: int) -> Flags:
    """NaN fails every comparison, so it is not valid either."""
    bound = np.where(counted, MAX_EVENTS, MAX_LEVEL)
    floor = np.where(counted, 0.0, -MAX_LEVEL)
    in_time = (times <= now_us + FUTURE_TOLERANCE_US) & (times >= max(now_us - TOO_OLD_US, 0))
    result: Flags = (values <= bound) & (values >= floor) & in_time
    return result


def _in_order(times: Ints, starts: Ints, newest: Ints) -> bool:
    rises = np.empty(len(times), np.bool_)
    rises[1:] = times[1:] > times[:-1]
    rises[starts] = times[starts] > newest
    return bool(rises.all())


def _fresh(times: Ints, valid: Flags, starts: Ints, lengths: Ints, newest: Ints) -> Flags:
    """Which samples are newer than every valid one before them in their series."""
    fresh = np.empty(len(times), np.bool_)
    counted = np.where(valid, times, np.iinfo(np.int64).min)
    for start, length, before in zip(starts.tolist(), lengths.tolist(), newest.tolist(), strict=True):
        end = start + length
        highest = np.maximum.accumulate(np.concatenate([[before], counted[start : end - 1]]))
        fresh[start:end] = times[start:end] > highest
    return fresh


def _increments(table: SeriesTable, samples: Samples, series: Ints, starts: Ints, lengths: Ints) -> Samples:
    """Turns running counts into counts since the sample before. The first of a series says nothing yet."""
    values = samples.values
    cumulative = table.is_cumulative[samples.series]
    before = np.empty_like(values)
    before[1:] = values[:-1]
    before[starts] = table.last_value[series]
    since = np.where(values >= before, values - before, values)
    known = ~np.isnan(before) | ~cumulative
    running = table.is_cumulative[series]
    table.last_value[series[running]] = values[(starts + lengths - 1)[running]]
    increments = np.where(cumulative, since, values)
    return Samples(samples.series[known], samples.timestamps_us[known], increments[known])
