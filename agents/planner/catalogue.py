"""The remedies in force with what they rest on: each with its digest, and the variables, operators and constraints.

Names are taken in order, so that nothing depends on how a catalogue is arranged; of two of one name the first counts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple, TypeVar

from autopilot.agents.planner.case import Place
from autopilot.agents.planner.search import Answer, Constraint
from autopilot.agents.planner.variables import TYPES, Reading, environment_of, reading_of
from autopilot.policies.cel_engine import names_in
from autopilot.policies.expression import Environment, Expression, Value
from autopilot.schemas.configuration import (
    Autonomy,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyOperator,
    RemedyStep,
    RemedyVariable,
    canonical,
)
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.identity import digest_of

MOST_KEPT = 4_096
Parameters = tuple[tuple[str, Expression], ...]
T = TypeVar("T")


class Rating(NamedTuple):
    """What a plan is ranked by, besides the confidence in its remedy."""

    risk_class: RiskClass
    cost: int
    reversible: bool


@dataclass(frozen=True)
class Means:
    """What the remedies of one catalogue rest on."""

    catalogue: RemedyCatalogue
    environment: Environment

    @cached_property
    def variables(self) -> dict[str, RemedyVariable]:
        """The declared variables, by name."""
        return _first(self.catalogue.variables, lambda one: one.name)

    @cached_property
    def operators(self) -> dict[str, "Compiled"]:
        """The operators, by name. Raises `ExpressionError`."""
        written = _first(self.catalogue.operators, lambda one: one.name)
        return {name: self._compiled(operator) for name, operator in written.items()}

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints, by their text. Raises `ExpressionError`."""
        written = sorted(self.catalogue.constraints, key=lambda one: (one.holds, one.message))
        return tuple(Constraint(self.environment.compile(one.holds, bool), one.message) for one in written)

    @cached_property
    def readings_at(self) -> tuple[tuple[Place, tuple[Reading, ...]], ...]:
        """Where its variables are read, and how at each place."""
        at: dict[Place, list[Reading]] = {}
        for one in self.variables.values():
            at.setdefault(place_of(one), []).append(reading_of(one))
        return tuple((place, tuple(readings)) for place, readings in at.items())

    @cached_property
    def texts(self) -> frozenset[str]:
        """Every text of the catalogue: all its expressions, and what is written for people besides."""
        return frozenset(_texts(self.catalogue.model_dump(mode="json")))

    def declared(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the names that are declared variables."""
        return frozenset(name for name in names if name in self.variables)

    def instruction(self, written: RemedyStep | RemedyOperator, action: RemedyAction) -> "Instruction":
        """The step or operator, compiled. Raises `ExpressionError`."""
        undo = written.compensation
        undo_parameters = undo.parameters if isinstance(undo, RemedyAction) else {}
        return Instruction(written, action.verb, self._parameters(action.parameters), self._parameters(undo_parameters))

    def _parameters(self, written: dict[str, str]) -> Parameters:
        return tuple((name, self.environment.compile(source, str)) for name, source in written.items())

    def _compiled(self, operator: RemedyOperator) -> "Compiled":
        precondition = self.environment.compile(operator.precondition, bool)
        effects, gate_effects = self._effects(operator.effects), self._effects(operator.gate_effects)
        expressions = [precondition, *(effect for _, effect in (*effects, *gate_effects))]
        read = {name for expression in expressions for name in expression.names}
        asked = {name for source in sources_of(operator) for name in names_in(source)}
        action = RemedyAction(verb=operator.verb, parameters=operator.parameters)
        return Compiled(
            operator=operator,
            instruction=self.instruction(operator, action),
            blast_radius=self.environment.compile(operator.blast_radius_instances, int),
            precondition=precondition,
            effects=effects,
            gate_effects=gate_effects,
            reads=self.declared(read | asked),
            looks_at=tuple(sorted(read - self.variables.keys())),
            mentions=frozenset(read | asked),
        )

    def _effects(self, written: dict[str, str]) -> tuple[tuple[str, Expression], ...]:
        known = ((name, source) for name, source in sorted(written.items()) if name in self.variables)
        return tuple(
            (name, self.environment.compile(source, TYPES[self.variables[name].type])) for name, source in known
        )


@dataclass(frozen=True)
class Instruction:
    """A step or an operator with the expressions that are evaluated for a step of a plan."""

    written: RemedyStep | RemedyOperator
    verb: str
    parameters: Parameters
    undo: Parameters
    """Those of the compensation; none when it is no action."""


@dataclass(frozen=True)
class Compiled:
    """An operator with its expressions."""

    operator: RemedyOperator
    instruction: Instruction
    blast_radius: Expression
    precondition: Expression
    effects: tuple[tuple[str, Expression], ...]
    gate_effects: tuple[tuple[str, Expression], ...]
    reads: frozenset[str]
    """The declared variables that it reads."""
    looks_at: tuple[str, ...]
    """The planner's variables that decide when it applies and what it changes."""
    mentions: frozenset[str]
    """Every name that its expressions mention."""

    @cached_property
    def place(self) -> Place:
        """Where it acts."""
        return place_of(self.operator)

    @cached_property
    def reads_in_order(self) -> tuple[str, ...]:
        """The declared variables that it reads, by name."""
        return tuple(sorted(self.reads))

    @cached_property
    def changes(self) -> frozenset[str]:
        """The declared variables that it may change."""
        return frozenset(name for name, _ in (*self.effects, *self.gate_effects))


@dataclass(frozen=True)
class Frame:
    """What takes part in searches for a goal by certain operators."""

    constraints: tuple[Constraint, ...]
    needed: tuple[str, ...]
    """The declared variables that must be known, by name."""
    state: tuple[str, ...]
    """The variables that make up a state, by name."""
    looks_at: tuple[str, ...]
    """The planner's variables that goal and constraints see."""
    operators: tuple[str, ...]
    """Names of the operators."""
    operators_look: bool
    """Whether one of the operators looks at the planner's variables."""

    @cached_property
    def state_of(self) -> Callable[[Mapping[str, Value]], object]:
        """Gives the values that make up a state, as something to look up by."""
        return itemgetter(*self.state) if self.state else lambda _: ()


@dataclass(frozen=True)
class Found:
    """What a search came to, and what its plan is ranked by."""

    answer: Answer
    operators: tuple[Compiled, ...]
    """Those that the plan uses, in order; none when there is no plan."""
    rating: Rating


@dataclass(frozen=True)
class Entry:
    """A remedy in force. `answers` keeps what searches for it came to."""

    remedy: Remedy
    digest: str
    means: Means
    frames: dict[tuple[str, ...], Frame] = field(default_factory=dict, compare=False, repr=False)
    answers: dict[tuple[object, ...], "Found"] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def name(self) -> str:
        """The remedy's name."""
        return self.remedy.name

    @cached_property
    def has_goal(self) -> bool:
        """Whether a plan for it is searched; otherwise it lists its steps."""
        return bool(self.remedy.goal)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of signals that it answers."""
        return frozenset(self.remedy.signal_kinds)

    @cached_property
    def slis(self) -> frozenset[str]:
        """What such a signal may measure; empty for anything."""
        return frozenset(self.remedy.slis)

    @cached_property
    def only_observed(self) -> bool:
        """Whether it is not proposed unless somebody lets it go further."""
        return self.remedy.autonomy == Autonomy.OBSERVE

    @cached_property
    def priors(self) -> tuple[int, int]:
        """Successes and failures of its prior, in thousandths."""
        return self.remedy.prior_successes_milli, self.remedy.prior_failures_milli

    @cached_property
    def rating(self) -> Rating:
        """That of the steps that it lists."""
        return Rating(self.remedy.risk_class, self.remedy.cost, self.remedy.reversible)

    @cached_property
    def precondition(self) -> Expression:
        """When it may be used. Raises `ExpressionError`."""
        return self.means.environment.compile(self.remedy.precondition, bool)

    @cached_property
    def goal(self) -> Expression:
        """What it is to reach. Raises `ExpressionError`."""
        return self.means.environment.compile(self.remedy.goal, bool)

    @cached_property
    def blast_radius(self) -> Expression:
        """How many instances its steps touch. Raises `ExpressionError`."""
        return self.means.environment.compile(self.remedy.blast_radius_instances, int)

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Its steps, compiled. Raises `ExpressionError`."""
        return tuple(self.means.instruction(step, step.action) for step in self.remedy.steps)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where its steps act, each place once; the first step's first."""
        return tuple(dict.fromkeys(map(place_of, self.remedy.steps)))

    @cached_property
    def mentioned(self) -> Mapping[str, RemedyVariable]:
        """The declared variables that it mentions, by name."""
        return {name: self.means.variables[name] for name in sorted(self.means.declared(self.names))}

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that the expressions of its steps, its precondition and its blast radius mention."""
        sources = (source for step in self.remedy.steps for source in _asked_by(step))
        own = (self.remedy.precondition, self.remedy.blast_radius_instances)
        return frozenset(name for source in (*own, *sources) for name in names_in(source))

    @cached_property
    def names_at(self) -> Mapping[Place, frozenset[str]]:
        """The names that its precondition and its steps at each place mention: what a plan of it looks at there."""
        found: dict[Place, set[str]] = {}
        for step in self.remedy.steps:
            sources = (self.remedy.precondition, *_asked_by(step))
            found.setdefault(place_of(step), set()).update(name for source in sources for name in names_in(source))
        return {place: frozenset(names) for place, names in found.items()}

    @cached_property
    def operators(self) -> tuple[Compiled, ...]:
        """The operators that it may use, by name. Raises `ExpressionError`."""
        known = self.means.operators
        wanted = set(self.remedy.operators or known)
        return tuple(operator for name, operator in sorted(known.items()) if name in wanted)

    @cached_property
    def guarded_by(self) -> tuple[str, ...]:
        """The declared variables of its precondition, by name. Raises `ExpressionError`."""
        return tuple(sorted(self.means.declared(self.precondition.names)))

    @cached_property
    def operator_places(self) -> tuple[Place, ...]:
        """Where its operators act, each place once. Raises `ExpressionError`."""
        return tuple(dict.fromkeys(one.place for one in self.operators))

    @cached_property
    def whole(self) -> Frame:
        """What takes part when every one of its operators can be used. Raises `ExpressionError`."""
        return self.frame(self.operators)

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The declared variables that must be known for that. Raises `ExpressionError`."""
        return frozenset(self.whole.needed).union(*(one.reads for one in self.operators))

    def frame(self, usable: tuple[Compiled, ...]) -> Frame:
        """What takes part when these of its operators can be used. Raises `ExpressionError`."""
        key = tuple([one.operator.name for one in usable])
        known = self.frames.get(key)
        return known if known is not None else self.frames.setdefault(key, self._frame(usable))

    def _frame(self, usable: tuple[Compiled, ...]) -> Frame:
        means = self.means
        changeable = frozenset[str]().union(*(one.changes for one in usable))
        named = [(one, means.declared(one.holds.names)) for one in means.constraints]
        constraints = tuple(one for one, names in named if not names or not names.isdisjoint(changeable))
        mentioned = {*self.goal.names, *(name for one in constraints for name in one.holds.names)}
        needed = means.declared(mentioned)
        state = needed.union(*(one.reads for one in usable))
        looks_at = tuple(sorted(mentioned - needed))
        operators = tuple(one.operator.name for one in usable)
        look = any(one.looks_at for one in usable)
        return Frame(constraints, tuple(sorted(needed)), tuple(sorted(state)), looks_at, operators, look)

    def keep(self, key: tuple[object, ...], found: "Found") -> "Found":
        """Keeps what a search came to."""
        if len(self.answers) >= MOST_KEPT:
            self.answers.clear()
        self.answers[key] = found
        return found


def entries_of(catalogues: Sequence[RemedyCatalogue]) -> tuple[Entry, ...]:
    """Every remedy of the catalogues, by name."""
    entries = (_entry(remedy, means) for means in map(_means, catalogues) for remedy in means.catalogue.remedies)
    return tuple(entry for _, entry in sorted(_first(entries, lambda one: one.remedy.name).items()))


def sources_of(operator: RemedyOperator) -> list[str]:
    """The expressions that are only evaluated for a step that is taken: parameters and the blast radius."""
    undo = operator.compensation
    asked = [*operator.parameters.values(), operator.blast_radius_instances]
    return asked + (list(undo.parameters.values()) if isinstance(undo, RemedyAction) else [])


def place_of(one: RemedyStep | RemedyOperator | RemedyVariable) -> Place:
    """Where a step acts, or where a variable is read."""
    return one.driver or "", one.role


def _asked_by(step: RemedyStep) -> Iterator[str]:
    for action in (step.action, step.compensation):
        yield from action.parameters.values() if isinstance(action, RemedyAction) else ()


def _texts(written: object) -> Iterator[str]:
    if isinstance(written, str):
        yield written
    elif isinstance(written, dict | list):
        for part in written.values() if isinstance(written, dict) else written:
            yield from _texts(part)


def _means(catalogue: RemedyCatalogue) -> Means:
    return Means(catalogue, environment_of(catalogue.variables))


def _entry(remedy: Remedy, means: Means) -> Entry:
    return Entry(remedy, digest_of(canonical(remedy.model_dump(mode="json"))), means)


def _first(each: Iterable[T], name: Callable[[T], str]) -> dict[str, T]:
    first: dict[str, T] = {}
    for one in each:
        first.setdefault(name(one), one)
    return first
