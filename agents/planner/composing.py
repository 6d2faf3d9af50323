"""Plans for a remedy with a goal: what the search is given, and the steps that its answer becomes.

What takes part follows from the service: operators whose target the service has, whose state is known, and all of
whose variables have a value. A constraint takes part when it names a variable that one of these may change, or none
that the catalogue declares; all that it names must then be known, like all that the goal names.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from autopilot.agents.planner.case import Case, DoesNotApplyError, Values
from autopilot.agents.planner.catalogue import Compiled, Entry, Found, Frame, Rating
from autopilot.agents.planner.incident import Signal
from autopilot.agents.planner.search import Answer, Operation, Problem, Taken, search
from autopilot.agents.planner.steps import (
    Composed,
    Outline,
    Sketch,
    check_known,
    instances_of,
    known_values,
    sketch,
    why_unknown,
)
from autopilot.agents.planner.variables import Target
from autopilot.policies.expression import Value
from autopilot.schemas.events.planner import RiskClass

RISKS = (RiskClass.LOW, RiskClass.MEDIUM, RiskClass.HIGH, RiskClass.DANGEROUS)
"""Least first."""


@dataclass
class _Usable:
    """An operator that the service has the target for."""

    compiled: Compiled
    target: Target
    case: Case
    signal: Signal

    @property
    def fixed(self) -> Values:
        """The variables that no operator changes, as it sees them."""
        return self.case.values(self.signal, self.target)

    @property
    def seen(self) -> tuple[Value, ...]:
        """What it sees of the variables that no operator changes."""
        if not self.compiled.looks_at:
            return ()
        fixed = self.fixed
        return tuple([fixed[name] for name in self.compiled.looks_at])


@dataclass
class _Setting:
    """A search as it is put: what takes part, from where."""

    operators: Sequence[Compiled]
    """Those that the service has the target for."""
    unusable: Sequence[str]
    """Why each of the others cannot be used."""
    frame: Frame
    known: Values
    case: Case
    signal: Signal

    @property
    def usable(self) -> list[_Usable]:
        """The operators, each with its target."""
        return [_Usable(one, self.case.target(one.place), self.case, self.signal) for one in self.operators]

    @property
    def start(self) -> Mapping[str, Value]:
        """The state that the search starts from."""
        return {name: self.known[name] for name in self.frame.state}

    @property
    def fixed(self) -> Values:
        """The variables that no operator changes, as goal and constraints see them."""
        return self.case.values(self.signal, None)


def composed(entry: Entry, case: Case, signal: Signal) -> Composed:
    """The cheapest plan that reaches the remedy's goal. Raises `DoesNotApplyError` and `ExpressionError`."""
    setting = _setting(entry, case, signal)
    key = _key(setting)
    found = entry.answers.get(key)
    if found is None:
        found = entry.keep(key, _found(entry, setting, search(_problem(entry, setting))))
    if not found.operators:
        unusable = "".join(f"; {why}" for why in setting.unusable)
        raise DoesNotApplyError(f"{found.answer.why_not}{unusable}")
    return Composed(found.rating, entry.means.variables, case, partial(_outline, entry, setting, found.answer))


def worst(classes: Iterable[RiskClass]) -> RiskClass:
    """The worst of some risk classes."""
    return max(classes, key=RISKS.index)


def _setting(entry: Entry, case: Case, signal: Signal) -> _Setting:
    known = known_values(entry.means, case)
    if entry.precondition.names:
        check_known([name for name in entry.guarded_by if name not in known], entry.means.variables)
    if not entry.precondition.evaluate({**known, **case.values(signal, None)} if entry.precondition.names else known):
        raise DoesNotApplyError(f"its precondition `{entry.remedy.precondition}` does not hold")
    if known.keys() >= entry.wanted and case.finds_all(entry.operator_places):
        return _Setting(entry.operators, (), entry.whole, known, case, signal)
    usable, unusable = _usable(entry, case, known)
    frame = entry.frame(usable)
    check_known([name for name in frame.needed if name not in known], entry.means.variables)
    return _Setting(usable, unusable, frame, known, case, signal)


def _usable(entry: Entry, case: Case, known: Values) -> tuple[tuple[Compiled, ...], list[str]]:
    usable: list[Compiled] = []
    unusable: list[str] = []
    for one in entry.operators:
        target = case.found(one.place)
        unknown = [name for name in one.reads_in_order if name not in known]
        if isinstance(target, str):
            unusable.append(f"`{one.operator.name}` cannot be used: {target}")
        elif unknown:
            unusable.append(f"`{one.operator.name}` cannot be used: {why_unknown(unknown[0], entry.means.variables)}")
        else:
            usable.append(one)
    return tuple(usable), unusable


def _key(setting: _Setting) -> tuple[object, ...]:
    """All that the answer depends on, besides the remedy and what it rests on."""
    frame, known = setting.frame, setting.known
    fixed = setting.fixed if frame.looks_at else {}
    operators = tuple([one.seen for one in setting.usable]) if frame.operators_look else ()
    return frame.operators, operators, frame.state_of(known), tuple([fixed[name] for name in frame.looks_at])


def _problem(entry: Entry, setting: _Setting) -> Problem:
    usable = setting.usable
    operations = [
        Operation(
            name=one.compiled.operator.name,
            cost=one.compiled.operator.cost,
            precondition=one.compiled.precondition,
            effects=one.compiled.effects,
            gate_effects=one.compiled.gate_effects,
            fixed=one.fixed,
        )
        for one in usable
    ]
    constraints, most = setting.frame.constraints, entry.remedy.max_steps
    return Problem(setting.start, entry.goal, operations, constraints, setting.fixed, most)


def _found(entry: Entry, setting: _Setting, answer: Answer) -> Found:
    usable = {one.operator.name: one for one in setting.operators}
    path = tuple(usable[taken.name] for taken in answer.taken)
    return Found(
        answer=answer,
        operators=path,
        rating=Rating(
            risk_class=worst([entry.remedy.risk_class, *(one.operator.risk_class for one in path)]),
            cost=sum(one.operator.cost for one in path),
            reversible=all(_reversible(entry, one) for one in path),
        ),
    )


def _outline(entry: Entry, setting: _Setting, answer: Answer) -> Outline:
    usable = {one.compiled.operator.name: one for one in setting.usable}
    path = [(usable[taken.name], taken) for taken in answer.taken]
    blasts = [instances_of(one.compiled.blast_radius, {**one.fixed, **taken.before}) for one, taken in path]
    return Outline(_sketches(entry, setting, path), max(blasts), path[0][0].target)


def _reversible(entry: Entry, compiled: Compiled) -> bool:
    """Whether it has a compensation, or changes nothing that is declared state."""
    operator = compiled.operator
    lasting = any(entry.means.variables[name].key for name in compiled.changes)
    return operator.reversible and (operator.compensation is not None or not lasting)


def _sketches(entry: Entry, setting: _Setting, path: Sequence[tuple[_Usable, Taken]]) -> list[Sketch]:
    """The steps; the first at each target expects what the plan looked at there and no earlier step has changed."""
    names = frozenset(_names(entry, setting, path))
    sketches: list[Sketch] = []
    touched: set[str] = set()
    for one, taken in path:
        looked_at = () if one.target.key in touched else names
        sketches.append(sketch(one.compiled.instruction, one.target, {**one.fixed, **taken.before}, looked_at))
        touched.add(one.target.key)
        names -= one.compiled.changes
    return sketches


def _names(entry: Entry, setting: _Setting, path: Sequence[tuple[_Usable, Taken]]) -> Iterator[str]:
    """Every name that the goal, the constraints and the operators of the plan mention."""
    yield from entry.goal.names
    for constraint in setting.frame.constraints:
        yield from constraint.holds.names
    for one, _ in path:
        yield from one.compiled.reads
        yield from one.compiled.mentions
