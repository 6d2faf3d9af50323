"""Past a gate the executor goes only once its stage was verified; from any other verdict, or none, it turns back."""

import pytest
from outcomes import outcome
from sagas import EXECUTION, gate, ok, plan, signed, signers, started, step
from scenario import START_US, Said, Scenario, given

from autopilot.agents.executor import Executor
from autopilot.agents.executor.bounds import GATE_MARGIN_US
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    RollbackStarted,
    StageReached,
    StepRequested,
)
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

ROLLOUT = plan(step(1, gate=gate()), step(2, gate=gate()), step(3))


def verified(step_id: str) -> OutcomeVerified:
    return OutcomeVerified(outcome=outcome("stage", step_id))


def at_the_first_gate(of: PlanProposed = ROLLOUT, seconds: int = 600) -> Scenario:
    scenario = given(Executor(), [signers()], Tick(at_us=START_US), of, service="cart")
    return scenario.events(signed(of, seconds=seconds), started()).when(ok())


def test_a_step_with_a_gate_reaches_its_stage_once_and_waits() -> None:
    scenario = at_the_first_gate().then(StageReached)
    reached = scenario.only(StageReached)
    assert (reached.execution_id, reached.plan_id, reached.step_id) == (EXECUTION, "plan-1", "s1")
    scenario.when(ok(), started()).after(seconds=60, step_seconds=1).then_nothing()


def test_a_verified_stage_is_left_for_the_next_step_until_all_are_done() -> None:
    scenario = at_the_first_gate().when(verified("s1")).then(StepRequested)
    assert scenario.only(StepRequested).step_id == "s2"
    scenario.when(ok("s2")).then(StageReached)
    scenario.when(verified("s2")).then(StepRequested)
    scenario.when(ok("s3")).then(ExecutionCompleted)


def test_a_gate_after_the_last_step_holds_the_completion() -> None:
    scenario = at_the_first_gate(plan(step(1, gate=gate()))).then(StageReached)
    scenario.when(verified("s1")).then(ExecutionCompleted)


def test_a_step_settles_after_its_stage_was_verified() -> None:
    scenario = at_the_first_gate(plan(step(1, gate=gate(), settle_ms=3_000), step(2))).when(verified("s1"))
    scenario.then_nothing().after(seconds=2).then_nothing().after(seconds=1).then(StepRequested)


@pytest.mark.parametrize(
    ("verdict", "word"),
    [(OutcomeRejected, "rejected: so it was measured"), (OutcomeInconclusive, "inconclusive: so it was measured")],
)
def test_a_stage_that_is_not_verified_is_undone_with_those_before_it(
    verdict: type[OutcomeRejected | OutcomeInconclusive], word: str
) -> None:
    scenario = at_the_first_gate().events(verified("s1"), ok("s2"))
    scenario.when(verdict(outcome=outcome("stage", "s2"))).then(RollbackStarted, StepRequested)
    turned = scenario.only(RollbackStarted)
    assert (turned.reason, turned.step_ids) == (f"stage `s2` was not verified: {word}", ["s2", "s1"])
    scenario.events(ok("s2", "compensation")).when(ok("s1", "compensation")).then(ExecutionRolledBack)
    scenario.when(verified("s2")).then_nothing()


def test_a_verdict_on_another_stage_or_before_the_gate_says_nothing() -> None:
    at_the_first_gate().when(verified("s2"), OutcomeRejected(outcome=outcome("stage", "s3"))).then_nothing()
    before = given(Executor(), [signers()], Tick(at_us=START_US), ROLLOUT, service="cart").events(signed(ROLLOUT))
    before.when(verified("s1"), OutcomeRejected(outcome=outcome("stage", "s1"))).then_nothing()
    later = at_the_first_gate().events(verified("s1")).when(OutcomeRejected(outcome=outcome("stage", "s1")))
    later.then_nothing()


def test_a_verdict_on_the_whole_is_none_on_a_stage() -> None:
    at_the_first_gate().when(OutcomeRejected(outcome=outcome()), OutcomeVerified(outcome=outcome())).then_nothing()


def test_a_verdict_that_never_comes_turns_back_after_the_gates_deadline() -> None:
    scenario = at_the_first_gate().after(seconds=60 + GATE_MARGIN_US / 1e6).then_nothing()
    scenario.after(seconds=1).then(RollbackStarted, StepRequested)
    assert scenario.only(RollbackStarted).reason == "stage `s1` was not verified: no verdict in time"


def test_a_rejected_stage_that_nothing_undoes_needs_a_person() -> None:
    scenario = at_the_first_gate(plan(step(1, undo=False, gate=gate()), step(2)))
    scenario.when(OutcomeRejected(outcome=outcome("stage", "s1"))).then(ExecutionFailed)
    assert scenario.only(ExecutionFailed).needs_person


def test_a_halt_during_a_stage_holds_the_next_step() -> None:
    halt = Said(Halt(scope="shop", ordered_by="bob", reason="r"), signed_by="bob")
    scenario = at_the_first_gate().events(halt).when(verified("s1")).then_nothing()
    scenario.after(seconds=30, step_seconds=10).then_nothing()
    scenario.when(Said(Resume(scope="shop", ordered_by="ada", reason="r"), signed_by="ada")).then(StepRequested)


@pytest.mark.parametrize(
    "order",
    [
        Said(
            AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r"),
            signed_by="policy",
        ),
        PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="r"),
    ],
    ids=["revoked", "withdrawn"],
)
def test_what_is_no_longer_wanted_turns_back_from_its_stage_at_once(order: Payload | Said) -> None:
    scenario = at_the_first_gate().when(order).then(RollbackStarted, StepRequested)
    assert "not verified" not in scenario.only(RollbackStarted).reason
    scenario.when(verified("s1")).then_nothing()


def test_an_authorisation_that_ends_during_a_stage_turns_back_with_that_reason() -> None:
    scenario = at_the_first_gate(seconds=30).after(seconds=40, step_seconds=1).then_nothing()
    scenario.when(verified("s1")).then(RollbackStarted, StepRequested)
    assert "time is over" in scenario.only(RollbackStarted).reason


def test_a_revocation_while_the_step_is_under_way_is_not_followed_by_a_stage() -> None:
    revoked = AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r")
    scenario = given(Executor(), [signers()], Tick(at_us=START_US), ROLLOUT, service="cart")
    scenario.events(signed(ROLLOUT), started(), Said(revoked, signed_by="policy"))
    scenario.when(ok()).then(RollbackStarted, StepRequested)
