"""Each reason for which a step is refused, and the steps that are let through."""

from dataclasses import replace
from typing import Any

import pytest
from gate_world import HELD, NAMES, REVOKED, ROLLBACK, TWO, at_a_held_step, authorised, halt, why_not
from outcomes import outcome
from sagas import (
    SECOND_US,
    act,
    gate,
    ok,
    plan,
    request,
    signed,
    signers,
    started,
    step,
    step_authorization,
    step_signed,
)
from scenario import START_US, Said, Scenario, given

from autopilot.infra.effector.gate import Gate
from autopilot.schemas.configuration import Fleet, Service, TargetRef, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionFailed, StepRequested
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified


def changed(**changes: Any) -> StepRequested:
    return request(TWO).model_copy(update=changes)


def test_a_step_of_an_authorised_plan_is_let_through() -> None:
    assert why_not(authorised()) is None
    first_done = authorised().events(request(TWO), started(), ok())
    assert why_not(first_done, request(TWO, "s2"), seconds=600) is None


def test_a_step_waits_for_those_before_it() -> None:
    too_early = "step `s1`, which comes before it, has not succeeded"
    assert why_not(authorised(), request(TWO, "s2")) == too_early
    assert why_not(authorised().events(request(TWO), started()), request(TWO, "s2")) == too_early


def test_a_step_past_a_gate_needs_the_stage_to_be_verified() -> None:
    staged = plan(step(1).model_copy(update={"gate": gate()}), step(2))
    done = given(Gate(), [signers()], Tick(at_us=START_US), staged, signed(staged)).events(request(staged), ok())
    unseen = "the stage of step `s1` is not verified"
    assert why_not(done, request(staged, "s2")) == unseen
    done.events(OutcomeRejected(outcome=outcome("stage", "s1")), OutcomeVerified(outcome=outcome("remedy")))
    assert why_not(done, request(staged, "s2")) == unseen
    done.events(OutcomeVerified(outcome=outcome("stage", "s1")))
    assert why_not(done, request(staged, "s2")) is None


def test_a_held_step_needs_an_authorisation_of_its_own() -> None:
    unheld = "step `s2` is held, and no authorisation of it was signed by the policy"
    scenario = at_a_held_step()
    assert why_not(scenario, request(HELD, "s2")) == unheld
    for signer in (None, "ada", "nobody"):
        scenario.when(Said(step_authorization(HELD), signed_by=signer)).then_rejected("signature")
    assert why_not(scenario, request(HELD, "s2")) == unheld
    assert why_not(scenario.events(step_signed(HELD, "s3")), request(HELD, "s2")) == unheld
    assert why_not(scenario.events(step_signed(HELD)), request(HELD, "s2")) is None


def test_a_held_step_begins_by_the_time_of_its_own_authorisation_and_not_of_the_plans() -> None:
    scenario = at_a_held_step(seconds=60).events(step_signed(HELD, seconds=500))
    assert why_not(scenario, request(HELD, "s2"), seconds=500) is None
    assert why_not(scenario, request(HELD, "s2"), seconds=501) == "the time of the authorisation of step `s2` is over"


def test_the_last_held_step_covers_what_follows_it() -> None:
    scenario = given(Gate(), [signers()], Tick(at_us=START_US), HELD, signed(HELD, held_steps=["s2"], seconds=60))
    scenario.events(request(HELD), ok(), step_signed(HELD), request(HELD, "s2"), ok("s2"))
    assert why_not(scenario, request(HELD, "s3"), seconds=600) is None


@pytest.mark.parametrize(
    "said",
    [
        step_signed(plan(step(1), step(2))),
        step_signed(plan(step(1), step(2), step(3), plan_id="plan-9")),
        Said(step_authorization(HELD), signed_by="policy", domain="elsewhere"),
    ],
    ids=["another hash", "another plan", "another domain"],
)
def test_an_authorisation_of_a_step_is_for_its_plan_alone(said: Said) -> None:
    assert why_not(at_a_held_step().events(said), request(HELD, "s2")) == (
        "the authorisation of step `s2` is about another plan"
    )


def test_what_undoes_a_step_needs_no_authorisation_of_its_own() -> None:
    undone = request(HELD, "s1", "compensation")
    assert why_not(at_a_held_step().events(ROLLBACK), undone, seconds=600) is None


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (changed(decision_id="dec-9"), "no decision of this id was signed by the policy"),
        (changed(plan_id="plan-9"), "the decision is about another plan"),
        (changed(execution_id="exec-9"), "the execution is not the decision's"),
        (changed(step_id="s9"), "the plan has no such step"),
        (changed(phase="sideways"), "the plan has no such step"),
        (changed(action=act("set", "t1", n="9")), "the action is not the plan's"),
        (changed(action=TWO.steps[1].action), "the action is not the plan's"),
        (changed(action=TWO.steps[0].compensation), "the action is not the plan's"),
        (changed(idempotency_key="key-9"), "the idempotency key is not the step's"),
        (changed(not_after_us=START_US - 1), "the request's time is over"),
    ],
)
def test_a_request_must_be_exactly_what_was_decided(asked: StepRequested, reason: str) -> None:
    assert why_not(authorised(), asked) == reason


def test_the_plan_must_be_known_and_the_one_that_was_judged() -> None:
    assert why_not(given(Gate(), [signers()], signed(TWO))) == "the plan is not known"
    swapped = plan(step(3)).model_copy(update={"plan_hash": TWO.plan_hash})
    scenario = given(Gate(), [signers()], swapped, signed(TWO))
    assert "hashes differ" in (why_not(scenario, request(swapped, "s3")) or "")


def test_forward_steps_are_refused_after_a_revocation_in_a_halt_and_after_the_decisions_time() -> None:
    assert why_not(authorised().events(REVOKED)) == "the authorisation was revoked"
    assert why_not(authorised().events(halt())) == "the domain is halted"
    assert why_not(authorised().events(halt("*"))) == "the domain is halted"
    assert why_not(authorised(seconds=60), seconds=61) == "the authorisation's time is over"


def test_a_compensation_needs_a_rollback_and_nothing_else_holds_it_up() -> None:
    undo = request(TWO, phase="compensation").model_copy(update={"not_after_us": START_US + 9_000 * SECOND_US})
    assert why_not(authorised(), undo) == "no rollback of the execution is under way"
    scenario = authorised().events(ROLLBACK, REVOKED, halt("*"))
    assert why_not(scenario, undo, seconds=8_000) is None
    scenario.events(ExecutionFailed(**NAMES, reason="r", needs_person=True))
    assert why_not(scenario, undo) == "no rollback of the execution is under way"


@pytest.mark.parametrize(
    "odd", [{"parameters": {"step": "s2"}}, {"parameters": {}}, {"target": "t9"}, {"driver": "other"}, {}]
)
def test_a_revert_is_of_the_step_that_it_compensates_at_the_same_target(odd: dict[str, Any]) -> None:
    back = act("revert", "t1", step="s1").model_copy(update=odd)
    of = plan(step(1).model_copy(update={"compensation": back}), step(2))
    scenario = given(Gate(), [signers()], Tick(at_us=START_US), of, signed(of), ROLLBACK)
    why = why_not(scenario, request(of, phase="compensation"))
    assert why == ("a revert undoes the step that it belongs to, and nothing else" if odd else None)


def test_a_revert_is_no_forward_step() -> None:
    of = plan(step(1).model_copy(update={"action": act("revert", "t1", step="s1")}))
    scenario = given(Gate(), [signers()], Tick(at_us=START_US), of, signed(of))
    assert "a revert undoes the step" in (why_not(scenario, request(of)) or "")


def test_a_target_of_another_service_is_refused_whatever_was_decided() -> None:
    def decided(target: str) -> Scenario:
        cart = Service(name="cart", domain="shop", tier=1, owner="o", targets=[TargetRef(driver="fake", target=target)])
        fleet = document(Fleet(name="f", domains=[], services=[cart]).model_dump(mode="json"))
        return given(Gate(), [signers(), fleet], Tick(at_us=START_US), TWO, replace(signed(TWO), service="cart"))

    assert why_not(decided("t1")) is None
    assert why_not(decided("t9")) == "`fake/t1` is no target of `cart`, which the decision is about"


@pytest.mark.parametrize("end", [ROLLBACK, ExecutionCompleted(**NAMES)])
def test_no_forward_step_after_the_executions_end_or_turn(end: Payload) -> None:
    assert why_not(authorised().events(end)) == "the execution takes no forward step any more"


@pytest.mark.parametrize("further", [[started()], [started(), ok()], [ok()]])
def test_an_attempt_is_let_through_once(further: list[Payload]) -> None:
    scenario = authorised().events(request(TWO), *further)
    assert why_not(scenario) == "this attempt was already started"
    assert why_not(scenario, request(TWO, attempt=2)) is None


def test_only_the_last_attempt_that_was_asked_for_counts() -> None:
    scenario = authorised().events(request(TWO), request(TWO, attempt=2))
    assert why_not(scenario) == "a later attempt of the step is asked for"
