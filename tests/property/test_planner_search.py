"""Laws of the search: the same plan whatever the order, never through what is forbidden, and none that is cheaper."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autopilot.agents.planner.search import Answer, Constraint, Operation, Problem, search
from autopilot.policies.expression import Environment, Expression

NAMES = ("x", "y")
SIZE = 4
ENVIRONMENT = Environment(dict.fromkeys(NAMES, int))


@dataclass(frozen=True)
class Move:
    """Adds to one variable where another is at least something; its expressions are made from it."""

    name: str
    changes: str
    by: int
    gate_by: int
    guard: str
    least: int
    cost: int

    def operation(self) -> Operation:
        return Operation(
            name=self.name,
            cost=self.cost,
            precondition=ENVIRONMENT.compile(f"{self.guard} >= {self.least}", bool),
            effects=[(self.changes, self._added(self.by))],
            gate_effects=[(self.changes, self._added(self.gate_by))] if self.gate_by else [],
            fixed={},
        )

    def _added(self, by: int) -> Expression:
        return ENVIRONMENT.compile(f"({self.changes} + {by}) % {SIZE}", int)

    def states(self, state: tuple[int, int]) -> list[tuple[int, int]]:
        """The states that it passes through; empty where it may not be taken."""
        if state[NAMES.index(self.guard)] < self.least:
            return []
        after = _added(state, self.changes, self.by)
        return [after, _added(after, self.changes, self.gate_by)] if self.gate_by else [after]


def _added(state: tuple[int, int], name: str, by: int) -> tuple[int, int]:
    values = dict(zip(NAMES, state, strict=True))
    values[name] = (values[name] + by) % SIZE
    return values["x"], values["y"]


sizes = st.integers(0, SIZE - 1)
variables = st.sampled_from(NAMES)
moves = st.lists(
    st.builds(Move, st.just(""), variables, sizes, st.integers(0, 1), variables, st.integers(0, 2), st.integers(0, 3)),
    min_size=1,
    max_size=4,
).map(lambda found: [replace(move, name=f"m{number}") for number, move in enumerate(found)])
states = st.tuples(sizes, sizes)


def problem(moves: Sequence[Move], start: tuple[int, int], goal: tuple[int, int], most: int, steps: int) -> Problem:
    return Problem(
        start=dict(zip(NAMES, start, strict=True)),
        goal=ENVIRONMENT.compile(f"x == {goal[0]} && y == {goal[1]}", bool),
        operations=[move.operation() for move in moves],
        constraints=[Constraint(ENVIRONMENT.compile(f"x + y <= {most}", bool), "not too much")],
        fixed={},
        max_steps=steps,
    )


def names(answer: Answer) -> list[str]:
    return [taken.name for taken in answer.taken]


def cheapest(moves: Sequence[Move], start: tuple[int, int], goal: tuple[int, int], most: int, steps: int) -> list[str]:
    """The best of every sequence there is: by cost, then length, then names. Empty when none leads to the goal."""
    found = []
    for length in range(1, steps + 1):
        for sequence in product(moves, repeat=length):
            state: tuple[int, int] | None = start
            for move in sequence:
                passed = move.states(state) if state is not None else []
                state = passed[-1] if passed and all(sum(one) <= most for one in passed) else None
            if state == goal:
                found.append((sum(move.cost for move in sequence), length, [move.name for move in sequence]))
    return min(found)[2] if found else []


@settings(max_examples=80, deadline=None)
@given(moves, states, states, st.integers(1, 2 * SIZE), st.integers(1, 4))
def test_the_plan_is_the_cheapest_of_all_there_are(
    found: list[Move], start: tuple[int, int], goal: tuple[int, int], most: int, steps: int
) -> None:
    assume(start != goal)
    answer = search(problem(found, start, goal, most, steps))
    assert names(answer) == cheapest(found, start, goal, most, steps)
    assert bool(answer.taken) != bool(answer.why_not)


@settings(max_examples=80, deadline=None)
@given(moves, states, states, st.integers(1, 2 * SIZE), st.integers(1, 6), st.randoms())
def test_the_order_of_the_operations_changes_nothing(
    found: list[Move], start: tuple[int, int], goal: tuple[int, int], most: int, steps: int, chance: Random
) -> None:
    mixed = sorted(found, key=lambda move: chance.random())
    assert search(problem(mixed, start, goal, most, steps)) == search(problem(found, start, goal, most, steps))
