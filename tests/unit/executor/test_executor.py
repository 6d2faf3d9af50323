"""The executor: what it asks for, and when it stops, turns back or hands over to a person."""

import pytest
from outcomes import outcome
from sagas import (
    EXECUTION,
    SECOND_US,
    asked_for,
    authorization,
    failed,
    ok,
    plan,
    signed,
    signers,
    started,
    step,
    unknown,
)
from scenario import START_US, Said, Scenario, given

from autopilot.agents.executor import Executor
from autopilot.agents.executor.states import execution_of
from autopilot.schemas.configuration import Signers, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import (
    BreakerClosed,
    BreakerOpened,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StepRequested,
)
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn, Step
from autopilot.schemas.events.policy import ApprovalUse, AuthorizationRevoked, Obligation
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.plan_hash import plan_hash

TWO = plan()


def proposed(of: PlanProposed = TWO) -> Scenario:
    return given(Executor(), [signers()], Tick(at_us=START_US), of, service="cart")


def running(of: PlanProposed = TWO) -> Scenario:
    return proposed(of).events(signed(of))


def halt(by: str = "bob", scope: str = "shop") -> Said:
    return Said(Halt(scope=scope, ordered_by=by, reason="r"), signed_by=by)


def resume(by: str = "ada", scope: str = "shop") -> Said:
    return Said(Resume(scope=scope, ordered_by=by, reason="r"), signed_by=by)


def revoked(signed_by: str | None = "policy") -> Said:
    payload = AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="moved")
    return Said(payload, signed_by=signed_by)


# -- starting ----------------------------------------------------------------------------------------------------------


def test_an_authorised_plan_starts_with_its_first_step() -> None:
    scenario = proposed().when(signed(TWO)).then(ExecutionStarted, StepRequested)
    asked = scenario.only(StepRequested)
    assert (asked.execution_id, asked.action, asked.attempt) == (EXECUTION, TWO.steps[0].action, 1)
    assert (asked.not_after_us, asked.timeout_ms) == (START_US + 600 * SECOND_US, 5_000)
    address = {(d.domain, d.service, d.correlation_id) for d in scenario.drafts()}
    assert address == {("shop", "cart", "inc-1")}


def test_an_authorisation_that_the_policy_did_not_sign_is_rejected() -> None:
    proposed().when(authorization(TWO)).then_rejected("signature")
    proposed().when(Said(authorization(TWO), signed_by="bob")).then_rejected("signature")


def test_a_decision_starts_one_execution() -> None:
    running().when(signed(TWO)).then_rejected("decision.plan_id")
    running().when(signed(TWO, decision_id="dec-2")).then_rejected("decision.plan_id")


def refused(scenario: Scenario, *told: Said) -> str:
    failure = scenario.when(*told).then(ExecutionFailed).only(ExecutionFailed)
    assert (failure.execution_id, failure.needs_person) == ("", False)
    return failure.reason


def test_a_plan_that_is_not_known_or_another_version_is_not_started() -> None:
    other = plan(step(1), step(3))
    assert "not known" in refused(given(Executor(), [signers()]), signed(TWO))
    assert "hashes differ" in refused(proposed(), signed(other))


def test_a_plan_whose_hash_is_not_its_own_is_rejected() -> None:
    given(Executor(), [signers()]).when(TWO.model_copy(update={"plan_hash": "sha256:1"})).then_rejected("plan_hash")


@pytest.mark.parametrize("steps", [[], [step(1), step(1)]])
def test_a_plan_without_steps_or_with_two_of_one_name_is_rejected(steps: list[Step]) -> None:
    odd = TWO.model_copy(update={"steps": steps, "plan_hash": plan_hash(steps, TWO.verification)})
    assert "not known" in refused(given(Executor(), [signers()]).when(odd).then_rejected("steps"), signed(odd))


def test_an_expired_or_revoked_authorisation_or_a_withdrawn_plan_is_not_started() -> None:
    assert "time is over" in refused(proposed(), signed(TWO, seconds=-1))
    assert "revoked" in refused(proposed().events(revoked()), signed(TWO))
    withdrawn = PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="r")
    assert "not known" in refused(proposed().events(withdrawn), signed(TWO))


def test_an_unknown_obligation_is_refused_and_known_ones_are_met() -> None:
    notify = Obligation(name="notify", parameters={"to": "team"})
    approval = Obligation(name="approval", parameters={"needed": "2"})
    approvals = [ApprovalUse(approver=name, event_id=name) for name in ("ada", "bob")]
    assert "`dance`" in refused(proposed(), signed(TWO, obligations=[Obligation(name="dance", parameters={})]))
    assert "1 of 2" in refused(proposed(), signed(TWO, obligations=[approval], approvals=approvals[:1]))
    met = signed(TWO, obligations=[notify, approval], approvals=approvals)
    proposed().when(met).then(ExecutionStarted, StepRequested)


def test_who_lost_the_role_no_longer_authorises() -> None:
    nobody = document(Signers(name="s", signers=[]).model_dump(mode="json"))
    given(Executor(), [nobody], TWO).when(signed(TWO)).then_rejected("signature")


# -- forward -----------------------------------------------------------------------------------------------------------


def test_the_last_steps_success_completes_the_execution() -> None:
    scenario = running().when(started(), ok())
    assert asked_for(scenario.drafts()) == [("s2", "forward", 1)]
    scenario.when(started("s2"), ok("s2")).then(ExecutionCompleted)


def test_a_step_settles_before_the_next_one() -> None:
    scenario = running(plan(step(1, settle_ms=3_000), step(2))).when(ok()).then_nothing()
    scenario.after(seconds=2).then_nothing().after(seconds=1).then(StepRequested)


def test_a_passing_failure_is_tried_again_after_a_while_under_the_same_key() -> None:
    scenario = proposed().when(signed(TWO))
    first = scenario.only(StepRequested)
    scenario.when(failed(failure=FailureClass.TRANSIENT)).then_nothing()
    second = scenario.after(seconds=1).only(StepRequested)
    assert (second.attempt, second.idempotency_key) == (2, first.idempotency_key)


def test_back_off_doubles() -> None:
    scenario = running(plan(step(1, attempts=3))).events(failed(failure=FailureClass.TRANSIENT))
    scenario.after(seconds=1).then(StepRequested)
    scenario.when(failed(attempt=2, failure=FailureClass.TRANSIENT)).after(seconds=1).then_nothing()
    scenario.after(seconds=1).then(StepRequested)


def test_lasting_failures_are_not_tried_again() -> None:
    lasting = (FailureClass.PERMANENT, FailureClass.DENIED, FailureClass.MISSING, FailureClass.REFUSED)
    for failure in (*lasting, FailureClass.CONFLICT):
        end = running().when(failed(failure=failure)).then(ExecutionFailed).only(ExecutionFailed)
        assert (end.execution_id, end.needs_person) == (EXECUTION, False)
        assert f"({failure})" in end.reason


def test_a_stale_step_is_not_tried_again_and_the_end_says_so() -> None:
    end = running().when(failed(failure=FailureClass.STALE)).then(ExecutionFailed).only(ExecutionFailed)
    assert (end.failure, end.needs_person) == ("stale", False)


def test_a_missing_answer_is_a_timeout_and_is_tried_again() -> None:
    scenario = running().after(seconds=15).then_nothing().after(seconds=2).then_nothing()
    assert asked_for(scenario.after(seconds=2).drafts()) == [("s1", "forward", 2)]


def test_requests_that_nobody_began_open_no_breaker() -> None:
    never_begun = running(plan(step(1, attempts=9)))
    assert BreakerOpened not in [type(one.payload) for _ in range(120) for one in never_begun.after(seconds=1).drafts()]
    begun = running(plan(step(1, attempts=9)))
    for attempt in (1, 2, 3):
        begun.events(started(attempt=attempt)).after(seconds=16)
        opened = [one.payload for one in begun.drafts() if isinstance(one.payload, BreakerOpened)]
        assert len(opened) == (attempt == 3)
        begun.after(seconds=4)


def test_the_time_of_an_attempt_runs_from_its_start() -> None:
    scenario = running().after(seconds=14).when(started()).after(seconds=14).then_nothing()
    scenario.when(ok()).then(StepRequested)


def test_a_late_success_of_an_earlier_attempt_counts_and_its_late_failure_does_not() -> None:
    late = running().after(seconds=16).after(seconds=2)
    assert asked_for(late.when(ok()).drafts()) == [("s2", "forward", 1)]
    late.when(ok(attempt=2), failed(attempt=2)).then_nothing()
    running().after(seconds=16).after(seconds=2).when(failed()).then_nothing()


def test_a_result_that_was_never_asked_for_is_left_alone() -> None:
    running().when(ok("s2"), ok(attempt=2), ok(phase="compensation"), failed("s2")).then_nothing()


# -- turning back ------------------------------------------------------------------------------------------------------


def test_a_failure_undoes_the_completed_steps_in_reverse() -> None:
    scenario = running(plan(step(1), step(2), step(3))).events(ok(), ok("s2"))
    scenario.when(failed("s3")).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).step_ids == ["s2", "s1"]
    asked = scenario.only(StepRequested)
    assert (asked.step_id, asked.phase, asked.action) == ("s2", "compensation", step(2).compensation)
    assert asked_for(scenario.when(ok("s2", "compensation")).drafts()) == [("s1", "compensation", 1)]
    scenario.when(ok("s1", "compensation")).then(ExecutionRolledBack)


def test_a_step_that_timed_out_for_good_is_undone_too() -> None:
    scenario = running(plan(step(1, attempts=1))).when(failed(failure=FailureClass.TIMEOUT))
    assert scenario.only(RollbackStarted).step_ids == ["s1"]


def test_a_step_that_timed_out_is_undone_whatever_a_later_try_says() -> None:
    scenario = running().events(failed(failure=FailureClass.TIMEOUT)).after(seconds=1)
    scenario.when(failed(attempt=2, failure=FailureClass.PERMANENT)).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).step_ids == ["s1"]
    waiting = running().events(failed(failure=FailureClass.TIMEOUT))
    assert waiting.when(revoked()).only(RollbackStarted).step_ids == ["s1"]
    mended = running().events(failed(failure=FailureClass.TIMEOUT)).after(seconds=1).events(ok(attempt=2))
    assert mended.when(failed("s2")).only(RollbackStarted).step_ids == ["s1"]


def test_a_timeout_that_nothing_undoes_needs_a_person() -> None:
    scenario = running(plan(step(1, undo=False, attempts=1))).when(failed(failure=FailureClass.TIMEOUT))
    assert scenario.then(ExecutionFailed).only(ExecutionFailed).needs_person


def test_what_nothing_undoes_needs_a_person_unless_it_needs_no_undoing() -> None:
    for reversible in (True, False):
        scenario = running(plan(step(1, undo=False), step(2), reversible=reversible)).events(ok())
        assert scenario.when(failed("s2")).only(ExecutionFailed).needs_person is not reversible


def test_a_failed_compensation_opens_the_breaker_and_needs_a_person() -> None:
    scenario = running().events(ok(), failed("s2")).when(failed(phase="compensation"))
    scenario.then(ExecutionFailed, BreakerOpened)
    assert scenario.only(ExecutionFailed).needs_person
    assert scenario.only(BreakerOpened).breaker == "fake/set/t1"
    scenario.when(ok(phase="compensation")).then_nothing()


def test_an_unknown_effect_ends_everything() -> None:
    scenario = running().events(ok()).when(unknown("s2")).then(ExecutionFailed)
    assert scenario.only(ExecutionFailed).needs_person
    scenario.when(ok("s2")).after(seconds=60).then_nothing()


def test_a_rejected_outcome_is_undone_and_an_accepted_one_is_not() -> None:
    done = running().events(ok(), ok("s2"))
    assert done.when(OutcomeRejected(outcome=outcome())).only(RollbackStarted).step_ids == ["s2", "s1"]
    for verdict in (OutcomeVerified(outcome=outcome()), OutcomeInconclusive(outcome=outcome())):
        kept = running().events(ok(), ok("s2")).when(verdict).then_nothing()
        kept.when(OutcomeRejected(outcome=outcome())).then_nothing()


def test_a_rejected_outcome_that_nothing_undoes_needs_a_person() -> None:
    scenario = running(plan(step(1, undo=False))).events(ok()).when(OutcomeRejected(outcome=outcome()))
    assert scenario.then(ExecutionFailed).only(ExecutionFailed).needs_person


def test_a_rejected_rollback_is_not_undone_again() -> None:
    rolled_back = running().events(ok(), failed("s2"), ok(phase="compensation"))
    rolled_back.when(OutcomeRejected(outcome=outcome("rollback")), OutcomeRejected(outcome=outcome())).then_nothing()


def test_a_compensation_is_asked_for_after_the_authorisations_time() -> None:
    scenario = running().events(ok(), ok("s2")).after(seconds=700)
    asked = scenario.when(OutcomeRejected(outcome=outcome())).only(StepRequested)
    assert asked.not_after_us > scenario.now_us


# -- revocation, withdrawal, expiry, halts -----------------------------------------------------------------------------


def test_a_revocation_stops_after_the_attempt_under_way_and_undoes() -> None:
    scenario = running().events(started()).when(revoked()).then_nothing()
    assert scenario.when(ok()).then(RollbackStarted, StepRequested).only(RollbackStarted).step_ids == ["s1"]


def test_a_revocation_before_anything_was_done_ends_the_execution() -> None:
    scenario = proposed().events(halt(), signed(TWO)).when(revoked())
    assert not scenario.then(ExecutionFailed).only(ExecutionFailed).needs_person


def test_an_unsigned_revocation_is_rejected() -> None:
    running().when(revoked(None)).then_rejected("signature")


def test_a_withdrawn_plan_is_stopped() -> None:
    settling = running(plan(step(1, settle_ms=9_000), step(2))).events(ok())
    settling.when(PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="r")).then(RollbackStarted, StepRequested)


def test_no_step_is_asked_for_after_the_authorisations_time() -> None:
    of = plan(step(1, settle_ms=1_000), step(2))
    scenario = proposed(of).events(signed(of, seconds=5), ok()).after(seconds=6)
    assert "time is over" in scenario.then(RollbackStarted, StepRequested).only(RollbackStarted).reason


def test_a_halt_holds_forward_steps_until_another_person_resumes() -> None:
    scenario = running().events(halt()).when(ok()).then_nothing().after(seconds=30).then_nothing()
    scenario.when(resume(by="bob")).then_rejected("ordered_by")
    assert asked_for(scenario.when(resume()).drafts()) == [("s2", "forward", 1)]


def test_an_attempt_that_was_refused_because_of_a_halt_is_asked_for_again() -> None:
    scenario = running(plan(step(1, attempts=1))).events(halt())
    scenario.when(failed(failure=FailureClass.REFUSED, reason="halted")).then_nothing()
    assert asked_for(scenario.when(resume()).drafts()) == [("s1", "forward", 2)]


def test_a_halt_elsewhere_or_by_nobody_holds_nothing() -> None:
    running().events(halt(scope="other")).when(ok()).then(StepRequested)
    unsigned = running().when(Halt(scope="*", ordered_by="bob", reason="r"))
    unsigned.then_rejected("signature")
    unsigned.when(ok()).then(StepRequested)
    running().when(Said(Halt(scope="*", ordered_by="policy", reason="r"), signed_by="policy")).then_rejected(
        "ordered_by"
    )


def test_a_rollback_goes_on_during_a_halt() -> None:
    scenario = running().events(ok(), halt(scope="*")).when(failed("s2")).then(RollbackStarted, StepRequested)
    scenario.when(ok(phase="compensation")).then(ExecutionRolledBack)


# -- breakers ----------------------------------------------------------------------------------------------------------


def with_open_breaker() -> Scenario:
    scenario = running(plan(step(1, attempts=3), step(2)))
    for attempt in (1, 2, 3):
        scenario.when(failed(attempt=attempt, failure=FailureClass.TRANSIENT))
        if attempt < 3:
            scenario.after(seconds=4)
    scenario.then(ExecutionFailed, BreakerOpened)
    return scenario.events(plan(step(1), plan_id="plan-2"))


def second(decision_id: str = "dec-2") -> Said:
    return signed(plan(step(1), plan_id="plan-2"), decision_id=decision_id)


def test_three_failures_in_a_row_open_the_breaker_and_nothing_is_asked_for_there() -> None:
    assert "breaker `fake/set/t1` is open" in refused(with_open_breaker(), second())


def probing() -> Scenario:
    scenario = with_open_breaker().after(seconds=301)
    return scenario.when(second()).then(ExecutionStarted, StepRequested)


def about_second(payload: Payload) -> Said:
    return Said(payload.model_copy(update={"execution_id": execution_of("dec-2"), "plan_id": "plan-2"}))


def test_a_probe_that_succeeds_closes_the_breaker() -> None:
    probing().when(about_second(ok())).then(BreakerClosed, ExecutionCompleted)


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    scenario = probing()
    scenario.when(about_second(failed())).then(ExecutionFailed, BreakerOpened)
    assert scenario.only(BreakerOpened).until_us - scenario.now_us == 600 * SECOND_US


@pytest.mark.parametrize("failure", [FailureClass.REFUSED, FailureClass.STALE])
def test_an_attempt_that_touched_nothing_does_not_count_against_the_target(failure: FailureClass) -> None:
    scenario = running(plan(step(1))).events(failed(failure=failure))
    assert scenario.state.breakers == {} or all(b.failures == 0 for b in scenario.state.breakers.values())


# -- forgetting --------------------------------------------------------------------------------------------------------


def test_a_judged_execution_is_forgotten_once_it_cannot_be_started_again() -> None:
    scenario = running().events(ok(), ok("s2"), OutcomeVerified(outcome=outcome())).after(seconds=599)
    assert list(scenario.state.executions) == [EXECUTION]
    scenario.after(seconds=2)
    assert (scenario.state.executions, scenario.state.plans) == ({}, {})
    assert "not known" in refused(scenario, signed(TWO))


def test_an_execution_without_a_verdict_and_a_plan_without_a_decision_are_forgotten_in_the_end() -> None:
    scenario = running().events(ok(), ok("s2")).after(seconds=3_600)
    assert list(scenario.state.executions) == [EXECUTION]
    assert scenario.after(seconds=86_400).state.executions == {}
    assert proposed().after(seconds=7_300).state.plans == {}
