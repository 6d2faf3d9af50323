"""Which remedies of the catalogue apply to a case, and which one is best.

A remedy applies when it answers one of the suspect's signals (by kind and by what is measured), was not tried on it in
this incident, is not cooling down, finds a target of each step's driver whose state is known, and its precondition
holds. Those that apply are ranked by the lower bound of their posterior, then by risk class, cost and name. An
expression that fails makes its remedy not apply and says why; it never raises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from autopilot.agents.planner.confidence import Posterior, Tally, posterior
from autopilot.agents.planner.incident import Incident, Signal
from autopilot.agents.planner.variables import DECLARED_STATE, ENVIRONMENT, Target, target_key, values_of
from autopilot.policies.cel_engine import names_in
from autopilot.policies.expression import Expression, ExpressionError, Value
from autopilot.schemas.configuration import Remedy, RemedyAction, RemedyStep, Service, canonical
from autopilot.schemas.events.planner import Action, Alternative, RiskClass, Step
from autopilot.schemas.identity import digest_of

RISKS = (RiskClass.LOW, RiskClass.MEDIUM, RiskClass.HIGH, RiskClass.DANGEROUS)
"""Least first."""

Values = Mapping[str, Value]


@dataclass(frozen=True)
class Case:
    """What a remedy is sought for."""

    incident: Incident
    signals: Sequence[Signal]
    """The suspect's raised signals, most urgent first."""
    service: Service
    targets: Mapping[str, Target]
    tallies: Mapping[str, Tally]
    used_at_us: Mapping[str, int]
    now_us: int


@dataclass(frozen=True)
class Candidate:
    """A remedy that applies, with everything that a plan of it would say."""

    remedy: Remedy
    digest: str
    context: str
    steps: list[Step]
    instances: int
    blast_radius_bp: int
    tally: Tally
    posterior: Posterior

    @property
    def rank(self) -> tuple[int, int, int, str]:
        """Sorts the best first."""
        remedy = self.remedy
        return -self.posterior.bound_bp, RISKS.index(remedy.risk_class), remedy.cost, remedy.name

    @property
    def steps_digest(self) -> str:
        """Digest of the steps with all that was calculated for them."""
        return digest_of(canonical([step.model_dump(mode="json") for step in self.steps]))

    @property
    def targets(self) -> tuple[str, ...]:
        """The keys of the targets that its steps touch."""
        touched = (target_key(step.action.driver, step.action.target) for step in self.steps)
        return tuple(dict.fromkeys(touched))


@dataclass(frozen=True)
class Choice:
    """What a search found: the best first, and why the others do not apply."""

    ranked: list[Candidate]
    rejected: list[Alternative]
    retry_at_us: int
    """Earliest end of a cooldown that stands in the way; 0 for none."""


class _DoesNotApplyError(Exception):
    def __init__(self, why: str, until_us: int = 0) -> None:
        super().__init__(why)
        self.until_us = until_us


def attempt_key(remedy: str, service: str) -> str:
    """The key under which a remedy's use on a service is remembered."""
    return f"{remedy}@{service}"


def choose(case: Case, remedies: Sequence[tuple[Remedy, str]]) -> Choice:
    """Every remedy judged for the case."""
    ranked: list[Candidate] = []
    rejected: list[Alternative] = []
    ends: list[int] = []
    for remedy, digest in remedies:
        try:
            ranked.append(_candidate(remedy, digest, case))
        except _DoesNotApplyError as why:
            rejected.append(Alternative(remedy=remedy.name, confidence_bp=0, why_not=str(why)))
            ends += [why.until_us] if why.until_us else []
        except ExpressionError as error:
            reason = f"error: {' '.join(str(error).split())}"
            rejected.append(Alternative(remedy=remedy.name, confidence_bp=0, why_not=reason))
    return Choice(sorted(ranked, key=lambda one: one.rank), rejected, min(ends, default=0))


def faults(remedy: Remedy) -> list[str]:
    """What is wrong with the remedy's expressions, for whoever checks a catalogue before it is activated."""
    actions = [action for step in remedy.steps for action in (step.action, step.compensation) if action is not None]
    compile_ = ENVIRONMENT.compile
    compilations = [partial(compile_, remedy.precondition, bool), partial(compile_, remedy.blast_radius_instances, int)]
    compilations += [partial(compile_, source, str) for action in actions for source in action.parameters.values()]
    return [fault for compilation in compilations if (fault := _fault(compilation))]


def _fault(compilation: Callable[[], Expression]) -> str:
    try:
        compilation()
    except ExpressionError as error:
        return " ".join(str(error).split())
    return ""


def why_not_chosen(best: Candidate, other: Candidate) -> str:
    """Why `other`, which applies, ranks below `best`."""
    if other.posterior.bound_bp != best.posterior.bound_bp:
        return f"lower confidence than `{best.remedy.name}`"
    if other.remedy.risk_class != best.remedy.risk_class:
        return f"as sure as `{best.remedy.name}`, with risk class {other.remedy.risk_class}"
    if other.remedy.cost != best.remedy.cost:
        return f"as sure and as safe as `{best.remedy.name}`, at a higher cost"
    return f"equal to `{best.remedy.name}`; the name decides"


def _candidate(remedy: Remedy, digest: str, case: Case) -> Candidate:
    signal = _answered(remedy, case.signals)
    _check_history(remedy, case)
    by_driver = {driver: _target(case, driver) for driver in dict.fromkeys(step.driver for step in remedy.steps)}
    values = {
        driver: values_of(case.incident, signal, case.service, target, case.now_us)
        for driver, target in by_driver.items()
    }
    first = values[remedy.steps[0].driver]
    if not ENVIRONMENT.compile(remedy.precondition, bool).evaluate(first):
        raise _DoesNotApplyError(f"its precondition `{remedy.precondition}` does not hold")
    instances = _instances(remedy, first)
    context = f"{case.service.name}/{signal.sli or signal.kind}"
    tally = case.tallies.get(attempt_key(remedy.name, context), Tally())
    return Candidate(
        remedy=remedy,
        digest=digest,
        context=context,
        steps=_steps(remedy, by_driver, values),
        instances=instances,
        blast_radius_bp=_share_bp(
            instances, max(case.service.instances, by_driver[remedy.steps[0].driver].number("running"))
        ),
        tally=tally,
        posterior=posterior(remedy.prior_successes_milli, remedy.prior_failures_milli, tally),
    )


def _answered(remedy: Remedy, signals: Sequence[Signal]) -> Signal:
    """The most urgent signal that the remedy answers."""
    for signal in signals:
        if signal.kind in remedy.signal_kinds and (not remedy.slis or signal.sli in remedy.slis):
            return signal
    kinds = ", ".join(remedy.signal_kinds)
    slis = ", ".join(remedy.slis) or "anything"
    raise _DoesNotApplyError(f"it answers {kinds} of {slis}, and no such signal is raised")


def _check_history(remedy: Remedy, case: Case) -> None:
    key = attempt_key(remedy.name, case.service.name)
    if key in case.incident.tried:
        raise _DoesNotApplyError(f"tried in this incident: {case.incident.tried[key]}")
    used_at_us = case.used_at_us.get(key)
    if used_at_us is not None and case.now_us < used_at_us + remedy.cooldown_ms * 1000:
        until_us = used_at_us + remedy.cooldown_ms * 1000
        raise _DoesNotApplyError(f"used on `{case.service.name}` before, cooling down until {until_us} us", until_us)


def _target(case: Case, driver: str) -> Target:
    declared = [ref.target for ref in case.service.targets if ref.driver == driver]
    if not declared:
        raise _DoesNotApplyError(f"`{case.service.name}` has no target of driver `{driver}`")
    for target in declared:
        known = case.targets.get(target_key(driver, target))
        if known is not None:
            return known
    raise _DoesNotApplyError(f"the state of target `{target_key(driver, declared[0])}` is not known")


def _instances(remedy: Remedy, values: Values) -> int:
    instances = int(ENVIRONMENT.compile(remedy.blast_radius_instances, int).evaluate(values))
    if instances < 0:
        raise _DoesNotApplyError(f"its blast radius `{remedy.blast_radius_instances}` gives {instances} instances")
    return instances


def _share_bp(instances: int, capacity: int) -> int:
    """Share of the capacity, rounded up: a blast radius is never stated too small."""
    return min(10_000, -(-instances * 10_000 // capacity))


def _steps(remedy: Remedy, by_driver: Mapping[str, Target], values: Mapping[str, Values]) -> list[Step]:
    """The steps; the first at each target expects the state that the remedy's expressions looked at."""
    steps: list[Step] = []
    for number, step in enumerate(remedy.steps, start=1):
        first = all(earlier.action.driver != step.driver for earlier in steps)
        expected = _looked_at(remedy, step.driver, by_driver[step.driver]) if first else {}
        steps.append(_step(number, step, by_driver[step.driver], values[step.driver], expected))
    return steps


def _looked_at(remedy: Remedy, driver: str, target: Target) -> dict[str, str]:
    actions = [a for step in remedy.steps if step.driver == driver for a in (step.action, step.compensation) if a]
    sources = [remedy.precondition, *(source for action in actions for source in action.parameters.values())]
    names = {name for source in sources for name in names_in(source)}
    keys = (DECLARED_STATE[name] for name in sorted(names & DECLARED_STATE.keys()))
    return {key: target.state[key] for key in keys if key in target.state}


def _step(number: int, step: RemedyStep, target: Target, values: Values, expected: dict[str, str]) -> Step:
    undo = step.compensation
    return Step(
        step_id=f"{number}-{step.id}",
        action=_action(step.action, target, values),
        compensation=_action(undo, target, values) if undo else None,
        timeout_ms=step.timeout_ms,
        max_attempts=step.max_attempts,
        settle_ms=step.settle_ms,
        expected=expected,
    )


def _action(action: RemedyAction, target: Target, values: Values) -> Action:
    parameters = {
        name: str(ENVIRONMENT.compile(source, str).evaluate(values)) for name, source in action.parameters.items()
    }
    return Action(driver=target.driver, verb=action.verb, target=target.target, parameters=parameters)
