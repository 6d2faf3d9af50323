"""Which remedies of the catalogue apply to a case, and which one is best.

A remedy applies when it answers one of the suspect's signals (by kind and by what is measured), may be proposed at all
(its autonomy), was not tried on it in this incident, did not just fail to last, is not cooling down, finds a target of
each step's driver whose state is known, its precondition holds and, where it has a goal, a plan reaches it. Those that
apply are ranked by expected benefit, then by risk class, cost and name. An expression that fails makes its remedy not
apply and says why; it never raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import NamedTuple

from autopilot.agents.planner.benefit import expected_benefit
from autopilot.agents.planner.case import Case, DoesNotApplyError, attempt_key
from autopilot.agents.planner.catalogue import Entry, Rating
from autopilot.agents.planner.composing import RISKS, composed
from autopilot.agents.planner.confidence import Tally, posterior
from autopilot.agents.planner.incident import Signal
from autopilot.agents.planner.steps import Composed, fixed
from autopilot.policies.expression import ExpressionError
from autopilot.schemas.configuration import Autonomy, Remedy
from autopilot.schemas.events.planner import Alternative, RiskClass, Step
from autopilot.schemas.identity import digest_of

_NO_OUTCOMES = Tally()


class Standing(NamedTuple):
    """Where a remedy that applies ranks: the best has the least. No two have the same name."""

    lost: int
    """The expected benefit, in points, with the sign turned."""
    risk: int
    """The place of its risk class among all, least first."""
    cost: int
    remedy: str
    bound_bp: int
    """How sure it is: the lower bound of the posterior."""
    mean_bp: int


@dataclass
class Candidate:
    """A remedy that applies, with everything that a plan of it would say."""

    entry: Entry
    context: str
    composed: Composed
    tally: Tally
    standing: Standing

    @property
    def remedy(self) -> Remedy:
        """The remedy as it is written."""
        return self.entry.remedy

    @property
    def steps(self) -> list[Step]:
        """What it would do."""
        return self.composed.steps

    @property
    def risk_class(self) -> RiskClass:
        """The risk class of the plan."""
        return self.composed.rating.risk_class

    @property
    def blast_radius_bp(self) -> int:
        """Share of the capacity, rounded up: a blast radius is never stated too small."""
        return min(10_000, -(-self.composed.outline.instances * 10_000 // self.composed.capacity))

    @property
    def steps_digest(self) -> str:
        """Digest of the steps with all that was calculated for them."""
        return digest_of("\n".join(step.model_dump_json() for step in self.steps))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The keys of the targets that its steps touch."""
        touched = (f"{step.action.driver}/{step.action.target}" for step in self.steps)
        return tuple(dict.fromkeys(touched))


@dataclass(frozen=True)
class Choice:
    """What a search found: the best first, and why the others do not apply."""

    ranked: list[Candidate]
    rejected: list[Alternative]
    retry_at_us: int
    """Earliest end of a cooldown that stands in the way; 0 for none."""

    @property
    def alternatives(self) -> list[Alternative]:
        """What is said of all but the best."""
        best, *others = [one.standing for one in self.ranked]
        return [*(surpassed(best, other) for other in others), *self.rejected]


def choose(case: Case, remedies: Sequence[Entry]) -> Choice:
    """Every remedy judged for the case; of those that rank first, the first one whose steps can be calculated leads."""
    ranked: list[Candidate] = []
    rejected: list[Alternative] = []
    ends: list[int] = []
    for entry in remedies:
        try:
            ranked.append(_candidate(entry, case))
        except DoesNotApplyError as why:
            rejected.append(_rejected(entry.name, why))
            ends += [why.until_us] if why.until_us else []
        except ExpressionError as error:
            rejected.append(_rejected(entry.name, error))
    ranked.sort(key=_standing_of)
    while ranked and (fault := ranked[0].composed.fault()):
        rejected.append(_rejected(ranked.pop(0).entry.name, fault))
    return Choice(ranked, sorted(rejected, key=lambda one: one.remedy), min(ends, default=0))


_standing_of = attrgetter("standing")


def _rejected(remedy: str, why: Exception) -> Alternative:
    error = isinstance(why, ExpressionError)
    return _alternative(remedy, 0, f"error: {' '.join(str(why).split())}" if error else str(why))


@lru_cache(maxsize=4_096)
def _alternative(remedy: str, confidence_bp: int, why_not: str) -> Alternative:
    """What is said of a remedy that is not chosen. The same is said of most services, so it is made once."""
    return Alternative(remedy=remedy, confidence_bp=confidence_bp, why_not=why_not)


@lru_cache(maxsize=4_096)
def surpassed(best: Standing, other: Standing) -> Alternative:
    """What is said of a remedy that applies and ranks below the best. As with all that does not, it is made once."""
    return Alternative(remedy=other.remedy, confidence_bp=other.bound_bp, why_not=_why_not(best, other))


def _why_not(best: Standing, other: Standing) -> str:
    name = best.remedy
    if other.lost != best.lost:
        return f"{_lesser(best, other)} than `{name}`: expected benefit {-other.lost}, against {-best.lost}"
    if other.risk != best.risk:
        return f"as much benefit as `{name}`, with risk class {RISKS[other.risk]}"
    if other.cost != best.cost:
        return f"as much benefit and as safe as `{name}`, at a higher cost"
    return f"equal to `{name}`; the name decides"


def _lesser(best: Standing, other: Standing) -> str:
    """The first thing in which `other` is worse."""
    if other.bound_bp < best.bound_bp:
        return "lower confidence"
    if other.risk > best.risk:
        return "higher risk"
    return "higher cost" if other.cost > best.cost else "less at stake"


def _candidate(entry: Entry, case: Case) -> Candidate:
    signal = _answered(entry, case.signals)
    context = case.context(signal)
    on_service, in_context = attempt_key(entry.name, case.service.name), attempt_key(entry.name, context)
    if entry.only_observed or on_service in case.autonomies:
        _check_autonomy(entry, case, on_service)
    if on_service in case.incident.tried or on_service in case.used_at_us or in_context in case.ended_at_us:
        _check_history(entry, case, context, on_service, in_context)
    made = composed(entry, case, signal) if entry.has_goal else fixed(entry, case, signal)
    tally = case.tallies.get(in_context, _NO_OUTCOMES)
    standing = _standing(entry.name, *entry.priors, tally.verified, tally.rejected, signal.severity, made.rating)
    return Candidate(entry, context, made, tally, standing)


@lru_cache(maxsize=4_096)
def _standing(
    remedy: str, successes_milli: int, failures_milli: int, verified: int, rejected: int, severity: str, rating: Rating
) -> Standing:
    """Where a remedy ranks, by its prior, its outcomes in the context, what is at stake and what a plan of it is."""
    sure = posterior(successes_milli, failures_milli, Tally(verified, rejected))
    benefit = expected_benefit(sure.bound_bp, severity, rating.cost, rating.risk_class)
    return Standing(-benefit, RISKS.index(rating.risk_class), rating.cost, remedy, sure.bound_bp, sure.mean_bp)


def _answered(entry: Entry, signals: Sequence[Signal]) -> Signal:
    """The most urgent signal that the remedy answers. Raises `DoesNotApplyError`."""
    for signal in signals:
        if signal.kind in entry.kinds and (not entry.slis or signal.sli in entry.slis):
            return signal
    kinds = ", ".join(entry.remedy.signal_kinds)
    slis = ", ".join(entry.remedy.slis) or "anything"
    raise DoesNotApplyError(f"it answers {kinds} of {slis}, and no such signal is raised")


def _check_history(entry: Entry, case: Case, context: str, key: str, in_context: str) -> None:
    """Refuses what was tried in this incident, is cooling down, or did not last. Raises `DoesNotApplyError`.

    `key` and `in_context` are the keys of the remedy's use on the service and in the context.
    """
    if key in case.incident.tried:
        raise DoesNotApplyError(f"tried in this incident: {case.incident.tried[key]}")
    ended_at_us = case.ended_at_us.get(in_context)
    if ended_at_us is not None and case.incident.opened_at_us < ended_at_us + entry.remedy.recurrence_us:
        after_s = max(0, case.incident.opened_at_us - ended_at_us) // 1_000_000
        raise DoesNotApplyError(f"it did not last: what it ended on `{context}` came back after {after_s} s")
    used_at_us = case.used_at_us.get(key)
    if used_at_us is not None and case.now_us < used_at_us + entry.remedy.cooldown_ms * 1000:
        until_us = used_at_us + entry.remedy.cooldown_ms * 1000
        raise DoesNotApplyError(f"used on `{case.service.name}` before, cooling down until {until_us} us", until_us)


def _check_autonomy(entry: Entry, case: Case, on_service: str) -> None:
    """Refuses what the policy is known to deny whatever its bundles say. Raises `DoesNotApplyError`."""
    level = case.autonomies.get(on_service)
    only_observed = entry.only_observed
    if level is not None and level.remedy_digest == entry.digest:
        only_observed = level.autonomy == Autonomy.OBSERVE
    if only_observed:
        raise DoesNotApplyError(f"it is only observed on `{case.service.name}`: its autonomy is `observe`")
