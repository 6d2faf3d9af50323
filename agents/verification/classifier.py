"""Classes of a metric as Kayenta's judge gives them: `Pass`, `High`, `Low`, `Nodata`, `NodataFailMetric`.

A metric is high or low when the whole confidence interval of the shift (Mann-Whitney, Hodges-Lehmann) lies beyond a
band of `tolerance` times the estimated shift, the effect reaches its threshold, and the direction asks. Facts from
Spinnaker's "How canary judgment works" and Kayenta's canary configuration; where Kayenta adds a little noise to samples
without any spread, the interval here is that one difference itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autopilot.agents.verification import ranks
from autopilot.agents.verification.comparison import Direction, EffectMeasure, EffectSize, NanStrategy
from autopilot.agents.verification.normal import two_sided_z

TOLERANCE, CONFIDENCE = 0.25, 0.98
"""What Kayenta's judge uses: the band's width in shifts, and the confidence of the interval."""


class Label(StrEnum):
    """What a metric was found to be."""

    PASS = "Pass"
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL_METRIC = "NodataFailMetric"


@dataclass(frozen=True)
class Classification:
    """A metric's class. `deviation` is the effect in its measure, NaN where it cannot be told."""

    classification: Label
    reason: str
    deviation: float = math.nan
    critical: bool = False
    """It fails a whole comparison alone."""
    shift: ranks.Shift | None = None
    samples: tuple[int, int] = (0, 0)
    """Of the control and of the experiment, after what was missing was left out or replaced."""

    @property
    def passes(self) -> bool:
        """Whether it was measured and found no worse. What was not measured does not pass."""
        return self.classification is Label.PASS


def classify(
    control: Sequence[float],
    experiment: Sequence[float],
    *,
    direction: Direction = Direction.EITHER,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
    nan_strategy: NanStrategy = NanStrategy.REMOVE,
    effect_size: EffectSize | None = None,
    critical: bool = False,
    must_have_data: bool = False,
) -> Classification:
    """The class of the experiment's samples against the control's, both in the metric's unit and in any order.

    `tolerance` is a share of the shift, at least 0; `confidence` is two-sided, above 0 and at most 0.999999. Raises
    ValueError when either is outside its range or there are more pairs than `ranks.MOST_PAIRS`.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is {tolerance}, expected 0 or more")
    z = two_sided_z(confidence)
    direction, nan_strategy = Direction(direction), NanStrategy(nan_strategy)
    limits = effect_size or EffectSize()
    was, is_now = nan_strategy.applied(control), nan_strategy.applied(experiment)
    if not was or not is_now:
        return _without_data(was, is_now, nan_strategy, critical, must_have_data)
    samples = len(was), len(is_now)
    if sorted(was) == sorted(is_now):
        return Classification(Label.PASS, "the samples are the same", limits.measure.neutral, samples=samples)
    effect = _effect(limits.measure, was, is_now)
    found = ranks.shift(was, is_now, z)
    label = _label(found, tolerance, direction, limits, effect)
    grave = label is not Label.PASS and critical
    grave = grave and limits.is_beyond(effect, up=label is Label.HIGH, critical=True)
    return Classification(label, _said(label, found), effect, grave, found, samples)


def classify_by_mean(
    control: Sequence[float],
    experiment: Sequence[float],
    *,
    direction: Direction = Direction.EITHER,
    nan_strategy: NanStrategy = NanStrategy.REMOVE,
    critical: bool = False,
    must_have_data: bool = False,
) -> Classification:
    """The class by means alone, as Kayenta's mean-inequality classifier: any difference counts. No test of anything."""
    nan_strategy = NanStrategy(nan_strategy)
    was, is_now = nan_strategy.applied(control), nan_strategy.applied(experiment)
    if not was or not is_now:
        return _without_data(was, is_now, nan_strategy, critical, must_have_data)
    lower, higher = mean(was), mean(is_now)
    label = Label.PASS
    if higher > lower and Direction(direction).up:
        label = Label.HIGH
    elif higher < lower and Direction(direction).down:
        label = Label.LOW
    effect = _effect(EffectMeasure.MEAN_RATIO, was, is_now)
    reason = f"the mean is {higher:g}, the control's is {lower:g}"
    return Classification(label, reason, effect, critical and label is not Label.PASS, None, (len(was), len(is_now)))


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value, its sum exact before it is rounded once."""
    return math.fsum(values) / len(values)


def _without_data(
    was: Sequence[float], is_now: Sequence[float], strategy: NanStrategy, critical: bool, must_have_data: bool
) -> Classification:
    missing = " and ".join(side for side, values in (("control", was), ("experiment", is_now)) if not values)
    reason, samples = f"no samples of the {missing}", (len(was), len(is_now))
    if strategy is NanStrategy.REPLACE:
        return Classification(Label.PASS, f"{reason}, which count as zeros", samples=samples)
    label = Label.NODATA_FAIL_METRIC if must_have_data else Label.NODATA
    return Classification(label, reason, critical=critical, samples=samples)


def _effect(measure: EffectMeasure, was: Sequence[float], is_now: Sequence[float]) -> float:
    """NaN where a mean is zero or too large to be told, since no ratio to it says anything."""
    if measure is EffectMeasure.CLES:
        return ranks.exceedance(was, is_now)
    before, after = mean(was), mean(is_now)
    return after / before if before and after else math.nan


def _label(found: ranks.Shift, tolerance: float, direction: Direction, limits: EffectSize, effect: float) -> Label:
    band = tolerance * abs(found.estimate)
    if direction.up and found.low > band and limits.is_beyond(effect, up=True):
        return Label.HIGH
    if direction.down and found.high < -band and limits.is_beyond(effect, up=False):
        return Label.LOW
    return Label.PASS


def _said(label: Label, found: ranks.Shift) -> str:
    interval = f"shifted by {found.estimate:g}, between {found.low:g} and {found.high:g}"
    return interval if label is not Label.PASS else f"{interval}: no difference that counts"
