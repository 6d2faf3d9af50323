"""What a domain allows at a time: executions wait their turn in order, steps their minute; compensations wait never."""

from outcomes import outcome
from sagas import asked_for, failed, gate, ok, plan, signed, signers, step
from scenario import START_US, Said, Scenario, given

from autopilot.agents.executor import Executor
from autopilot.agents.executor.bounds import GRACE_US
from autopilot.agents.executor.states import execution_of
from autopilot.infra.effector import conformance
from autopilot.infra.effector.drivers import kubernetes_client, supervisord_client
from autopilot.schemas.configuration import Domain, Fleet, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StepRequested,
)
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeRejected


def fleet(executions: int = 0, steps: int = 0) -> Document:
    shop = Domain(name="shop", max_concurrent_executions=executions, max_steps_per_minute=steps)
    return document(Fleet(name="f", domains=[shop, Domain(name="other")], services=[]).model_dump(mode="json"))


def numbered(number: int) -> PlanProposed:
    """A plan of one step on a target of its own."""
    return plan(step(number), plan_id=f"plan-{number}")


def authorised(number: int, **changes: int) -> Said:
    return signed(numbered(number), decision_id=f"dec-{number}", **changes)


def about(number: int, payload: Payload) -> Said:
    names = {"execution_id": execution_of(f"dec-{number}"), "plan_id": f"plan-{number}"}
    return Said(payload.model_copy(update=names))


def three(executions: int = 0, steps: int = 0) -> Scenario:
    plans = [numbered(number) for number in (1, 2, 3)]
    return given(Executor(), [signers(), fleet(executions, steps)], Tick(at_us=START_US), *plans, service="cart")


def begun(scenario: Scenario) -> list[str]:
    return [d.payload.plan_id for d in scenario.drafts() if isinstance(d.payload, ExecutionStarted)]


def test_without_a_limit_all_run_at_once() -> None:
    assert begun(three().when(authorised(1), authorised(2), authorised(3))) == ["plan-1", "plan-2", "plan-3"]


def test_those_beyond_the_limit_wait_their_turn_in_the_order_of_their_decisions() -> None:
    scenario = three(executions=1).when(authorised(1), authorised(3), authorised(2))
    assert begun(scenario) == ["plan-1"]
    assert begun(scenario.when(about(1, ok("s1")))) == ["plan-3"]
    assert begun(scenario.when(about(3, failed("s3")))) == ["plan-2"]
    scenario.when(about(2, ok("s2"))).then(ExecutionCompleted)


def test_a_stage_that_awaits_its_verdict_and_a_rollback_keep_their_turn() -> None:
    rollout = plan(step(1, gate=gate()), plan_id="plan-1")
    documents = [signers(), fleet(executions=1)]
    scenario = given(Executor(), documents, Tick(at_us=START_US), rollout, numbered(2), service="cart")
    scenario.events(signed(rollout), authorised(2)).when(about(1, ok("s1")))
    assert begun(scenario) == []
    scenario.when(OutcomeRejected(outcome=outcome("stage", "s1"))).then(RollbackStarted, StepRequested)
    assert begun(scenario.when(about(1, ok("s1", "compensation")))) == ["plan-2"]


def test_a_rollback_begins_though_the_limit_is_reached() -> None:
    scenario = three(executions=1).events(authorised(1), about(1, ok("s1")), authorised(2))
    rejected = scenario.when(OutcomeRejected(outcome=outcome()))
    rejected.then(RollbackStarted, StepRequested)


def test_a_limit_of_one_domain_is_none_of_another() -> None:
    elsewhere = Said(numbered(9), domain="other")
    scenario = three(executions=1).events(elsewhere, authorised(1))
    assert begun(scenario.when(Said(authorised(9).payload, domain="other", signed_by="policy"))) == ["plan-9"]


def test_an_authorisation_that_ends_while_it_waits_ends_the_execution_with_that_reason() -> None:
    scenario = three(executions=1).events(authorised(1, seconds=600), authorised(3, seconds=5))
    ended = scenario.after(seconds=6).then(ExecutionFailed).only(ExecutionFailed)
    assert ended.reason == "the authorisation's time was over before its turn in the domain came"
    assert (ended.plan_id, ended.execution_id, ended.needs_person) == ("plan-3", "", False)
    assert begun(scenario.when(about(1, ok("s1")))) == []


def test_what_is_revoked_or_withdrawn_while_it_waits_is_never_begun() -> None:
    revoked = AuthorizationRevoked(decision_id="dec-2", plan_id="plan-2", incident_id="inc-1", reason="r")
    orders = [Said(revoked, signed_by="policy"), PlanWithdrawn(plan_id="plan-2", incident_id="inc-1", reason="r")]
    for order in orders:
        scenario = three(executions=1).events(authorised(1), authorised(2)).when(order).then(ExecutionFailed)
        assert scenario.only(ExecutionFailed).execution_id == ""
        assert begun(scenario.when(about(1, ok("s1")))) == []


def test_a_limit_that_is_raised_lets_the_next_ones_begin() -> None:
    scenario = three(executions=1).events(authorised(1), authorised(2), authorised(3))
    raised = ConfigurationActivated(revision="s", documents=[fleet(executions=2)], author="ada", comment="")
    assert begun(scenario.when(raised)) == ["plan-2"]


def test_the_same_decision_waits_only_once() -> None:
    three(executions=1).events(authorised(1), authorised(2)).when(authorised(2)).then_rejected("decision.plan_id")


def test_steps_beyond_the_rate_wait_for_their_minute_in_order() -> None:
    scenario = three(steps=2).when(authorised(1), authorised(2), authorised(3))
    assert [step_id for step_id, _, _ in asked_for(scenario.drafts())] == ["s1", "s2"]
    assert asked_for(scenario.after(seconds=10).drafts()) == []
    scenario.events(about(1, ok("s1")), about(2, ok("s2")))
    assert asked_for(scenario.after(seconds=49).drafts()) == []
    assert asked_for(scenario.after(seconds=1).drafts()) == [("s3", "forward", 1)]


def test_a_compensation_does_not_wait_for_the_rate() -> None:
    of = plan(step(1), step(2))
    scenario = given(Executor(), [signers(), fleet(steps=2)], Tick(at_us=START_US), of, service="cart")
    scenario.events(signed(of), ok("s1"))
    scenario.when(failed("s2")).then(RollbackStarted, StepRequested)
    assert asked_for(scenario.drafts()) == [("s1", "compensation", 1)]


def test_an_authorisation_that_ends_while_a_step_waits_for_its_minute_turns_back() -> None:
    of = plan(step(1), step(2))
    scenario = given(Executor(), [signers(), fleet(steps=1)], Tick(at_us=START_US), of, service="cart")
    scenario.events(signed(of, seconds=20), ok("s1"))
    turned = scenario.after(seconds=21).then(RollbackStarted, StepRequested).only(RollbackStarted)
    assert "time is over" in turned.reason
    assert scenario.when(ok(phase="compensation")).only(ExecutionRolledBack).failure == ""


def test_an_answer_is_waited_for_longer_than_one_call_of_a_driver_takes() -> None:
    assert max(kubernetes_client.CALL_TIMEOUT_S, supervisord_client.CALL_TIMEOUT_S) * 1_000_000 < GRACE_US
    assert conformance.SLACK_S * 1_000_000 <= GRACE_US
