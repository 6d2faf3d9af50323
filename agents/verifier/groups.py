"""A canary against its control: pairs of buckets of the same moment, judged by tests that may be looked at at any time.

Worse is a canary whose share of bad events is above its control's and above what the objective allows, or a guard that
is off by more than a tenth of the control's level. It is found no worse once such a difference would have shown.
"""

from collections.abc import Iterator

from autopilot.agents.verification.comparison import Direction
from autopilot.agents.verification.normal import quantile
from autopilot.agents.verification.sequential import Decision, SequentialTest
from autopilot.agents.verification.shares import Block, ShareTest
from autopilot.agents.verifier.judgement import (
    ERROR,
    MATERIAL_SHARE,
    MIN_EVENTS,
    MIN_SAMPLES,
    Finding,
    interval,
    percent,
    share_of,
)
from autopilot.agents.verifier.watch import Column
from autopilot.schemas.events.verifier import CheckVerdict

LEAST_ERROR = 1e-6
"""Chance of a mistake below which nothing is told apart."""


def shares(control: Column, canary: Column, allowed: float, z: float) -> Finding:
    """Whether the canary's share of bad events is no worse than its control's. `allowed` is by the objective."""
    is_now, other = share_of(canary.values, canary.weights), share_of(control.values, control.weights)
    missing = " and ".join(name for name, share in (("control", other), ("canary", is_now)) if share.events <= 0)
    if missing:
        return Finding(CheckVerdict.NO_DATA, 0.0, f"no events of the {missing}")
    seen = f"{percent(is_now)} bad of the canary's {is_now.events:.0f} events, {percent(other)} of the control's"
    if min(is_now.events, other.events) < MIN_EVENTS:
        return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: too few events")
    found = ShareTest(min(allowed, 0.49), ERROR).decide(_blocks(control, canary))
    if found.decision is Decision.HIGHER and is_now.bad > allowed * is_now.events:
        return Finding(CheckVerdict.FAIL, _z(1 / found.e_value), f"{seen}: worse")
    if found.decision is Decision.NO_DIFFERENCE:
        return Finding(CheckVerdict.PASS, _z(ShareTest.miss), seen)
    if interval(is_now, z)[1] <= allowed:
        return Finding(CheckVerdict.PASS, z, f"{seen}, within its objective")
    return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: it could be either")


def levels(control: Column, canary: Column, direction: Direction) -> Finding:
    """Whether the canary's level of a metric is no worse than its control's."""
    missing = " and ".join(name for name, one in (("control", control), ("canary", canary)) if not one.values)
    if missing:
        return Finding(CheckVerdict.NO_DATA, 0.0, f"no samples of the {missing}")
    pairs = list(_pairs(control, canary))
    seen = f"{len(pairs)} moments of both"
    if len(pairs) < MIN_SAMPLES:
        return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: too few samples")
    ways = [way for way, asked in ((1, direction.up), (-1, direction.down)) if asked]
    return _worst([_level(pairs, way, seen) for way in ways])


def _level(pairs: list[tuple[float, float]], way: int, seen: str) -> Finding:
    """One direction, 1 for up. What counts is what the canary is worse by beyond a tenth of its control."""
    beyond = [(way * was + MATERIAL_SHARE * abs(was), way * is_now) for was, is_now in pairs]
    found = SequentialTest(ERROR).decide(beyond, Direction.INCREASE)
    if found.decision is Decision.HIGHER:
        return Finding(CheckVerdict.FAIL, _z(1 / found.e_value), f"{seen}: materially worse")
    if found.decision is Decision.NO_DIFFERENCE or all(is_now <= was for was, is_now in beyond):
        return Finding(CheckVerdict.PASS, _z(SequentialTest.futility), f"{seen}: not materially worse")
    return Finding(CheckVerdict.UNCLEAR, 0.0, f"{seen}: it could be worse")


def _worst(findings: list[Finding]) -> Finding:
    order = [CheckVerdict.FAIL, CheckVerdict.UNCLEAR, CheckVerdict.PASS]
    return min(findings, key=lambda finding: order.index(finding.verdict))


def _together(control: Column, canary: Column) -> Iterator[tuple[int, int]]:
    """Places of the buckets that both have, in order of time."""
    places = {at: place for place, at in enumerate(control.starts_us)}
    found = [(at, places[at], place) for place, at in enumerate(canary.starts_us) if at in places]
    for _, one, other in sorted(found):
        yield one, other


def _pairs(control: Column, canary: Column) -> Iterator[tuple[float, float]]:
    for one, other in _together(control, canary):
        yield control.values[one], canary.values[other]


def _blocks(control: Column, canary: Column) -> Iterator[Block]:
    for one, other in _together(control, canary):
        was, is_now = _counts(control, one), _counts(canary, other)
        yield Block(*was, *is_now)


def _counts(column: Column, place: int) -> tuple[int, int]:
    """Bad and all events of a bucket, in whole events."""
    events = max(round(column.weights[place]), 0)
    bad = round(min(max(column.values[place], 0.0), 1.0) * column.weights[place])
    return min(max(bad, 0), events), events


def _z(error: float) -> float:
    """Standard errors that stand for a chance of a mistake."""
    return -quantile(min(max(error, LEAST_ERROR), 0.5))
