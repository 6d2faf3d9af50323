"""The search for a plan: the cheapest sequence of operations from a state to the goal, under constraints.

Uniform-cost search (Dijkstra 1959; best first without a heuristic): sequences are looked at by cost, then by number of
steps, then by the operations' names, so that the same problem always has the same answer, in whatever order its
operations are given. A state is left out when it was reached before at no more cost and in no more steps. The search
ends unsuccessfully when there is nothing left to look at, or after `MOST_STATES`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from autopilot.policies.expression import Expression, Value

MOST_STATES = 2_000
"""States whose successors are looked at in one search."""

State = Mapping[str, Value]
Effects = Sequence[tuple[str, Expression]]


@dataclass(frozen=True)
class Operation:
    """What may be done in a state: when, what it changes at once and once its gate was passed, and at what cost."""

    name: str
    cost: int
    precondition: Expression
    effects: Effects
    gate_effects: Effects
    fixed: Mapping[str, Value]
    """Values of the variables that no operation changes, as this operation's expressions see them."""


@dataclass(frozen=True)
class Constraint:
    """What must hold after each operation, and after its gate."""

    holds: Expression
    message: str


@dataclass(frozen=True)
class Problem:
    """From where to where, and by what."""

    start: State
    goal: Expression
    operations: Sequence[Operation]
    constraints: Sequence[Constraint]
    fixed: Mapping[str, Value]
    """Values of the variables that no operation changes, as goal and constraints see them."""
    max_steps: int


@dataclass(frozen=True)
class Taken:
    """An operation of a plan, and the state that it is taken in."""

    name: str
    before: State


@dataclass(frozen=True)
class Answer:
    """The plan, or why there is none."""

    taken: tuple[Taken, ...] = ()
    why_not: str = ""


@dataclass
class _Search:
    problem: Problem
    forbidden: dict[str, int] = field(default_factory=dict)
    cut: bool = False
    """Whether a sequence was left out because it was as long as one may be."""

    def run(self) -> Answer:
        if self._reached(self.problem.start):
            return Answer(why_not=f"its goal `{self.problem.goal.source}` holds already")
        ahead: list[tuple[int, int, tuple[str, ...], State, tuple[Taken, ...]]] = [(0, 0, (), self.problem.start, ())]
        fewest: dict[tuple[Value, ...], int] = {}
        looked_at = 0
        while ahead:
            cost, length, names, state, taken = heappop(ahead)
            key = tuple(state.values())
            if fewest.get(key, length + 1) <= length:
                continue
            fewest[key] = length
            if self._reached(state):
                return Answer(taken)
            if looked_at == MOST_STATES:
                return Answer(why_not=f"gave up after {MOST_STATES} states without reaching `{self._goal}`")
            looked_at += 1
            for operation, after in self._successors(state, length):
                step = (*taken, Taken(operation.name, state))
                heappush(ahead, (cost + operation.cost, length + 1, (*names, operation.name), after, step))
        return Answer(why_not=self._exhausted(looked_at))

    @property
    def _goal(self) -> str:
        return self.problem.goal.source

    def _reached(self, state: State) -> bool:
        return bool(self.problem.goal.evaluate({**self.problem.fixed, **state}))

    def _successors(self, state: State, length: int) -> Iterator[tuple[Operation, State]]:
        for operation in self.problem.operations:
            if not operation.precondition.evaluate({**operation.fixed, **state}):
                continue
            if length == self.problem.max_steps:
                self.cut = True
                return
            after = self._allowed(_changed(state, operation.effects, operation.fixed))
            if after is not None and operation.gate_effects:
                after = self._allowed(_changed(after, operation.gate_effects, operation.fixed))
            if after is not None:
                yield operation, after

    def _allowed(self, state: State) -> State | None:
        """The state if every constraint holds in it."""
        values = {**self.problem.fixed, **state}
        for constraint in self.problem.constraints:
            if not constraint.holds.evaluate(values):
                self.forbidden[constraint.message] = self.forbidden.get(constraint.message, 0) + 1
                return None
        return state

    def _exhausted(self, looked_at: int) -> str:
        bound = f" in {self.problem.max_steps} steps" if self.cut else ""
        forbidden = "; ".join(f"`{message}` forbids {count}" for message, count in sorted(self.forbidden.items()))
        found = f"no sequence of its operators reaches `{self._goal}`{bound} ({looked_at} states looked at)"
        return f"{found}: {forbidden}" if forbidden else found


def search(problem: Problem) -> Answer:
    """The cheapest plan. Raises `ExpressionError` where an expression has no value."""
    return _Search(problem).run()


def _changed(state: State, effects: Effects, fixed: Mapping[str, Value]) -> State:
    """The state after all effects at once, each a value over the state before."""
    if not effects:
        return state
    values = {**fixed, **state}
    return {**state, **{name: effect.evaluate(values) for name, effect in effects if name in state}}
