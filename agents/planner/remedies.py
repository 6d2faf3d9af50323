"""Which remedies of the catalogue apply to a case, and which one is best.

A remedy applies when it answers one of the suspect's signals (by kind and by what is measured), may be proposed at all
(its autonomy), was not tried on it in this incident, did not just fail to last, is not cooling down, finds a target of
each step's driver whose state is known, its precondition holds and, where it has a goal, a plan reaches it. Those that
apply are ranked by expected benefit, then by risk class, cost and name. An expression that fails makes its remedy not
apply and says why; it never raises.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from autopilot.agents.planner.benefit import expected_benefit
from autopilot.agents.planner.case import Case, DoesNotApplyError
from autopilot.agents.planner.catalogue import Entry, Rating
from autopilot.agents.planner.composing import RISKS, composed
from autopilot.agents.planner.confidence import Tally, posterior
from autopilot.agents.planner.incident import Signal
from autopilot.agents.planner.proposal import Proposal, Standing
from autopilot.agents.planner.steps import Composed, fixed
from autopilot.policies.expression import ExpressionError
from autopilot.schemas.configuration import Autonomy
from autopilot.schemas.events.planner import Alternative, ConfidenceBasis

_NO_OUTCOMES = Tally()
Answerable = tuple[Signal, str, Sequence[str]]
"""A signal, the context that outcomes are counted for, and the keys under which remedies are remembered there."""


class Candidate(NamedTuple):
    """A remedy that applies: by their standings candidates are ranked."""

    standing: Standing
    entry: Entry
    context: str
    tally: Tally
    composed: Composed


@dataclass(frozen=True)
class Choice:
    """What a search found: the best, all that apply in the order of their standings, and why the others do not."""

    best: Proposal | None
    standings: Sequence[Standing]
    rejected: list[Alternative]
    retry_at_us: int
    """Earliest end of a cooldown that stands in the way; 0 for none."""

    @cached_property
    def alternatives(self) -> list[Alternative]:
        """What is said of all but the best."""
        best, *others = self.standings
        return [*(surpassed(best, other) for other in others), *self.rejected]


def choose(case: Case, remedies: Sequence[Entry], keys: Mapping[str, Sequence[str]]) -> Choice:
    """Every remedy judged for the case; of those that rank first, the first one whose steps can be calculated leads.

    `keys` has those under which the remedies are remembered, by service and by context, in the order of the remedies.
    """
    ranked: list[Candidate] = []
    rejected: list[Alternative] = []
    ends: list[int] = []
    on_service = keys[case.service.name]
    signals = [(signal, context, keys[context]) for signal in case.signals for context in (case.context(signal),)]
    for number, entry in enumerate(remedies):
        try:
            signal, context, in_context = _answered(entry, signals)
            ranked.append(_candidate(entry, case, signal, context, on_service[number], in_context[number]))
        except DoesNotApplyError as why:
            rejected.append(_rejected(entry.name, why))
            ends += [why.until_us] if why.until_us else []
        except ExpressionError as error:
            rejected.append(_rejected(entry.name, error))
    ranked.sort()
    best: Proposal | None = None
    while ranked and best is None:
        try:
            best = _proposal(ranked[0])
        except (DoesNotApplyError, ExpressionError) as why:
            rejected.append(_rejected(ranked.pop(0).entry.name, why))
    standings = [one.standing for one in ranked]
    return Choice(best, standings, sorted(rejected, key=lambda one: one.remedy), min(ends, default=0))


def _proposal(leading: Candidate) -> Proposal:
    """Everything that a plan of the candidate says. Raises `DoesNotApplyError` and `ExpressionError`."""
    standing, entry, context, tally, made = leading
    successes, failures = entry.priors
    return Proposal(
        entry=entry,
        standing=standing,
        rating=made.rating,
        basis=ConfidenceBasis(
            context=context,
            prior_successes_milli=successes,
            prior_failures_milli=failures,
            verified=tally.verified,
            rejected=tally.rejected,
            mean_bp=standing.mean_bp,
        ),
        steps=made.steps,
        instances=made.outline.instances,
        capacity=made.capacity,
    )


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


def _candidate(entry: Entry, case: Case, signal: Signal, context: str, on_service: str, in_context: str) -> Candidate:
    """The remedy as an answer to the signal. Raises `DoesNotApplyError` and `ExpressionError`.

    `on_service` and `in_context` are the keys of its use on the service and in the signal's context.
    """
    if entry.only_observed or on_service in case.autonomies:
        _check_autonomy(entry, case, on_service)
    if on_service in case.incident.tried or on_service in case.used_at_us or in_context in case.ended_at_us:
        _check_history(entry, case, context, on_service, in_context)
    made = composed(entry, case, signal) if entry.has_goal else fixed(entry, case, signal)
    tally = case.tallies.get(in_context, _NO_OUTCOMES)
    standing = _standing(entry.name, *entry.priors, tally.verified, tally.rejected, signal.severity, made.rating)
    return Candidate(standing, entry, context, tally, made)


@lru_cache(maxsize=4_096)
def _standing(
    remedy: str, successes_milli: int, failures_milli: int, verified: int, rejected: int, severity: str, rating: Rating
) -> Standing:
    """Where a remedy ranks, by its prior, its outcomes in the context, what is at stake and what a plan of it is."""
    sure = posterior(successes_milli, failures_milli, Tally(verified, rejected))
    benefit = expected_benefit(sure.bound_bp, severity, rating.cost, rating.risk_class)
    return Standing(-benefit, RISKS.index(rating.risk_class), rating.cost, remedy, sure.bound_bp, sure.mean_bp)


def _answered(entry: Entry, signals: Sequence[Answerable]) -> Answerable:
    """The most urgent signal that the remedy answers. Raises `DoesNotApplyError`."""
    for answerable in signals:
        signal = answerable[0]
        if signal.kind in entry.kinds and (not entry.slis or signal.sli in entry.slis):
            return answerable
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
