"""A lifecycle is its table, and so is its diagram."""

import pytest

from autopilot.agents.lifecycle import Lifecycle, TransitionError

DOOR = Lifecycle(
    "door",
    "closed",
    {("closed", "push"): "open", ("closed", "kick"): "open", ("open", "pull"): "closed", ("open", "axe"): "broken"},
)


def test_what_is_in_the_table_happens() -> None:
    assert DOOR.accepts("closed", "push")
    assert DOOR.after("closed", "push") == "open"


def test_what_is_absent_is_rejected() -> None:
    assert not DOOR.accepts("broken", "push")
    with pytest.raises(TransitionError, match="door `broken` has no transition on `push`"):
        DOOR.after("broken", "push")


def test_its_ends_are_the_states_that_nothing_leaves() -> None:
    assert DOOR.ends() == ["broken"]


def test_its_diagram_draws_the_table() -> None:
    assert DOOR.diagram() == (
        "stateDiagram-v2\n"
        "    [*] --> closed\n"
        "    closed --> open: push, kick\n"
        "    open --> closed: pull\n"
        "    open --> broken: axe\n"
        "    broken --> [*]\n"
    )
