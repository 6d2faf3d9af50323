"""The scenario itself: it fails when it should."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter
from scenario import START_US, given

from autopilot.agents.agent import FoldingAgent
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.people import Halt
from autopilot.schemas.events.runtime import Tick


@dataclass
class Count:
    ticks: int = 0


class Counter(FoldingAgent[Count]):
    name = "counter"
    reads = Topic.LOG
    handles = frozenset({Tick, Halt})
    state_type = TypeAdapter(Count)

    def initial_state(self) -> Count:
        return Count()

    def handle(self, state: Count, recorded: Recorded[Any]) -> tuple[Count, list[Output]]:
        if isinstance(recorded.payload, Halt):
            return state, [Rejection("scope", "''", "a domain")]
        state.ticks += 1
        return state, [Draft(Tick(at_us=state.ticks), "shop")]


HALT = Halt(scope="", ordered_by="ada", reason="r")


def test_what_was_said_is_compared_by_type_or_value() -> None:
    scenario = given(Counter()).when(Tick(at_us=START_US + 1)).then(Tick(at_us=1)).then(Tick)
    assert scenario.only(Tick) == Tick(at_us=1)
    with pytest.raises(AssertionError):
        scenario.then(Tick(at_us=2))
    with pytest.raises(AssertionError):
        scenario.then()
    with pytest.raises(AssertionError):
        scenario.then_nothing()


def test_time_passes_in_ticks() -> None:
    assert given(Counter()).after(seconds=3, step_seconds=1).then(Tick, Tick, Tick).now_us == START_US + 3_000_000


def test_a_rejection_is_no_draft() -> None:
    scenario = given(Counter()).when(HALT).then_rejected("scope")
    with pytest.raises(AssertionError):
        scenario.drafts()
