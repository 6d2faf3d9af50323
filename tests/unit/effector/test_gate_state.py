"""What the gate remembers, and for how long."""

from collections.abc import Callable
from typing import Any

import pytest
from gate_world import CLOSED, FAILED, HELD, NAMES, REVOKED, ROLLBACK, TWO, at_a_held_step, authorised, why_not
from outcomes import outcome
from sagas import SECOND_US, ok, request, signed, signers, started, step_signed
from scenario import START_US, Scenario, given

from autopilot.agents.executor.bounds import HELD_ANSWER_US
from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.gate_state import IN_HAND_KEPT_US, KEPT_AFTER_CLOSE_US, KEPT_US, Before
from autopilot.policies.obligations import LONGEST_REQUEST_MS
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionRolledBack, ExecutionStarted
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified


def test_an_authorisation_of_a_step_is_forgotten_with_its_incident() -> None:
    scenario = at_a_held_step().events(step_signed(HELD))
    scenario.events(FAILED, CLOSED, Tick(at_us=START_US + KEPT_AFTER_CLOSE_US + 1))
    assert scenario.state.held == {}


def filled(close: Callable[[], list[Payload]]) -> Scenario:
    scenario = authorised().events(request(TWO), started(), ok(), ROLLBACK, REVOKED, request(TWO, attempt=3))
    return scenario.events(*close())


def test_what_belongs_to_an_incident_is_forgotten_an_hour_after_it_closed_or_after_a_week() -> None:
    for close, seconds in ((list, 7 * 86_400), (lambda: [CLOSED], KEPT_AFTER_CLOSE_US / SECOND_US)):
        scenario = filled(close).events(FAILED).after(seconds=seconds - 1)
        assert scenario.state.decisions
        assert scenario.state.befores == {request(TWO).idempotency_key: Before("inc-1", started().before)}
        scenario.after(seconds=2)
        assert scenario.state == knowing_nothing(scenario)


def knowing_nothing(scenario: Scenario) -> Any:
    return given(Gate(), [signers()], Tick(at_us=scenario.now_us)).state


WEEK_S = 7 * 86_400


def later(scenario: Scenario, seconds: int = WEEK_S + 86_400) -> Scenario:
    return scenario.after(seconds=seconds, step_seconds=3_600)


@pytest.mark.parametrize("before", [[], [CLOSED]])
def test_a_step_can_be_undone_however_long_its_execution_was_held_up(before: list[Payload]) -> None:
    scenario = later(at_a_held_step().events(*before)).events(ROLLBACK)
    undo = request(HELD, "s1", "compensation").model_copy(update={"not_after_us": scenario.now_us + SECOND_US})
    assert why_not(scenario.events(undo), undo, seconds=WEEK_S + 86_400) is None
    assert scenario.state.befores
    assert scenario.after(seconds=0.5).events(ExecutionRolledBack(**NAMES, reason="r")).state.in_hand == {}
    assert later(scenario).state == knowing_nothing(scenario)


def test_an_execution_that_is_held_before_its_first_step_is_in_hand() -> None:
    held = given(Gate(), [signers()], Tick(at_us=START_US), TWO, signed(TWO, held_steps=["s1"]))
    begun = ExecutionStarted(**NAMES, decision_id="dec-1", steps=2)
    assert later(held.events(begun)).state.decisions
    assert not later(held.events(FAILED)).state.decisions


def test_an_execution_is_in_hand_until_a_verdict_leaves_it_in_place() -> None:
    for verdict in (OutcomeVerified, OutcomeInconclusive):
        scenario = later(authorised().events(request(TWO), started(), ok(), ExecutionCompleted(**NAMES), CLOSED))
        assert scenario.state.decisions
        scenario.events(OutcomeVerified(outcome=outcome("stage", "s1")))
        assert later(scenario, 7_200).state.decisions
        assert not later(scenario.events(verdict(outcome=outcome())), 7_200).state.decisions


def test_a_rejected_execution_is_in_hand_until_it_is_undone() -> None:
    done = authorised().events(request(TWO), started(), ok(), ExecutionCompleted(**NAMES), CLOSED)
    scenario = later(done.events(OutcomeRejected(outcome=outcome())))
    assert later(scenario.events(ROLLBACK)).state.undoing
    assert not later(scenario.events(FAILED)).state.undoing


def test_only_an_execution_of_a_signed_decision_is_in_hand_and_one_that_ended_is_not_again() -> None:
    begun = ExecutionStarted(**NAMES, decision_id="dec-1", steps=2)
    scenario = authorised()
    for stranger in ({"decision_id": "dec-2"}, {"execution_id": "another"}):
        assert scenario.events(begun.model_copy(update=stranger)).state.in_hand == {}
    assert scenario.events(begun, FAILED, begun).state.in_hand == {}


def test_an_execution_whose_end_never_comes_is_forgotten_in_the_end() -> None:
    scenario = authorised().events(request(TWO), started())
    last = (KEPT_US + IN_HAND_KEPT_US) // SECOND_US
    assert scenario.after(seconds=last).state.decisions
    assert scenario.after(seconds=1).state == knowing_nothing(scenario)


def test_the_longest_request_is_answered_before_what_it_is_about_is_forgotten() -> None:
    assert LONGEST_REQUEST_MS * 1_000 + HELD_ANSWER_US < KEPT_US
