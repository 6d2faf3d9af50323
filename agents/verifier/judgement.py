"""The statistics of a verdict: shares of bad events against an objective and each other, samples against samples.

Only + - * / sqrt and comparisons, so that every processor finds the same. Sources: the score interval of a share
(Wilson 1927), the pooled test of two shares, the rank-sum test with its normal approximation and correction for ties
(`verification.ranks`), and an error that all looks together keep, however many there are (`verification.looks`). All
assume independent events; telemetry is not quite that, so the least numbers of events and samples are set well above
what the formulas need.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autopilot.agents.verification import looks as spending
from autopilot.agents.verification import ranks
from autopilot.agents.verification.classifier import mean
from autopilot.agents.verification.comparison import Direction
from autopilot.agents.verification.ranks import rank_sum_z
from autopilot.schemas.events.verifier import CheckVerdict

ERROR = 0.05
"""Probability that any of the looks finds a difference, in one direction, where there is none."""
MIN_EVENTS = 20.0
"""Events below which a share says nothing."""
MIN_SAMPLES = 6
"""Samples on each side below which a comparison says nothing."""
MATERIAL_SHARE = 0.1
"""How far a guard's mean must be off the mean before, as a share of it, for the difference to matter."""
SUSPECT_Z = 1.282
"""Standard errors from which on a material difference of a guard is not put down to chance: 90 % one-sided."""

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


def z_at_look(look: int, looks: int, *, is_last: bool = False) -> float:
    """Standard errors asked for at a look (from 1) at growing data; `looks` are planned, more may follow."""
    return spending.z_at_look(look, looks, ERROR, is_last=is_last)


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


def passable(after: Share, before: Share, allowed: float, z: float, *, seen_whole: bool) -> Finding:
    """Whether a stage may be left: its share is not above the one before, or it is within what the objective allows.

    Unlike a rollback, which is there already, the next stage is still to come: so it takes a share that is clearly
    allowed or clearly below the one before, or, once the whole window was seen, one that does not even look worse.
    """
    missing = _missing_shares(after, before)
    if missing:
        return missing
    difference, margin, seen = difference_z(after, before), _margin_z(after, allowed), _shares_seen(after, before)
    if margin > 0 and difference >= z:
        return Finding(CheckVerdict.FAIL, difference, seen)
    if interval(after, z)[1] <= allowed or difference <= -z or (seen_whole and difference < SUSPECT_Z):
        return Finding(CheckVerdict.PASS, max(-difference, -margin, 0.0), seen)
    return Finding(CheckVerdict.UNCLEAR, max(difference, 0.0), f"{seen}: it could be worse")


def guard(
    after: Sequence[float], before: Sequence[float], z: float, direction: Direction = Direction.INCREASE
) -> Finding:
    """Whether a metric did not get materially worse: off in rank and in mean, in a direction that counts as worse.

    What looks worse and is not clear yet does not pass either: more samples have to tell.
    """
    after, before = finite(after), finite(before)
    if not after or not before:
        missing = " and ".join(side for side, values in (("before", before), ("after", after)) if not values)
        return Finding(CheckVerdict.NO_DATA, 0.0, f"no samples {missing} it")
    was, is_now = mean(before), mean(after)
    seen = f"{is_now:.6g} after, {was:.6g} before"
    if len(after) < MIN_SAMPLES or len(before) < MIN_SAMPLES:
        return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: too few samples")
    higher, rise = rank_sum_z(after, before), is_now - was
    ways = [(higher, rise)] * direction.up + [(-higher, -rise)] * direction.down
    worse = max([off for off, change in ways if change > MATERIAL_SHARE * abs(was)], default=0.0)
    if worse >= z:
        return Finding(CheckVerdict.FAIL, worse, f"{seen}: materially worse")
    if worse >= SUSPECT_Z:
        return Finding(CheckVerdict.UNCLEAR, worse, f"{seen}: it could be worse")
    return Finding(CheckVerdict.PASS, abs(higher), seen)


def shift(after: Sequence[float], before: Sequence[float]) -> float | None:
    """By how much the samples after lie above those before (Hodges-Lehmann); None when a side has none."""
    after, before = finite(after), finite(before)
    return ranks.estimated_shift(before, after) if after and before else None


def finite(values: Sequence[float]) -> list[float]:
    """The values that are numbers."""
    return [value for value in values if math.isfinite(value)]


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


def percent(share: Share) -> str:
    """A share with events, for people."""
    return _percent(share.value or 0.0)


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"
