"""Before a held step the executor stops, and begins it only once the policy has authorised it; else it turns back."""

import pytest
from outcomes import outcome
from sagas import (
    EXECUTION,
    SECOND_US,
    asked_for,
    failed,
    gate,
    ok,
    plan,
    signed,
    signers,
    started,
    step,
    step_authorization,
    step_signed,
)
from scenario import START_US, Said, Scenario, given

from autopilot.agents.executor import Executor
from autopilot.agents.executor.bounds import HELD_ANSWER_US
from autopilot.agents.executor.breaker import FAILURES_TO_TRIP, note_failure
from autopilot.schemas.configuration import Domain, Fleet, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StageReached,
    StepHeld,
    StepRequested,
)
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import ApprovalRequested, AuthorizationRevoked, Obligation
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified

THREE = plan(step(1), step(2), step(3))
HALT = Said(Halt(scope="shop", ordered_by="bob", reason="r"), signed_by="bob")
RESUME = Said(Resume(scope="shop", ordered_by="ada", reason="r"), signed_by="ada")
REVOKED = Said(
    AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r", step_id="s2"),
    signed_by="policy",
)
HELD_ANSWER_S = HELD_ANSWER_US / SECOND_US


def asked(seconds: int, step_id: str = "s2") -> ApprovalRequested:
    """People are asked, and have until then."""
    return ApprovalRequested(
        approval_id="apr-1",
        decision=step_authorization(THREE).decision,
        group="approver",
        needed=1,
        summary="s",
        expires_at_us=START_US + seconds * SECOND_US,
        step_id=step_id,
        execution_id=EXECUTION,
    )


def begun(of: PlanProposed = THREE, seconds: int = 600) -> Scenario:
    scenario = given(Executor(), [signers()], Tick(at_us=START_US), of, service="cart")
    return scenario.events(signed(of, seconds=seconds, held_steps=["s2", "s3"]), started())


def held(of: PlanProposed = THREE, seconds: int = 600) -> Scenario:
    return begun(of, seconds).when(ok())


def test_the_execution_stops_before_a_held_step_and_says_so_once() -> None:
    scenario = held().then(StepHeld)
    said = scenario.only(StepHeld)
    assert (said.execution_id, said.plan_id, said.decision_id, said.step_id) == (EXECUTION, "plan-1", "dec-1", "s2")
    scenario.when(ok(), asked(3_000)).after(seconds=120, step_seconds=1).then_nothing()


def test_each_held_step_begins_with_its_own_authorisation() -> None:
    scenario = held().when(step_signed(THREE)).then(StepRequested)
    assert asked_for(scenario.drafts()) == [("s2", "forward", 1)]
    scenario.when(ok("s2")).then(StepHeld)
    scenario.when(step_signed(THREE, "s3")).then(StepRequested)
    scenario.when(ok("s3")).then(ExecutionCompleted)


def test_a_step_is_held_after_its_stage_before_was_verified() -> None:
    scenario = held(plan(step(1, gate=gate()), step(2), step(3))).then(StageReached)
    scenario.when(OutcomeVerified(outcome=outcome("stage", "s1"))).then(StepHeld)


def test_a_stage_that_is_not_verified_is_turned_back_from_before_anyone_is_asked() -> None:
    scenario = held(plan(step(1, gate=gate()), step(2), step(3)))
    scenario.when(OutcomeRejected(outcome=outcome("stage", "s1"))).then(RollbackStarted, StepRequested)


def test_an_authorisation_that_nobody_signed_or_of_another_step_or_plan_lets_nothing_begin() -> None:
    scenario = held()
    for signer in (None, "ada"):
        scenario.when(Said(step_authorization(THREE), signed_by=signer)).then_rejected("signature")
    scenario.when(step_signed(THREE, "s3")).then_nothing()
    scenario.when(step_signed(THREE, plan_decision_id="dec-9")).then_nothing()
    scenario.when(step_signed(plan(step(4)))).then_rejected("plan_hash")


def test_an_authorisation_before_the_step_is_reached_counts_for_nothing() -> None:
    scenario = begun().when(step_signed(THREE)).then_nothing()
    scenario.when(ok()).then(StepHeld)
    scenario.events(step_signed(THREE)).when(step_signed(THREE)).then_nothing()


def test_an_obligation_that_is_not_met_turns_back() -> None:
    approval = Obligation(name="approval", parameters={"group": "approver", "needed": "1", "expires_ms": "1"})
    scenario = held().when(step_signed(THREE, obligations=[approval])).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).reason == "the obligation `approval` is not met: 0 of 1 approvals"


def test_the_authorisation_of_the_plan_does_not_run_out_while_people_think() -> None:
    scenario = held(seconds=60).events(asked(3_000)).after(seconds=2_000, step_seconds=60).then_nothing()
    scenario.when(step_signed(THREE, seconds=2_100)).then(StepRequested)
    assert scenario.only(StepRequested).not_after_us == START_US + 2_100 * SECOND_US


def test_an_authorisation_that_is_over_lets_nothing_begin() -> None:
    scenario = held().events(asked(3_000)).after(seconds=100, step_seconds=10)
    scenario.when(step_signed(THREE, seconds=99)).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).reason == "the authorisation's time is over"


def test_a_step_settles_while_people_are_asked() -> None:
    slow = plan(step(1, settle_ms=10_000), step(2), step(3))
    quick = held(slow).then(StepHeld).events(asked(100)).after(seconds=4, step_seconds=1)
    quick.when(step_signed(slow)).then_nothing()
    quick.after(seconds=5, step_seconds=1).then_nothing()
    quick.after(seconds=1).then(StepRequested)
    late = held(slow).events(asked(100)).after(seconds=10, step_seconds=1)
    late.when(step_signed(slow)).then(StepRequested)


# -- turning back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", [REVOKED, PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="r")], ids=["revoked", "withdrawn"]
)
def test_what_is_revoked_or_withdrawn_while_it_waits_is_undone_at_once(order: Payload | Said) -> None:
    scenario = held().when(order).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).step_ids == ["s1"]
    scenario.when(ok("s1", "compensation")).then(ExecutionRolledBack)
    assert scenario.only(ExecutionRolledBack).failure == ""
    scenario.when(step_signed(THREE)).then_nothing()


def test_where_nothing_undoes_what_was_done_nobody_need_look_if_it_may_stay() -> None:
    scenario = held(plan(step(1, undo=False), step(2), step(3))).when(REVOKED).then(ExecutionFailed)
    assert not scenario.only(ExecutionFailed).needs_person


def test_a_policy_that_says_nothing_is_not_waited_for_without_end() -> None:
    scenario = held().after(seconds=HELD_ANSWER_S, step_seconds=10).then_nothing()
    scenario.after(seconds=1).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).reason == "nobody decided in time whether step `s2` may begin"


def test_people_have_the_time_of_their_request_and_the_policy_a_little_more() -> None:
    scenario = held().events(asked(1_000), asked(9_000, "s3"))
    scenario.after(seconds=1_000 + HELD_ANSWER_S, step_seconds=10).then_nothing()
    scenario.after(seconds=1).then(RollbackStarted, StepRequested)


# -- halts, limits and breakers --------------------------------------------------------------------------------------


def test_a_halt_holds_an_authorised_step_until_the_resume() -> None:
    scenario = held().events(asked(3_000), HALT).when(step_signed(THREE)).then_nothing()
    scenario.when(RESUME).then(StepRequested)


def test_a_halt_is_waited_out_however_long_it_takes() -> None:
    scenario = held().events(HALT).after(seconds=4 * HELD_ANSWER_S, step_seconds=30).then_nothing()
    scenario.events(RESUME).after(seconds=HELD_ANSWER_S - 30, step_seconds=30).then_nothing()
    scenario.when(step_signed(THREE, seconds=9_000)).then(StepRequested)


def test_what_waits_keeps_its_turn_in_the_domain() -> None:
    domain = Domain(name="shop", max_concurrent_executions=1)
    fleet = document(Fleet(name="f", domains=[domain], services=[]).model_dump(mode="json"))
    other = plan(plan_id="plan-2")
    scenario = given(Executor(), [fleet, signers()], Tick(at_us=START_US), THREE, other, service="cart")
    scenario.events(signed(THREE, held_steps=["s2", "s3"]), started(), ok(), asked(3_000))
    scenario.when(signed(other, decision_id="dec-2")).then_nothing()
    scenario.events(REVOKED).when(ok("s1", "compensation")).then(ExecutionRolledBack, ExecutionStarted, StepRequested)


def test_a_breaker_that_opened_meanwhile_turns_back() -> None:
    scenario = held()
    for _ in range(FAILURES_TO_TRIP):
        note_failure(scenario.state.breakers, "fake/set/t2", scenario.now_us, "it failed elsewhere")
    scenario.when(step_signed(THREE)).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).reason == "the breaker `fake/set/t2` is open"


def test_a_held_step_that_is_tried_again_needs_no_second_authorisation() -> None:
    scenario = held().events(step_signed(THREE), started("s2"))
    scenario.when(failed("s2", failure=FailureClass.TRANSIENT)).then_nothing()
    scenario.after(seconds=1).then(StepRequested)


def test_a_request_never_shortens_the_time_for_an_answer() -> None:
    scenario = held().events(asked(3_000), asked(-3_000)).after(seconds=600, step_seconds=10).then_nothing()
    scenario.when(step_signed(THREE, seconds=9_000)).then(StepRequested)
