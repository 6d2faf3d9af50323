"""What is wrong with a remedy catalogue before it is in force: each fault with its place and what to write instead.

Expressions are compiled with the planner's own environment; names are checked against what the catalogue declares; and
what can never come about (a goal that no operator leads to) or has no use is a fault too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

from autopilot.agents.planner.variables import OF_A_TARGET, TYPES, VARIABLES, environment_of
from autopilot.policies.cel_engine import names_in
from autopilot.policies.cel_syntax import Node, OutsideError, parsed
from autopilot.policies.expression import Environment, ExpressionError, Value
from autopilot.schemas.configuration import (
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyGate,
    RemedyOperator,
    RemedyVariable,
)

Loc = tuple[str | int, ...]
_PLACE = re.compile(r"<input>:\d+:(\d+): ([^\n|]*)")
_BUILT_IN = {variable.name for variable in VARIABLES}
_NO_TARGET = "one that is declared for a target: `{}` means nothing here, where no target is meant"


class Fault(NamedTuple):
    """Something wrong: where, the value that is there, and what was expected."""

    loc: Loc
    value: object
    expected: str


class _Asked(NamedTuple):
    """An expression of the catalogue."""

    loc: Loc
    source: str
    gives: type[Value]
    whole: bool
    """Whether it is about a whole plan, so that no single target is meant."""


@dataclass(frozen=True)
class _Catalogue:
    written: RemedyCatalogue
    environment: Environment

    @property
    def variables(self) -> dict[str, RemedyVariable]:
        return {variable.name: variable for variable in self.written.variables}

    def operators_of(self, remedy: Remedy) -> list[RemedyOperator]:
        return [one for one in self.written.operators if not remedy.operators or one.name in remedy.operators]


def faults(catalogue: RemedyCatalogue) -> list[Fault]:
    """Everything that is wrong with the catalogue."""
    checked = _Catalogue(catalogue, environment_of(catalogue.variables))
    return [fault for check in _CHECKS for fault in check(checked)]


def _twice(checked: _Catalogue) -> Iterator[Fault]:
    written = checked.written
    for part in ("variables", "operators", "remedies"):
        yield from _repeated((part,), "name", [one.name for one in getattr(written, part)])
    for i, remedy in enumerate(written.remedies):
        yield from _repeated(("remedies", i, "steps"), "id", [step.id for step in remedy.steps])


def _repeated(loc: Loc, field: str, names: Sequence[str]) -> Iterator[Fault]:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Fault((*loc, i, field), name, "one that is used once")


def _variables(checked: _Catalogue) -> Iterator[Fault]:
    for i, variable in enumerate(checked.written.variables):
        loc: Loc = ("variables", i)
        if variable.name in _BUILT_IN:
            yield Fault((*loc, "name"), variable.name, "a name that none of the planner's own variables has")
        if bool(variable.driver) != bool(variable.key):
            lacks = "key" if variable.driver else "driver"
            expected = f"`{lacks}` as well: a variable has both, or neither when only plans have it"
            yield Fault((*loc, "key" if variable.key else "driver"), variable.key or variable.driver, expected)
        if variable.default is not None and type(variable.default) is not TYPES[variable.type]:
            yield Fault((*loc, "default"), variable.default, f"a value of type {variable.type}")


def _expressions(checked: _Catalogue) -> Iterator[Fault]:
    for asked in _asked(checked):
        try:
            checked.environment.compile(asked.source, asked.gives)
        except ExpressionError as error:
            yield Fault(asked.loc, asked.source, f"an expression{_instead(asked.source, error, checked)}")
            continue
        for name in names_in(asked.source):
            if asked.whole and name in OF_A_TARGET:
                yield Fault(asked.loc, asked.source, _NO_TARGET.format(name))


def _instead(source: str, error: ExpressionError, checked: _Catalogue) -> str:
    """What is wrong with an expression, and which variable may have been meant."""
    place = _PLACE.search(error.reason)
    reason = f"{place[2].strip()}, at character {place[1]}" if place else " ".join(error.reason.split())
    for name in names_in(source):
        if f"'{name}'" in reason and name not in checked.environment.variables:
            return f": `{name}` is no variable{_meant(name, checked.environment.variables)}"
    return f": {reason}"


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean `{close[0]}`" if close else ""


def _asked(checked: _Catalogue) -> Iterator[_Asked]:
    for i, operator in enumerate(checked.written.operators):
        yield from _asked_by_operator(("operators", i), operator, checked.variables)
    for i, constraint in enumerate(checked.written.constraints):
        yield _Asked(("constraints", i, "holds"), constraint.holds, bool, True)
    for i, remedy in enumerate(checked.written.remedies):
        loc: Loc = ("remedies", i)
        yield _Asked((*loc, "precondition"), remedy.precondition, bool, bool(remedy.goal))
        yield from [_Asked((*loc, "goal"), remedy.goal, bool, True)] if remedy.goal else ()
        yield _Asked((*loc, "blast_radius_instances"), remedy.blast_radius_instances, int, bool(remedy.goal))
        for j, step in enumerate(remedy.steps):
            yield from _parameters((*loc, "steps", j, "action"), step.action.parameters)
            if isinstance(step.compensation, RemedyAction):
                yield from _parameters((*loc, "steps", j, "compensation"), step.compensation.parameters)


def _asked_by_operator(loc: Loc, operator: RemedyOperator, variables: dict[str, RemedyVariable]) -> Iterator[_Asked]:
    yield _Asked((*loc, "precondition"), operator.precondition, bool, False)
    yield _Asked((*loc, "blast_radius_instances"), operator.blast_radius_instances, int, False)
    yield from _parameters(loc, operator.parameters)
    if isinstance(operator.compensation, RemedyAction):
        yield from _parameters((*loc, "compensation"), operator.compensation.parameters)
    for part in ("effects", "gate_effects"):
        for name, source in getattr(operator, part).items():
            if name in variables:
                yield _Asked((*loc, part, name), source, TYPES[variables[name].type], False)


def _parameters(loc: Loc, parameters: dict[str, str]) -> Iterator[_Asked]:
    for name, source in parameters.items():
        yield _Asked((*loc, "parameters", name), source, str, False)


def _effects(checked: _Catalogue) -> Iterator[Fault]:
    for i, operator in enumerate(checked.written.operators):
        for part in ("effects", "gate_effects"):
            for name, source in getattr(operator, part).items():
                if name not in checked.variables:
                    own = name in _BUILT_IN
                    meant = "; that one is observed, not changed" if own else _meant(name, checked.variables)
                    yield Fault(("operators", i, part, name), source, f"an effect on a declared variable{meant}")
        if operator.gate_effects and operator.gate is None:
            yield Fault(("operators", i, "gate_effects"), operator.gate_effects, "a `gate` that they follow")
        if not operator.effects and not operator.gate_effects:
            yield Fault(("operators", i), operator.name, "`effects`: without any no goal is ever nearer")


def _gates(checked: _Catalogue) -> Iterator[Fault]:
    for loc, gate in _written_gates(checked.written):
        if bool(gate.canary) != bool(gate.control):
            lacks, has = ("control", "canary") if gate.canary else ("canary", "control")
            expected = f"`{lacks}` as well: two groups are compared, or the time before when neither is there"
            yield Fault((*loc, has), getattr(gate, has), expected)
        if gate.settle_ms + gate.after_ms > gate.deadline_ms:
            expected = f"at least {gate.settle_ms + gate.after_ms}: settling and the window take that long"
            yield Fault((*loc, "deadline_ms"), gate.deadline_ms, expected)


def _written_gates(catalogue: RemedyCatalogue) -> Iterator[tuple[Loc, RemedyGate]]:
    for i, operator in enumerate(catalogue.operators):
        yield from [(("operators", i, "gate"), operator.gate)] if operator.gate else ()
    for i, remedy in enumerate(catalogue.remedies):
        for j, step in enumerate(remedy.steps):
            yield from [(("remedies", i, "steps", j, "gate"), step.gate)] if step.gate else ()


def _goals(checked: _Catalogue) -> Iterator[Fault]:
    names = [operator.name for operator in checked.written.operators]
    for i, remedy in enumerate(checked.written.remedies):
        for j, name in enumerate(remedy.operators):
            if name not in names:
                expected = f"one of {', '.join(names) or 'nothing: there is none'}{_meant(name, names)}"
                yield Fault(("remedies", i, "operators", j), name, expected)
        if remedy.operators and not remedy.goal:
            yield Fault(("remedies", i, "operators"), remedy.operators, "nothing: only a `goal` uses operators")
        if remedy.goal:
            why = _never(remedy, checked)
            yield from (
                [Fault(("remedies", i, "goal"), remedy.goal, f"a goal that can be reached: {why}")] if why else ()
            )


def _never(remedy: Remedy, checked: _Catalogue) -> str:
    """Why no operator ever leads to the goal; empty when that cannot be told."""
    operators = checked.operators_of(remedy)
    changed = {name for operator in operators for name in (*operator.effects, *operator.gate_effects)}
    if changed.isdisjoint(names_in(remedy.goal)):
        return "no operator that it may use changes any of its variables"
    for name, wanted in _wanted(remedy.goal):
        values = _values(name, operators)
        variable = checked.variables.get(name)
        if variable is None or values is None:
            continue
        if not variable.key:
            values.add(TYPES[variable.type]() if variable.default is None else variable.default)
        if wanted not in values and not (variable.key and name not in changed):
            return f"no operator that it may use makes `{name}` {_written(wanted)}"
    return ""


def _wanted(goal: str) -> Iterator[tuple[str, Value]]:
    """The variables that the goal wants to have one value."""
    try:
        ahead = [parsed(goal)]
    except OutsideError:
        return
    while ahead:
        node = ahead.pop(0)
        if node.kind == "binary" and node.text == "&&":
            ahead += node.parts
        elif node.kind == "binary" and node.text == "==":
            for one, other in (node.parts, node.parts[::-1]):
                if one.kind == "name" and other.kind == "value":
                    yield one.text, other.value
        elif node.kind == "name":
            yield node.text, True
        elif node.kind == "unary" and node.text == "!" and node.parts[0].kind == "name":
            yield node.parts[0].text, False


def _values(name: str, operators: Sequence[RemedyOperator]) -> set[Value] | None:
    """The values that the operators give the variable; None when one of them is calculated."""
    values: set[Value] = set()
    for operator in operators:
        for effects in (operator.effects, operator.gate_effects):
            if name in effects:
                node = _node(effects[name])
                if node is None or node.kind != "value":
                    return None
                values.add(node.value)
    return values


def _node(source: str) -> Node | None:
    try:
        return parsed(source)
    except OutsideError:
        return None


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _unused(checked: _Catalogue) -> Iterator[Fault]:
    written = checked.written
    goals = [remedy for remedy in written.remedies if remedy.goal]
    read = {name for asked in _asked(checked) for name in names_in(asked.source)}
    for i, variable in enumerate(written.variables):
        if variable.name not in read:
            expected = "a variable that some expression reads; take it out, or its effects never matter"
            yield Fault(("variables", i), variable.name, expected)
    for i, operator in enumerate(written.operators):
        if not any(not remedy.operators or operator.name in remedy.operators for remedy in goals):
            yield Fault(("operators", i), operator.name, "an operator that some remedy with a `goal` may use")


_CHECKS = (_twice, _variables, _expressions, _effects, _gates, _goals, _unused)
