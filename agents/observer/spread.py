"""Spreading samples over rings: what each sample adds to which cells.

Live records bring the same series again and again, so where their samples go is worked out once and kept.
"""

from dataclasses import dataclass

import numpy as np

from autopilot.agents.observer.cells import Floats, Ints
from autopilot.agents.observer.indicators import (
    EVENT,
    MAX_EVENTS,
    METRIC,
    THRESHOLD,
    TOTAL,
    VALUE,
    Plan,
    Spread,
    Targets,
)
from autopilot.agents.observer.intake import Samples

KEPT_SPREADS = 32
"""Spreads that are kept for one service."""
MAX_KEPT_SAMPLES = 500
"""Spreads of more samples are not kept: working them out costs little against the rest."""


@dataclass(frozen=True, slots=True)
class Additions:
    """What samples add to which cells, in the order of the samples."""

    cell: Ints
    bucket: Ints
    value: Floats
    weight: Floats
    alarmed: list[int]
    """Objectives that some of the samples may speak against."""


def _spread(targets: Targets, series: Ints) -> Spread:
    count = targets.count[series]
    ends = np.cumsum(count)
    sample = np.repeat(np.arange(len(count)), count)
    target = np.arange(len(sample)) - np.repeat(ends - count - targets.start[series], count)
    mode = targets.mode[target]
    return Spread(
        sample,
        targets.offset[target],
        targets.width_us[target],
        targets.size[target],
        targets.objective[target],
        targets.alarming[target],
        targets.above[target],
        targets.below[target],
        mode == METRIC,
        mode == VALUE,
        mode == TOTAL,
        mode == THRESHOLD,
    )


def spread_of(plan: Plan, targets: Targets, series: Ints) -> Spread:
    """Where samples of these series go, one sample each. Kept by the plan as long as it holds."""
    if len(series) > MAX_KEPT_SAMPLES:
        return _spread(targets, series)
    key = series.tobytes()
    kept = plan.spreads.get(key)
    if kept is None:
        if len(plan.spreads) >= KEPT_SPREADS:
            plan.spreads.clear()
        kept = plan.spreads[key] = _spread(targets, series)
    return kept


def additions(plan: Plan, targets: Targets, samples: Samples) -> Additions:
    """What these samples add."""
    to = spread_of(plan, targets, samples.series)
    bucket = samples.timestamps_us[to.sample] // to.width_us
    cell = to.offset + bucket % to.size
    values = samples.values[to.sample]
    events = np.rint(np.minimum(np.maximum(values, 0.0), MAX_EVENTS) * EVENT)
    beyond = to.is_threshold & ((values > to.above) | (values < to.below))
    value = np.where(to.is_metric, values, np.where(to.is_value, events, np.where(beyond, EVENT, 0.0)))
    weight = np.where(to.is_metric, 1.0, np.where(to.is_total, events, np.where(to.is_threshold, EVENT, 0.0)))
    speaks = to.alarming & ((value > 0) | (to.is_total & (weight > 0)))
    alarmed = sorted(set(to.objective[speaks].tolist())) if speaks.any() else []
    return Additions(cell, bucket, value, weight, alarmed)
