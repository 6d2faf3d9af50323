"""Lifecycles as transition tables: what is in the table may happen, what is absent is rejected.

    STEP = Lifecycle("step", StepState.PLANNED, {(StepState.PLANNED, "StepRequested"): StepState.REQUESTED, ...})

States and triggers are strings (`StrEnum` members or plain ones), so that states survive JSON unchanged. The diagrams
of the documentation are rendered from the same tables.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

S = TypeVar("S", bound=str)
T = TypeVar("T", bound=str)


class TransitionError(LookupError):
    """The table has no such transition: whatever caused it is to be left without effect."""

    def __init__(self, lifecycle: str, state: str, trigger: str) -> None:
        super().__init__(f"{lifecycle} `{state}` has no transition on `{trigger}`")
        self.lifecycle = lifecycle
        self.state = state
        self.trigger = trigger


class Lifecycle(Generic[S, T]):
    """A named state machine. `initial` is where it begins; states that nothing leaves are its ends."""

    def __init__(self, name: str, initial: S, table: Mapping[tuple[S, T], S]) -> None:
        self.name = name
        self.initial = initial
        self.table = dict(table)

    def accepts(self, state: S, trigger: T) -> bool:
        """Whether the table has a transition on `trigger` in `state`."""
        return (state, trigger) in self.table

    def after(self, state: S, trigger: T) -> S:
        """The state after `trigger` in `state`. Raises `TransitionError` when the table has none."""
        following = self.table.get((state, trigger))
        if following is None:
            raise TransitionError(self.name, state, trigger)
        return following

    def ends(self) -> list[S]:
        """The states that nothing leaves, in the table's order."""
        leaving = {state for state, _ in self.table}
        return [state for state in dict.fromkeys(self.table.values()) if state not in leaving]

    def diagram(self) -> str:
        """The table as a Mermaid `stateDiagram-v2`; triggers between the same two states share an arrow."""
        arrows: dict[tuple[S, S], list[T]] = {}
        for (state, trigger), following in self.table.items():
            arrows.setdefault((state, following), []).append(trigger)
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        lines += [f"    {one} --> {other}: {', '.join(triggers)}" for (one, other), triggers in arrows.items()]
        lines += [f"    {state} --> [*]" for state in self.ends()]
        return "\n".join(lines) + "\n"
