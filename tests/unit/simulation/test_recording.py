"""Recordings: every sample is sent once, in order, at the tick after it; the clock jumps over what nobody saw."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autopilot.schemas.events.telemetry import SeriesKind
from autopilot.streams.simulation.recording import (
    MAX_BATCH_SAMPLES,
    Part,
    Recording,
    SeriesId,
    batches,
    stretches,
    ticks_of,
)

TICK_US = 30_000_000
START_US = 1_700_000_000_000_000


def series(metric: str) -> SeriesId:
    return SeriesId("cart", metric, SeriesKind.GAUGE, "1", ())


def test_samples_are_sorted_by_time_and_equal_times_stay_as_recorded() -> None:
    recording = Recording.of({series("m"): (np.array([3, 1, 3, 2]), np.array([30.0, 10.0, 31.0, 20.0]))})
    assert recording.series[0].timestamps_us.tolist() == [1, 2, 3, 3]
    assert recording.series[0].values.tolist() == [10.0, 20.0, 30.0, 31.0]


def test_the_clock_jumps_over_a_gap_and_nowhere_else() -> None:
    times = START_US + np.array([0, 60, 120, 7_200, 7_260]) * 1_000_000
    ticks = list(ticks_of(times, TICK_US, gap_us=900_000_000))
    steps = np.diff(ticks)
    assert all(tick % TICK_US == 0 for tick in ticks)
    assert (steps > TICK_US).sum() == 1
    assert ticks[0] < times[0]
    assert ticks[-1] >= times[-1]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60), st.integers(1, 5_000))
def test_every_sample_is_sent_once_within_a_tick_of_its_time(seconds: list[int], gap_s: int) -> None:
    times = START_US + np.array(seconds, np.int64) * 1_000_000
    recording = Recording.of({series("m"): (times, np.arange(len(times), dtype=float))})
    ticks = np.array(list(ticks_of(recording.times_us, TICK_US, gap_s * 1_000_000)), np.int64)
    assert (np.diff(ticks) > 0).all()
    sent: list[float] = []
    for tick, parts in zip(ticks.tolist(), stretches(recording, ticks), strict=True):
        for part in parts.get("cart", []):
            stamps = part.series.timestamps_us[part.first : part.last]
            assert (stamps <= tick).all()
            assert (stamps > tick - TICK_US).all()
            sent += part.series.values[part.first : part.last].tolist()
    assert sent == recording.series[0].values.tolist()


def test_batches_hold_what_the_observer_takes_and_no_more() -> None:
    count = 2 * MAX_BATCH_SAMPLES + 5
    recording = Recording.of(
        {series(name): (START_US + np.arange(count), np.arange(count, dtype=float)) for name in ("a", "b")}
    )
    parts = [(Part(one, 0, count), one.values) for one in recording.series]
    made = list(batches("test", parts))
    sizes = [sum(len(one.values) for one in batch.series) for batch in made]
    assert max(sizes) <= MAX_BATCH_SAMPLES
    assert sum(sizes) == 2 * count
    values = [value for batch in made for one in batch.series if one.metric == "b" for value in one.values]
    assert values == recording.series[1].values.tolist()
