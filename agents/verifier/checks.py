"""From samples to a verdict: which checks there are, and what they come to together.

A remedy helped when every SLO of its plan is within its objective, none got worse and no guard did. A rollback restored
what was there when no SLO and no guard is worse than before the execution. A stage may be left when none is worse than
before, or than the control where a canary is compared with one. One clear failure rejects; anything that is missing,
too little or measured under poor telemetry makes the verdict wait, and in the end inconclusive: what was not seen never
counts as success.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autopilot.agents.verification.classifier import mean
from autopilot.agents.verifier import groups, judgement
from autopilot.agents.verifier.judgement import Finding, Share
from autopilot.agents.verifier.measuring import SLICES
from autopilot.agents.verifier.watch import CANARY, CONTROL, Column, Watch, WatchState
from autopilot.schemas.basis_points import percent
from autopilot.schemas.events.verifier import Check, CheckVerdict

MIN_QUALITY_BP = 7_000
"""Telemetry quality after the execution below which nothing is concluded."""

RECOVERED = "within its objective"
IMPROVED = "better than before"
NOT_WORSE = "not worse than before"
NOT_WORSE_THAN_CONTROL = "of the canary not worse than of the control"


@dataclass(frozen=True)
class Judged:
    """A check with what it asked."""

    asked: str
    check: Check
    z: float

    @property
    def verdict(self) -> CheckVerdict:
        """The check's verdict."""
        return self.check.verdict


@dataclass(frozen=True)
class Verdict:
    """What the checks come to: `pass`, `fail` or `unclear`, how sure that is and why."""

    verdict: CheckVerdict
    confidence_bp: int
    reason: str
    checks: list[Check]


def judge(watch: Watch, objectives_bp: Mapping[str, int], z: float) -> Verdict:
    """The verdict on what was measured so far, at `z` standard errors. `objectives_bp` is by SLO name."""
    judged = [_heard(one, watch) for one in _judge(watch, objectives_bp, z)]
    checks = [one.check for one in judged]
    failed = [one for one in judged if _fails(one, judged)]
    if failed and watch.quality_bp >= MIN_QUALITY_BP:
        worst = max(failed, key=lambda one: one.z)
        sure = min(judgement.confidence_bp(worst.z), watch.quality_bp)
        return Verdict(CheckVerdict.FAIL, sure, _said(worst), checks)
    obstacle = _obstacle(watch, judged)
    if obstacle:
        return Verdict(CheckVerdict.UNCLEAR, 0, obstacle, checks)
    sure = min(min(judgement.confidence_bp(one.z) for one in _deciding(judged)), watch.quality_bp)
    return Verdict(CheckVerdict.PASS, sure, "; ".join(_said(one) for one in _deciding(judged)), checks)


def _judge(watch: Watch, objectives_bp: Mapping[str, int], z: float) -> Iterator[Judged]:
    if watch.window.groups:
        yield from _judge_groups(watch, objectives_bp, z)
        return
    before = watch.before or {}
    for slo in watch.window.slo_names:
        name = f"slo:{slo}"
        yield from _judge_slo(name, before.get(name), watch, objectives_bp.get(slo), z)
    for guard in watch.window.guards:
        name = f"metric:{guard.metric}"
        column, is_now = before.get(name, Column()), watch.after.get(name, Column()).values
        was, shift = column.values, judgement.shift(is_now, column.values)
        finding = judgement.guard(is_now, was, z, guard.direction)
        means, samples = (_mean(was), _mean(is_now)), (len(was), len(is_now))
        yield _judged(name, NOT_WORSE, finding, means, None, samples, shift, column.from_us)


def _judge_slo(name: str, before: Column | None, watch: Watch, objective_bp: int | None, z: float) -> Iterator[Judged]:
    was_column, now_column = before or Column(), watch.after.get(name, Column())
    was = judgement.share_of(was_column.values, was_column.weights)
    is_now = judgement.share_of(now_column.values, now_column.weights)
    means = was.value, is_now.value
    shift = None if was.value is None or is_now.value is None else is_now.value - was.value
    samples = len(was_column.values), len(now_column.values)
    if objective_bp is None:
        unknown = Finding(CheckVerdict.NO_DATA, 0.0, "no such objective is in force")
        yield _judged(name, RECOVERED, unknown, means, None, samples, shift, was_column.from_us)
        return
    allowed = (10_000 - objective_bp) / 10_000
    for asked, finding in _questions(watch, is_now, was, allowed, z):
        threshold = None if asked == IMPROVED else allowed
        yield _judged(name, asked, finding, means, threshold, samples, shift, was_column.from_us)


def _mean(values: Sequence[float]) -> float | None:
    numbers = judgement.finite(values)
    return mean(numbers) if numbers else None


def _heard(one: Judged, watch: Watch) -> Judged:
    """The check, which does not pass on what was seen earlier alone: of what it is about, something came lately."""
    name = one.check.name.removesuffix(f" {one.asked}")
    stale = [column for column in (name, f"{name}@{CANARY}", f"{name}@{CONTROL}") if column in watch.silent]
    if not stale or one.verdict is not CheckVerdict.PASS:
        return one
    reason = f"{one.check.reason}: of {', '.join(stale)} nothing came lately"
    changes = {"verdict": CheckVerdict.UNCLEAR, "reason": reason, "confidence_bp": None}
    return Judged(one.asked, one.check.model_copy(update=changes), 0.0)


def _judge_groups(watch: Watch, objectives_bp: Mapping[str, int], z: float) -> Iterator[Judged]:
    for slo in watch.window.slo_names:
        control, canary = _groups_of(watch, f"slo:{slo}")
        was, is_now = (judgement.share_of(one.values, one.weights).value for one in (control, canary))
        shift = None if was is None or is_now is None else is_now - was
        objective_bp = objectives_bp.get(slo)
        allowed = None if objective_bp is None else (10_000 - objective_bp) / 10_000
        finding = Finding(CheckVerdict.NO_DATA, 0.0, "no such objective is in force")
        if allowed is not None:
            finding = groups.shares(control, canary, allowed, z)
        samples = len(control.values), len(canary.values)
        yield _judged(f"slo:{slo}", NOT_WORSE_THAN_CONTROL, finding, (was, is_now), allowed, samples, shift)
    for guard in watch.window.guards:
        control, canary = _groups_of(watch, f"metric:{guard.metric}")
        finding = groups.levels(control, canary, guard.direction)
        means = tuple(mean(one.values) if one.values else None for one in (control, canary))
        samples, shift = (len(control.values), len(canary.values)), judgement.shift(canary.values, control.values)
        name = f"metric:{guard.metric}"
        yield _judged(name, NOT_WORSE_THAN_CONTROL, finding, (means[0], means[1]), None, samples, shift)


def _groups_of(watch: Watch, name: str) -> tuple[Column, Column]:
    """What was measured of the control and of the canary; nothing of a group that the gate does not name."""
    return watch.after.get(f"{name}@{CONTROL}", Column()), watch.after.get(f"{name}@{CANARY}", Column())


def _questions(watch: Watch, after: Share, before: Share, allowed: float, z: float) -> Iterator[tuple[str, Finding]]:
    if watch.state is WatchState.MEASURING_ROLLBACK:
        yield NOT_WORSE, judgement.not_worse(after, before, allowed, z)
    elif watch.state is WatchState.MEASURING_STAGE:
        yield NOT_WORSE, judgement.passable(after, before, allowed, z, seen_whole=watch.look >= SLICES)
    else:
        yield RECOVERED, judgement.recovery(after, before, allowed, z)
        yield IMPROVED, judgement.improvement(after, before, z)


def _judged(
    name: str,
    asked: str,
    finding: Finding,
    means: tuple[float | None, float | None],
    threshold: float | None,
    samples: tuple[int, int],
    shift: float | None,
    before_from_us: int = 0,
) -> Judged:
    check = Check(
        name=f"{name} {asked}",
        verdict=finding.verdict,
        before_mean=means[0],
        after_mean=means[1],
        threshold=threshold,
        before_samples=samples[0],
        after_samples=samples[1],
        reason=finding.reason,
        effect_size=shift,
        confidence_bp=judgement.confidence_bp(finding.z) if finding.z > 0 else None,
        before_from_us=before_from_us,
    )
    return Judged(asked, check, finding.z)


def _fails(one: Judged, judged: list[Judged]) -> bool:
    """Whether a check rejects. To be worse than before does not while the objective is met all the same."""
    if one.verdict is not CheckVerdict.FAIL:
        return False
    if one.asked != IMPROVED:
        return True
    recovered = next(j for j in judged if j.check.name == one.check.name.replace(IMPROVED, RECOVERED))
    return recovered.verdict is not CheckVerdict.PASS


def _obstacle(watch: Watch, judged: list[Judged]) -> str:
    """Why nothing can be concluded yet; empty when everything passed."""
    if not watch.window.slo_names:
        return "the plan names no SLO to judge it by"
    if watch.quality_bp < MIN_QUALITY_BP:
        return f"telemetry quality is {percent(watch.quality_bp)}, below {percent(MIN_QUALITY_BP)}"
    for one in judged:
        missing = one.verdict is CheckVerdict.NO_DATA
        if missing or (one.verdict is CheckVerdict.UNCLEAR and one.asked != IMPROVED):
            return _said(one)
    return ""


def _deciding(judged: list[Judged]) -> list[Judged]:
    """The checks of SLOs that a pass rests on."""
    return [one for one in judged if one.check.name.startswith("slo:") and one.asked != IMPROVED]


def _said(one: Judged) -> str:
    return f"{one.check.name}: {one.check.verdict}, {one.check.reason}"
