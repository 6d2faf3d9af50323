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

from autopilot.agents.planner.benefit import expected_benefit
from autopilot.agents.planner.case import Case, DoesNotApplyError, answered, attempt_key, check_history
from autopilot.agents.planner.catalogue import Entry
from autopilot.agents.planner.composing import RISKS, composed
from autopilot.agents.planner.confidence import Posterior, Tally, posterior
from autopilot.agents.planner.incident import Signal
from autopilot.agents.planner.steps import Composed, fixed
from autopilot.policies.expression import ExpressionError
from autopilot.schemas.configuration import Autonomy, Remedy
from autopilot.schemas.events.planner import Alternative, RiskClass, Step
from autopilot.schemas.identity import digest_of

_NO_OUTCOMES = Tally()


@dataclass
class Candidate:
    """A remedy that applies, with everything that a plan of it would say."""

    remedy: Remedy
    digest: str
    context: str
    composed: Composed
    tally: Tally
    posterior: Posterior
    benefit: int
    """What it is expected to be worth, in points."""

    @property
    def rank(self) -> tuple[int, int, int, str]:
        """Sorts the best first."""
        return -self.benefit, RISKS.index(self.risk_class), self.composed.cost, self.remedy.name

    @property
    def steps(self) -> list[Step]:
        """What it would do."""
        return self.composed.steps

    @property
    def risk_class(self) -> RiskClass:
        """The risk class of the plan."""
        return self.composed.risk_class

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


def choose(case: Case, remedies: Sequence[Entry]) -> Choice:
    """Every remedy judged for the case; of those that rank first, the first one whose steps can be calculated leads."""
    ranked: list[Candidate] = []
    rejected: list[Alternative] = []
    ends: list[int] = []
    for entry in remedies:
        try:
            ranked.append(_candidate(entry, case))
        except DoesNotApplyError as why:
            rejected.append(_rejected(entry.remedy, why))
            ends += [why.until_us] if why.until_us else []
        except ExpressionError as error:
            rejected.append(_rejected(entry.remedy, error))
    ranked.sort(key=lambda one: one.rank)
    while ranked and (fault := ranked[0].composed.fault()):
        rejected.append(_rejected(ranked.pop(0).remedy, fault))
    return Choice(ranked, sorted(rejected, key=lambda one: one.remedy), min(ends, default=0))


def _rejected(remedy: Remedy, why: Exception) -> Alternative:
    error = isinstance(why, ExpressionError)
    return alternative(remedy.name, 0, f"error: {' '.join(str(why).split())}" if error else str(why))


@lru_cache(maxsize=4_096)
def alternative(remedy: str, confidence_bp: int, why_not: str) -> Alternative:
    """What is said of a remedy that is not chosen. The same is said of most services, so it is made once."""
    return Alternative(remedy=remedy, confidence_bp=confidence_bp, why_not=why_not)


def why_not_chosen(best: Candidate, other: Candidate) -> str:
    """Why `other`, which applies, ranks below `best`."""
    name = best.remedy.name
    if other.benefit != best.benefit:
        return f"{_lesser(best, other)} than `{name}`: expected benefit {other.benefit}, against {best.benefit}"
    if other.risk_class != best.risk_class:
        return f"as much benefit as `{name}`, with risk class {other.risk_class}"
    if other.composed.cost != best.composed.cost:
        return f"as much benefit and as safe as `{name}`, at a higher cost"
    return f"equal to `{name}`; the name decides"


def _lesser(best: Candidate, other: Candidate) -> str:
    """The first thing in which `other` is worse."""
    if other.posterior.bound_bp < best.posterior.bound_bp:
        return "lower confidence"
    if RISKS.index(other.risk_class) > RISKS.index(best.risk_class):
        return "higher risk"
    return "higher cost" if other.composed.cost > best.composed.cost else "less at stake"


def _candidate(entry: Entry, case: Case) -> Candidate:
    remedy = entry.remedy
    signal = answered(remedy, case.signals)
    on_service = attempt_key(remedy.name, case.service.name)
    _check_autonomy(entry, case, on_service)
    context = case.context(signal)
    in_context = attempt_key(remedy.name, context)
    check_history(remedy, case, context, on_service, in_context)
    made = composed(entry, case, signal) if remedy.goal else fixed(entry, case, signal)
    tally = case.tallies.get(in_context, _NO_OUTCOMES)
    return _judged(entry, signal, context, made, tally)


def _judged(entry: Entry, signal: Signal, context: str, made: Composed, tally: Tally) -> Candidate:
    remedy = entry.remedy
    sure = posterior(remedy.prior_successes_milli, remedy.prior_failures_milli, tally)
    return Candidate(
        remedy=remedy,
        digest=entry.digest,
        context=context,
        composed=made,
        tally=tally,
        posterior=sure,
        benefit=expected_benefit(sure.bound_bp, signal.severity, made.cost, made.risk_class),
    )


def _check_autonomy(entry: Entry, case: Case, on_service: str) -> None:
    """Refuses what the policy is known to deny whatever its bundles say. Raises `DoesNotApplyError`."""
    level = case.autonomies.get(on_service)
    now = level.autonomy if level is not None and level.remedy_digest == entry.digest else entry.remedy.autonomy
    if now == Autonomy.OBSERVE:
        raise DoesNotApplyError(f"it is only observed on `{case.service.name}`: its autonomy is `observe`")
