"""Rank statistics of two samples: the rank sum, the shift between them with its interval, and how often one exceeds.

Sources: Mann and Whitney 1947; Hodges and Lehmann 1963; Hollander, Wolfe and Chicken, "Nonparametric Statistical
Methods", chapter 4; the common-language effect size of McGraw and Wong 1992 with ties counted as halves. All assume
finite values.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MOST_PAIRS = 25_000_000
"""Pairs of samples above which an interval is refused: it holds them all."""


@dataclass(frozen=True)
class Shift:
    """By how much one sample lies above another: the Hodges-Lehmann estimate and a confidence interval."""

    estimate: float
    low: float
    high: float


def rank_sum_z(after: Sequence[float], before: Sequence[float]) -> float:
    """Standard errors by which `after` tends to rank above `before` (Mann-Whitney U, ties corrected); 0 if all tie."""
    n, m = len(after), len(before)
    if not n or not m:
        return 0.0
    deviation = _deviation(n, m, (*after, *before))
    return (exceedance(before, after) - 0.5) * n * m / deviation if deviation > 0 else 0.0


def exceedance(control: Sequence[float], experiment: Sequence[float]) -> float:
    """Share of pairs in which the experiment's value is the higher, ties counted as halves; neither is empty."""
    ordered = np.sort(np.asarray(control, dtype=float))
    values = np.asarray(experiment, dtype=float)
    below = int(np.searchsorted(ordered, values, "left").sum())
    not_above = int(np.searchsorted(ordered, values, "right").sum())
    return (below + not_above) / (2 * len(ordered) * len(values))


def shift(control: Sequence[float], experiment: Sequence[float], z: float) -> Shift:
    """The shift of the experiment, with the interval of all shifts that a rank-sum test at `z` does not reject.

    The test is two-sided, with the continuity correction of one half. Its statistic changes only at differences between
    a value of one sample and a value of the other, so the ends are two of these differences in order of size, found
    without a search. Between the differences, values tie only within a sample: these ties alone narrow the interval.
    Raises ValueError when a sample is empty or there are more than `MOST_PAIRS` pairs.
    """
    differences = _differences(control, experiment)
    pairs = len(differences)
    deviation = _deviation(len(experiment), len(control), control, experiment)
    first = max(math.ceil(pairs / 2 - 0.5 - z * deviation), 1)
    return Shift(_middle(differences), float(differences[first - 1]), float(differences[pairs - first]))


def estimated_shift(control: Sequence[float], experiment: Sequence[float]) -> float:
    """The estimate of `shift` alone. Raises ValueError as it does."""
    return _middle(_differences(control, experiment))


def _differences(control: Sequence[float], experiment: Sequence[float]) -> FloatArray:
    """Every value of the experiment less every one of the control, in order of size."""
    pairs = len(experiment) * len(control)
    if not 0 < pairs <= MOST_PAIRS:
        sizes = f"{len(control)} x {len(experiment)}"
        raise ValueError(f"{sizes} samples, expected at least one of each and at most {MOST_PAIRS} pairs")
    return np.sort(np.subtract.outer(np.asarray(experiment, float), np.asarray(control, float)), axis=None)


def _middle(ordered: FloatArray) -> float:
    """The median, of an even number halfway between the two in the middle."""
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(low + (high - low) / 2)


def _deviation(n: int, m: int, *tied: Sequence[float]) -> float:
    """Standard deviation of U when nothing differs; values that are equal within one of `tied` are ties."""
    total = n + m
    repeating = (values for values in tied if len(set(values)) < len(values))  # seldom, and told apart at less cost
    ties = sum(count**3 - count for values in repeating for count in Counter(values).values())
    return math.sqrt(max(n * m / 12 * (total + 1 - ties / (total * (total - 1))), 0.0))
