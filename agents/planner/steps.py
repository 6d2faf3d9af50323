"""Steps of a plan, calculated from steps and operators of the catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autopilot.agents.planner.case import Case, DoesNotApplyError, Values
from autopilot.agents.planner.catalogue import Entry, Place, place_of
from autopilot.agents.planner.incident import Signal
from autopilot.agents.planner.variables import DECLARED_STATE, Target, value_of
from autopilot.policies.expression import Environment, Value
from autopilot.schemas.configuration import (
    RemedyAction,
    RemedyGate,
    RemedyOperator,
    RemedyStep,
    RemedyVariable,
)
from autopilot.schemas.events.planner import REVERT, Action, RiskClass, StageGate, Step
from autopilot.schemas.events.telemetry import Group

CANARY, CONTROL = "canary", "control"


@dataclass(frozen=True)
class Composed:
    """The steps of a plan and what they amount to."""

    steps: list[Step]
    risk_class: RiskClass
    cost: int
    reversible: bool
    instances: int
    """Most instances that are touched at once."""
    capacity: int
    """Instances of the service: as many as are declared, or as run at the first step's target if these are more."""


def fixed(entry: Entry, case: Case, signal: Signal) -> Composed:
    """The steps that the remedy itself lists. Raises `DoesNotApplyError` and `ExpressionError`."""
    remedy, environment = entry.remedy, entry.means.environment
    targets = {place: case.target(*place) for place in dict.fromkeys(map(place_of, remedy.steps))}
    declared = _declared(entry, case)
    values = {place: {**declared, **case.values(signal, target)} for place, target in targets.items()}
    first = place_of(remedy.steps[0])
    if not environment.compile(remedy.precondition, bool).evaluate(values[first]):
        raise DoesNotApplyError(f"its precondition `{remedy.precondition}` does not hold")
    return Composed(
        steps=list(_steps(entry, case, targets, values)),
        risk_class=remedy.risk_class,
        cost=remedy.cost,
        reversible=remedy.reversible,
        instances=instances_of(environment, remedy.blast_radius_instances, values[first]),
        capacity=max(case.service.instances, targets[first].number("running")),
    )


def known_values(variables: Mapping[str, RemedyVariable], case: Case) -> dict[str, Value]:
    """The declared variables that have a value for the case's service."""
    states: dict[Place, Mapping[str, str]] = {}
    values: dict[str, Value] = {}
    for name, variable in variables.items():
        place = place_of(variable)
        if place not in states:
            states[place] = case.state(*place)
        value = value_of(variable, states[place])
        if value is not None:
            values[name] = value
    return values


def check_known(missing: Sequence[str], variables: Mapping[str, RemedyVariable]) -> None:
    """Refuses when a variable has no value. Raises `DoesNotApplyError`."""
    for name in missing:
        variable = variables[name]
        role = f" with role `{variable.role}`" if variable.role else ""
        where = f"target of driver `{variable.driver}`{role}"
        raise DoesNotApplyError(f"`{name}` is not known: no {where} states `{variable.key}` as {variable.type}")


def step_of(
    number: int,
    written: RemedyStep | RemedyOperator,
    target: Target,
    values: Values,
    environment: Environment,
    expected: dict[str, str],
) -> Step:
    """One step, calculated."""
    name, action = _named(written)
    step_id = f"{number}-{name}"
    return Step(
        step_id=step_id,
        action=_action(action, target, values, environment),
        compensation=_compensation(written, step_id, target, values, environment),
        timeout_ms=written.timeout_ms,
        max_attempts=written.max_attempts,
        settle_ms=written.settle_ms,
        expected=expected,
        gate=_gate(written.gate) if written.gate else None,
    )


def instances_of(environment: Environment, source: str, values: Values) -> int:
    """How many instances a blast radius comes to. Raises `DoesNotApplyError` when it is negative."""
    instances = int(environment.compile(source, int).evaluate(values))
    if instances < 0:
        raise DoesNotApplyError(f"its blast radius `{source}` gives {instances} instances")
    return instances


def looked_at(
    names: Iterable[str], variables: Mapping[str, RemedyVariable], target: Target, case: Case
) -> dict[str, str]:
    """The part of a target's declared state that expressions with these names looked at."""
    keys = {DECLARED_STATE[name] for name in names if name in DECLARED_STATE}
    for name in names:
        variable = variables.get(name)
        if variable is not None and variable.key and case.is_at(target, *place_of(variable)):
            keys.add(variable.key)
    return {key: target.state[key] for key in sorted(keys) if key in target.state}


def _declared(entry: Entry, case: Case) -> Values:
    """The declared variables that the remedy mentions. Raises `DoesNotApplyError` when one is not known."""
    variables = entry.means.variables
    wanted = {name: variables[name] for name in sorted(entry.names) if name in variables}
    known = known_values(wanted, case) if wanted else {}
    check_known(sorted(wanted.keys() - known.keys()), variables)
    return known


def _steps(entry: Entry, case: Case, targets: Mapping[Place, Target], values: Mapping[Place, Values]) -> Iterable[Step]:
    """The steps; the first at each target expects the state that the remedy's expressions looked at."""
    touched: set[str] = set()
    for number, step in enumerate(entry.remedy.steps, start=1):
        place = place_of(step)
        target = targets[place]
        names = () if target.key in touched else entry.names_at[place]
        expected = looked_at(names, entry.means.variables, target, case)
        touched.add(target.key)
        yield step_of(number, step, target, values[place], entry.means.environment, expected)


def _named(written: RemedyStep | RemedyOperator) -> tuple[str, RemedyAction]:
    if isinstance(written, RemedyStep):
        return written.id, written.action
    return written.name, RemedyAction(verb=written.verb, parameters=written.parameters)


def _action(action: RemedyAction, target: Target, values: Values, environment: Environment) -> Action:
    parameters = {
        name: str(environment.compile(source, str).evaluate(values)) for name, source in action.parameters.items()
    }
    return Action(driver=target.driver, verb=action.verb, target=target.target, parameters=parameters)


def _compensation(
    written: RemedyStep | RemedyOperator, step_id: str, target: Target, values: Values, environment: Environment
) -> Action | None:
    undo = written.compensation
    if isinstance(undo, RemedyAction):
        return _action(undo, target, values, environment)
    if undo is None:
        return None
    return Action(driver=target.driver, verb=REVERT, target=target.target, parameters={"step": step_id})


def _gate(gate: RemedyGate) -> StageGate:
    groups = [Group(name=CANARY, attributes=gate.canary), Group(name=CONTROL, attributes=gate.control)]
    return StageGate(
        slo_names=gate.slo_names,
        guard_metrics=gate.guard_metrics,
        settle_ms=gate.settle_ms,
        after_ms=gate.after_ms,
        deadline_ms=gate.deadline_ms,
        groups=groups if gate.canary and gate.control else [],
    )
