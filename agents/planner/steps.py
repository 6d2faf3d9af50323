"""Steps of a plan, calculated from steps and operators of the catalogue."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from autopilot.agents.planner.case import Case, DoesNotApplyError, Place, Values
from autopilot.agents.planner.catalogue import Entry, Instruction, Means, Rating, place_of
from autopilot.agents.planner.incident import Signal
from autopilot.agents.planner.variables import DECLARED_STATE, Target
from autopilot.policies.expression import Expression
from autopilot.schemas.configuration import RemedyAction, RemedyGate, RemedyStep, RemedyVariable
from autopilot.schemas.events.planner import REVERT, Action, StageGate, Step
from autopilot.schemas.events.telemetry import Group

CANARY, CONTROL = "canary", "control"


@dataclass(frozen=True)
class Sketch:
    """A step of a plan as far as it decides whether the plan is possible: all that can fail is calculated."""

    instruction: Instruction
    target: Target
    parameters: dict[str, str]
    undo: dict[str, str]
    names: Collection[str]
    """The names that were looked at at its target, if it is the first step there."""


@dataclass(frozen=True)
class Outline:
    """What a plan does and how many instances it touches at once."""

    sketches: Sequence[Sketch]
    instances: int
    first: Target
    """Where the first step acts."""


@dataclass
class Composed:
    """A plan as far as its rank needs it; the rest is calculated when it is asked for, and only then can fail."""

    rating: Rating
    variables: Mapping[str, RemedyVariable]
    case: Case
    calculate: Callable[[], Outline]

    @cached_property
    def outline(self) -> Outline:
        """The plan in outline. Raises `DoesNotApplyError` and `ExpressionError`."""
        return self.calculate()

    @property
    def capacity(self) -> int:
        """Instances of the service: as many as are declared, or as run at the first step's target if that is more."""
        return max(self.case.service.instances, self.outline.first.number("running"))

    @cached_property
    def steps(self) -> list[Step]:
        """The steps of the plan. Raises as `outline` does."""
        return [_step(number, one, self) for number, one in enumerate(self.outline.sketches, start=1)]


def fixed(entry: Entry, case: Case, signal: Signal) -> Composed:
    """The steps that the remedy itself lists. Raises `DoesNotApplyError` and `ExpressionError`."""
    targets = [case.target(place) for place in entry.places]
    declared = _declared(entry, case) if entry.mentioned else {}
    values = case.values(signal, targets[0])
    if not entry.precondition.evaluate({**declared, **values} if declared else values):
        raise DoesNotApplyError(f"its precondition `{entry.remedy.precondition}` does not hold")
    calculate = partial(_outline, entry, case, signal, targets, declared)
    return Composed(entry.rating, entry.means.variables, case, calculate)


def _outline(entry: Entry, case: Case, signal: Signal, found: Sequence[Target], declared: Values) -> Outline:
    targets = dict(zip(entry.places, found, strict=True))
    values = {place: {**declared, **case.values(signal, target)} for place, target in targets.items()}
    instances = instances_of(entry.blast_radius, values[entry.places[0]])
    return Outline(_sketches(entry, targets, values), instances, targets[entry.places[0]])


def known_values(means: Means, case: Case) -> Values:
    """The catalogue's variables that have a value for the case's service."""
    known = case.declared.get(id(means))
    if known is None:
        known = {}
        for place, readings in means.readings_at:
            state = case.state(place)
            for reading in readings:
                value = reading.value(state)
                if value is not None:
                    known[reading.name] = value
        case.declared[id(means)] = known
    return known


def check_known(missing: Sequence[str], variables: Mapping[str, RemedyVariable]) -> None:
    """Refuses when a variable has no value. Raises `DoesNotApplyError`."""
    if missing:
        raise DoesNotApplyError(why_unknown(missing[0], variables))


def why_unknown(name: str, variables: Mapping[str, RemedyVariable]) -> str:
    """What is missing for a variable to have a value."""
    variable = variables[name]
    role = f" with role `{variable.role}`" if variable.role else ""
    where = f"target of driver `{variable.driver}`{role}"
    return f"`{name}` is not known: no {where} states `{variable.key}` as {variable.type}"


def sketch(instruction: Instruction, target: Target, values: Values, names: Collection[str]) -> Sketch:
    """A step, calculated. Raises `ExpressionError`."""
    return Sketch(
        instruction,
        target,
        {name: str(source.evaluate(values)) for name, source in instruction.parameters},
        {name: str(source.evaluate(values)) for name, source in instruction.undo},
        names,
    )


def instances_of(blast_radius: Expression, values: Values) -> int:
    """How many instances a blast radius comes to. Raises `DoesNotApplyError` when it is negative."""
    instances = int(blast_radius.evaluate(values))
    if instances < 0:
        raise DoesNotApplyError(f"its blast radius `{blast_radius.source}` gives {instances} instances")
    return instances


def _declared(entry: Entry, case: Case) -> Values:
    """The declared variables that the remedy mentions. Raises `DoesNotApplyError` when one is not known."""
    known = known_values(entry.means, case)
    check_known([name for name in entry.mentioned if name not in known], entry.mentioned)
    return {name: known[name] for name in entry.mentioned}


def _sketches(entry: Entry, targets: Mapping[Place, Target], values: Mapping[Place, Values]) -> list[Sketch]:
    """The steps; the first at each target expects the state that the remedy's expressions looked at."""
    touched: set[str] = set()
    sketches: list[Sketch] = []
    for instruction in entry.instructions:
        place = place_of(instruction.written)
        target = targets[place]
        names = () if target.key in touched else entry.names_at[place]
        touched.add(target.key)
        sketches.append(sketch(instruction, target, values[place], names))
    return sketches


def _step(number: int, one: Sketch, plan: Composed) -> Step:
    written, target = one.instruction.written, one.target
    step_id = f"{number}-{written.id if isinstance(written, RemedyStep) else written.name}"
    return Step(
        step_id=step_id,
        action=Action(driver=target.driver, verb=one.instruction.verb, target=target.target, parameters=one.parameters),
        compensation=_compensation(one, step_id),
        timeout_ms=written.timeout_ms,
        max_attempts=written.max_attempts,
        settle_ms=written.settle_ms,
        expected=_looked_at(one, plan),
        gate=_gate(written.gate) if written.gate else None,
    )


def _looked_at(one: Sketch, plan: Composed) -> dict[str, str]:
    """The part of the target's declared state that was looked at."""
    keys = {DECLARED_STATE[name] for name in one.names if name in DECLARED_STATE}
    for name in one.names:
        variable = plan.variables.get(name)
        if variable is not None and variable.key and plan.case.is_at(one.target, place_of(variable)):
            keys.add(variable.key)
    return {key: one.target.state[key] for key in sorted(keys) if key in one.target.state}


def _compensation(one: Sketch, step_id: str) -> Action | None:
    undo, target = one.instruction.written.compensation, one.target
    if undo is None:
        return None
    if isinstance(undo, RemedyAction):
        return Action(driver=target.driver, verb=undo.verb, target=target.target, parameters=one.undo)
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
