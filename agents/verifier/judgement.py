"""The statistics of a verdict: shares of bad events against an objective and each other, samples against samples.

Only + - * / sqrt and comparisons, so that every processor finds the same. Sources: the score interval of a share
(Wilson 1927), the pooled test of two shares, the rank-sum test with its normal approximation and correction for ties
(Mann and Whitney 1947; Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", chapter 4), and the widened
bounds of early looks (O'Brien and Fleming 1979). All assume independent events; telemetry is not quite that, so the
least numbers of events and samples are set well above what the formulas need.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autopilot.schemas.events.verifier import CheckVerdict

Z_FINAL = 1.96
"""Standard errors that the last look asks for: 97.5 % one-sided."""
MIN_EVENTS = 20.0
"""Events below which a share says nothing."""
MIN_SAMPLES = 6
"""Samples on each side below which a comparison says nothing."""
MATERIAL_SHARE = 0.1
"""How much higher a guard's mean must be, as a share of the mean before, for the difference to matter."""

_CONFIDENCE = (
    (0.0, 5_000),
    (0.674, 7_500),
    (1.282, 9_000),
    (1.645, 9_500),
    (1.960, 9_750),
    (2.326, 9_900),
    (2.576, 9_950),
    (3.090, 9_990),
)
"""Quantiles of the normal distribution: standard errors, and the one-sided confidence that they stand for in bp."""


@dataclass(frozen=True)
class Share:
    """Bad events among all events; `events` of 0 means that nothing is known."""

    bad: float = 0.0
    events: float = 0.0

    @property
    def value(self) -> float | None:
        """The share of bad events, or None without events."""
        return self.bad / self.events if self.events > 0 else None


@dataclass(frozen=True)
class Finding:
    """A verdict and the standard errors by which it holds; 0 for a verdict that says nothing."""

    verdict: CheckVerdict
    z: float
    reason: str


def z_at_look(look: int, looks: int) -> float:
    """Standard errors asked for at one of several looks at growing data: more, the earlier it is (from 1)."""
    return Z_FINAL * math.sqrt(looks / min(look, looks))


def confidence_bp(z: float) -> int:
    """One-sided confidence of a number of standard errors, basis points; interpolated between tabled quantiles."""
    for (low_z, low_bp), (high_z, high_bp) in pairwise(_CONFIDENCE):
        if z < high_z:
            return low_bp + int((high_bp - low_bp) * (max(z, 0.0) - low_z) / (high_z - low_z))
    return _CONFIDENCE[-1][1]


def share_of(values: Sequence[float], weights: Sequence[float]) -> Share:
    """The share of bad events over buckets of shares (0..1) and events; buckets that are no numbers are left out."""
    bad = events = 0.0
    for value, weight in zip(values, weights, strict=False):
        if math.isfinite(value) and math.isfinite(weight) and weight > 0:
            bad += min(max(value, 0.0), 1.0) * weight
            events += weight
    return Share(bad, events)


def interval(share: Share, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share at `z` standard errors; all of 0..1 without events."""
    n = share.events
    if n <= 0:
        return 0.0, 1.0
    p = share.bad / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def difference_z(after: Share, before: Share) -> float:
    """Standard errors by which the share after is above the one before, pooled; 0 where neither varies."""
    if after.events <= 0 or before.events <= 0:
        return 0.0
    pooled = (after.bad + before.bad) / (after.events + before.events)
    variance = pooled * (1 - pooled) * (1 / after.events + 1 / before.events)
    if variance <= 0:
        return 0.0
    return (after.bad / after.events - before.bad / before.events) / math.sqrt(variance)


def recovery(after: Share, before: Share, allowed: float, z: float) -> Finding:
    """Whether the share after is within what the objective allows.

    It passes when the whole interval is within it; or when the share itself is and lies clearly below the one before,
    for a service of few events would need hours to show the former. It fails when the whole interval is beyond it.
    """
    share = after.value
    if share is None:
        return Finding(CheckVerdict.NO_DATA, 0.0, "no events after it")
    seen = f"{_percent(share)} of {after.events:.0f} events were bad, {_percent(allowed)} are allowed"
    if after.events < MIN_EVENTS:
        return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: too few events")
    low, high = interval(after, z)
    margin = abs(_margin_z(after, allowed))
    if low > allowed:
        return Finding(CheckVerdict.FAIL, margin, seen)
    if high <= allowed:
        return Finding(CheckVerdict.PASS, margin, seen)
    gain = -difference_z(after, before)
    if share <= allowed and gain >= z and before.events >= MIN_EVENTS:
        return Finding(CheckVerdict.PASS, gain, f"{seen}, clearly fewer than before")
    return Finding(CheckVerdict.UNCLEAR, margin, f"{seen}: it could be either")


def improvement(after: Share, before: Share, z: float) -> Finding:
    """Whether the share after is clearly below the one before (pass) or clearly above it (fail)."""
    missing = _missing_shares(after, before)
    if missing:
        return missing
    difference = difference_z(after, before)
    seen = _shares_seen(after, before)
    if difference <= -z:
        return Finding(CheckVerdict.PASS, -difference, seen)
    if difference >= z:
        return Finding(CheckVerdict.FAIL, difference, seen)
    return Finding(CheckVerdict.UNCLEAR, abs(difference), f"{seen}: no clear difference")


def not_worse(after: Share, before: Share, allowed: float, z: float) -> Finding:
    """Whether the share after is not clearly above the one before; what the objective allows is never worse."""
    missing = _missing_shares(after, before)
    if missing:
        return missing
    difference = difference_z(after, before)
    margin = _margin_z(after, allowed)
    if margin > 0 and difference >= z:
        return Finding(CheckVerdict.FAIL, difference, _shares_seen(after, before))
    return Finding(CheckVerdict.PASS, max(-difference, -margin, 0.0), _shares_seen(after, before))


def rank_sum_z(after: Sequence[float], before: Sequence[float]) -> float:
    """Standard errors by which `after` tends to rank above `before` (Mann-Whitney U, ties corrected); 0 if all tie."""
    n, m = len(after), len(before)
    total = n + m
    if not n or not m:
        return 0.0
    ranked = sorted([(value, True) for value in after] + [(value, False) for value in before], key=lambda one: one[0])
    rank_sum = ties = 0.0
    start = 0
    while start < total:
        end = start
        while end < total and ranked[end][0] == ranked[start][0]:
            end += 1
        tied = end - start
        rank_sum += sum(is_after for _, is_after in ranked[start:end]) * (start + 1 + end) / 2
        ties += tied * tied * tied - tied
        start = end
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 0.0
    return (rank_sum - n * (n + 1) / 2 - n * m / 2) / math.sqrt(variance)


def guard(after: Sequence[float], before: Sequence[float], z: float) -> Finding:
    """Whether a metric of which more is worse did not get materially worse: higher both in rank and in mean."""
    after, before = finite(after), finite(before)
    if not after or not before:
        missing = " and ".join(side for side, values in (("before", before), ("after", after)) if not values)
        return Finding(CheckVerdict.NO_DATA, 0.0, f"no samples {missing} it")
    higher = rank_sum_z(after, before)
    was, is_now = mean(before), mean(after)
    seen = f"{is_now:.6g} after, {was:.6g} before"
    if len(after) < MIN_SAMPLES or len(before) < MIN_SAMPLES:
        return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: too few samples")
    material = is_now - was > MATERIAL_SHARE * abs(was)
    if material and higher >= z:
        return Finding(CheckVerdict.FAIL, higher, f"{seen}: materially worse")
    return Finding(CheckVerdict.PASS, abs(higher), seen)


def finite(values: Sequence[float]) -> list[float]:
    """The values that are numbers."""
    return [value for value in values if math.isfinite(value)]


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)


def _margin_z(share: Share, allowed: float) -> float:
    """Standard errors by which a share with events is above the allowed one, which lies between 0 and 1."""
    return (share.bad / share.events - allowed) / math.sqrt(allowed * (1 - allowed) / share.events)


def _missing_shares(after: Share, before: Share) -> Finding | None:
    for side, share in (("before", before), ("after", after)):
        if share.events <= 0:
            return Finding(CheckVerdict.NO_DATA, 0.0, f"no events {side} it")
    for side, share in (("before", before), ("after", after)):
        if share.events < MIN_EVENTS:
            return Finding(CheckVerdict.UNCLEAR, 0.0, f"{share.events:.0f} events {side} it are too few")
    return None


def _shares_seen(after: Share, before: Share) -> str:
    return f"{_percent(after.value or 0.0)} bad after, {_percent(before.value or 0.0)} before"


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"
