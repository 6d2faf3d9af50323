"""Undoing: what is asked for, in which order, and what neither an open breaker nor a failure in between holds up."""

from outcomes import outcome
from sagas import EXECUTION, SECOND_US, asked_for, failed, ok, plan, signed, signers, started, step, unknown
from scenario import START_US, Scenario, given

from autopilot.agents.executor import Executor
from autopilot.agents.executor.states import execution_of
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import (
    BreakerOpened,
    ExecutionFailed,
    ExecutionRolledBack,
    RollbackStarted,
    StepRequested,
)
from autopilot.schemas.events.planner import REVERT, Action, PlanProposed
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeRejected


def running(of: PlanProposed) -> Scenario:
    return given(Executor(), [signers()], Tick(at_us=START_US), of, service="cart").events(signed(of))


def test_a_revert_is_asked_for_as_the_plan_says_it() -> None:
    revert = Action(driver="fake", verb=REVERT, target="t1", parameters={"step": "s1"})
    of = plan(step(1).model_copy(update={"compensation": revert}), step(2))
    asked = running(of).events(started(), ok()).when(failed("s2")).only(StepRequested)
    assert (asked.phase, asked.action) == ("compensation", revert)


def test_a_compensation_that_fails_for_a_while_is_tried_again() -> None:
    scenario = running(plan(step(1), step(2))).events(ok(), failed("s2"))
    scenario.when(failed(phase="compensation", failure=FailureClass.TRANSIENT)).then_nothing()
    assert asked_for(scenario.after(seconds=1).drafts()) == [("s1", "compensation", 2)]
    scenario.when(ok(phase="compensation", attempt=2)).then(ExecutionRolledBack)
    assert scenario.only(ExecutionRolledBack).failure == FailureClass.PERMANENT


def test_a_rollback_because_of_a_step_that_was_not_tried_names_no_failure() -> None:
    scenario = running(plan(step(1), step(2))).events(ok(), failed("s2", failure=FailureClass.STALE))
    assert scenario.when(ok(phase="compensation")).only(ExecutionRolledBack).failure == ""


def test_a_rollback_because_nobody_began_a_step_names_no_failure() -> None:
    scenario = running(plan(step(1), step(2, attempts=1))).events(ok())
    scenario.after(seconds=16).only(RollbackStarted)
    scenario.events(ok("s2", "compensation"))
    assert scenario.when(ok(phase="compensation")).only(ExecutionRolledBack).failure == ""


def test_a_rollback_that_fails_before_it_could_try_does_not_pass_for_a_plan_that_touched_nothing() -> None:
    scenario = running(plan(step(1), step(2))).events(ok(), failed("s2", failure=FailureClass.STALE))
    end = scenario.when(failed(phase="compensation", failure=FailureClass.STALE)).only(ExecutionFailed)
    assert (end.failure, end.needs_person) == ("", True)


def test_a_compensation_that_is_not_begun_is_waited_for_and_then_a_person_is_needed() -> None:
    scenario = running(plan(step(1), step(2))).events(ok(), failed("s2"))
    scenario.after(seconds=900).then_nothing()
    end = scenario.after(seconds=1).then(ExecutionFailed).only(ExecutionFailed)
    assert (end.needs_person, end.execution_id) == (True, EXECUTION)
    assert end.reason == "the rollback failed: step `s1` failed (timeout): no answer to attempt 1 in time"


def test_a_compensation_that_is_begun_late_has_its_whole_time() -> None:
    scenario = running(plan(step(1), step(2))).events(ok(), failed("s2")).after(seconds=899)
    scenario.events(started(phase="compensation")).after(seconds=14).then_nothing()
    scenario.when(ok(phase="compensation")).then(ExecutionRolledBack)


def test_a_compensation_that_is_begun_and_not_answered_fails_and_a_person_is_needed() -> None:
    scenario = running(plan(step(1, attempts=1), step(2))).events(ok(), failed("s2"))
    scenario.events(started(phase="compensation")).after(seconds=16).then(ExecutionFailed, BreakerOpened)
    assert scenario.only(ExecutionFailed).needs_person


def test_a_compensation_whose_effect_is_not_known_stops_everything() -> None:
    scenario = running(plan(step(1), step(2), step(3))).events(ok(), ok("s2"), failed("s3"))
    scenario.when(unknown("s2", "compensation")).then(ExecutionFailed)
    assert scenario.only(ExecutionFailed).needs_person
    scenario.after(seconds=60, step_seconds=5).then_nothing()


def test_an_open_breaker_holds_no_compensation_up() -> None:
    same = step(2, attempts=3).model_copy(update={"action": step(1).action, "compensation": step(1).compensation})
    of = plan(step(1), same)
    scenario = running(of).events(ok())
    for attempt in (1, 2):
        scenario.events(failed("s2", attempt=attempt, failure=FailureClass.TRANSIENT)).after(seconds=4)
    scenario.when(failed("s2", attempt=3, failure=FailureClass.TRANSIENT))
    scenario.then(RollbackStarted, StepRequested, BreakerOpened)
    scenario.when(ok(phase="compensation")).then(ExecutionRolledBack)


def test_a_breaker_that_opened_meanwhile_turns_the_next_step_back() -> None:
    scenario = running(plan(step(1, settle_ms=9_000), step(2))).events(ok())
    other = plan(step(2, attempts=3), plan_id="plan-2")
    scenario.events(other, signed(other, decision_id="dec-2"))
    for attempt in (1, 2, 3):
        result = failed("s2", attempt=attempt, failure=FailureClass.TRANSIENT)
        scenario.when(result.model_copy(update={"execution_id": execution_of("dec-2"), "plan_id": "plan-2"}))
        if attempt < 3:
            scenario.events(Tick(at_us=scenario.now_us + 3 * SECOND_US))
    scenario.only(BreakerOpened)
    turned = scenario.after(seconds=4).then(RollbackStarted, StepRequested).only(RollbackStarted)
    assert turned.reason == "the breaker `fake/set/t2` is open"


def test_what_was_done_in_part_is_undone_as_far_as_it_can_be_and_the_rest_is_named() -> None:
    of = plan(step(1), step(2, undo=False), step(3), reversible=False)
    scenario = running(of).events(ok(), ok("s2"), ok("s3"))
    turned = scenario.when(OutcomeRejected(outcome=outcome())).only(RollbackStarted)
    assert turned.step_ids == ["s3", "s1"]
    scenario.events(ok("s3", "compensation")).when(ok("s1", "compensation")).then(ExecutionFailed)
    end = scenario.only(ExecutionFailed)
    assert end.needs_person
    assert end.reason.endswith("nothing undoes `s2`")
