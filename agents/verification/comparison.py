"""What is asked of a comparison, in the words of Kayenta's canary configuration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which change of the experiment counts as bad."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"

    @property
    def up(self) -> bool:
        """Whether higher is bad."""
        return self is not Direction.DECREASE

    @property
    def down(self) -> bool:
        """Whether lower is bad."""
        return self is not Direction.INCREASE


class NanStrategy(StrEnum):
    """What a sample that is no number stands for: nothing (`remove`), or zero (`replace`)."""

    REMOVE = "remove"
    REPLACE = "replace"

    def applied(self, values: Sequence[float]) -> list[float]:
        """The samples to judge by. An infinite one is no measurement under either strategy."""
        if self is NanStrategy.REMOVE:
            return [float(value) for value in values if math.isfinite(value)]
        return [0.0 if math.isnan(value) else float(value) for value in values if not math.isinf(value)]


class EffectMeasure(StrEnum):
    """How large a difference is: the experiment's mean over the control's, or how often it exceeds it (CLES)."""

    MEAN_RATIO = "meanRatio"
    CLES = "cles"

    @property
    def neutral(self) -> float:
        """The effect of no difference."""
        return 1.0 if self is EffectMeasure.MEAN_RATIO else 0.5


@dataclass(frozen=True)
class EffectSize:
    """From which effect on a significant difference counts, and from which it is critical; None: from no effect on."""

    measure: EffectMeasure = EffectMeasure.MEAN_RATIO
    allowed_increase: float | None = None
    allowed_decrease: float | None = None
    critical_increase: float | None = None
    critical_decrease: float | None = None

    def is_beyond(self, effect: float, *, up: bool, critical: bool = False) -> bool:
        """Whether an effect reaches the threshold; one that cannot be told (NaN) does not stand in the way."""
        upper, lower = (
            (self.critical_increase, self.critical_decrease)
            if critical
            else (self.allowed_increase, self.allowed_decrease)
        )
        threshold = upper if up else lower
        if threshold is None:
            threshold = self.measure.neutral
        return math.isnan(effect) or (effect >= threshold if up else effect <= threshold)
