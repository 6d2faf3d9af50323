"""The gate: each reason for which a step is refused, and the steps that are let through."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sagas import (
    ADA,
    BOB,
    EXECUTION,
    SECOND_US,
    act,
    authorization,
    gate,
    ok,
    outcome,
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

from autopilot.agents.executor.bounds import HELD_ANSWER_US
from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.gate_state import IN_HAND_KEPT_US, KEPT_AFTER_CLOSE_US, KEPT_US, Before
from autopilot.policies.obligations import LONGEST_REQUEST_MS
from autopilot.schemas.configuration import Fleet, Service, Signers, TargetRef, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StepRequested,
)
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import IncidentClosed
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

TWO = plan()
HELD = plan(step(1), step(2), step(3))
NAMES = {"execution_id": EXECUTION, "plan_id": "plan-1", "incident_id": "inc-1"}
ROLLBACK = RollbackStarted(**NAMES, reason="r", step_ids=["s1"])
FAILED = ExecutionFailed(**NAMES, reason="r", needs_person=True, failure="permanent")
CLOSED = IncidentClosed(incident_id="inc-1", resolution="remediated", reason="r")
REVOKED = Said(
    AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r"), signed_by="policy"
)


def halt(scope: str = "shop", by: str = "bob") -> Said:
    return Said(Halt(scope=scope, ordered_by=by, reason="r"), signed_by=by)


def authorised(**changes: Any) -> Scenario:
    return given(Gate(), [signers()], Tick(at_us=START_US), TWO, signed(TWO, **changes))


def why_not(scenario: Scenario, asked: StepRequested | None = None, *, seconds: int = 0) -> str | None:
    agent = scenario.agent
    assert isinstance(agent, Gate)
    return agent.refusal(scenario.state, asked or request(TWO), START_US + seconds * SECOND_US)


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


def at_a_held_step(**changes: Any) -> Scenario:
    """The first of three steps is done, and each of the others is held."""
    scenario = given(Gate(), [signers()], Tick(at_us=START_US), HELD, signed(HELD, held_steps=["s2", "s3"], **changes))
    return scenario.events(request(HELD), started(), ok())


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


def test_the_first_authorisation_of_a_step_counts_and_goes_with_its_signers_role() -> None:
    scenario = at_a_held_step().events(step_signed(HELD, seconds=100))
    scenario.when(step_signed(HELD, seconds=600)).then_rejected("step_id")
    assert "time" in (why_not(scenario, request(HELD, "s2"), seconds=101) or "")
    nobody = document(Signers(name="s", signers=[]).model_dump(mode="json"))
    scenario.events(ConfigurationActivated(revision="r", documents=[nobody], author="ada", comment=""))
    assert "no longer has the role" in (why_not(scenario, request(HELD, "s2")) or "")


def test_what_undoes_a_step_needs_no_authorisation_of_its_own() -> None:
    undone = request(HELD, "s1", "compensation")
    assert why_not(at_a_held_step().events(ROLLBACK), undone, seconds=600) is None


def test_an_authorisation_of_a_step_is_forgotten_with_its_incident() -> None:
    scenario = at_a_held_step().events(step_signed(HELD))
    scenario.events(FAILED, CLOSED, Tick(at_us=START_US + KEPT_AFTER_CLOSE_US + 1))
    assert scenario.state.held == {}


def test_nothing_is_let_through_without_a_decision_that_the_policy_signed() -> None:
    no_decision = "no decision of this id was signed by the policy"
    assert why_not(given(Gate(), [signers()], TWO)) == no_decision
    for signer in (None, "ada", "nobody"):
        scenario = given(Gate(), [signers()], TWO).when(Said(authorization(TWO), signed_by=signer))
        assert why_not(scenario.then_rejected("signature")) == no_decision


def test_a_decision_loses_its_force_with_its_signers_role() -> None:
    nobody = document(Signers(name="s", signers=[]).model_dump(mode="json"))
    scenario = authorised().events(ConfigurationActivated(revision="r", documents=[nobody], author="ada", comment=""))
    assert "no longer has the role" in (why_not(scenario) or "")


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


def test_a_plan_is_not_replaced_by_another_of_its_name() -> None:
    scenario = authorised().when(plan(step(3)))
    assert why_not(scenario.then_rejected("plan_id")) is None


def test_forward_steps_are_refused_after_a_revocation_in_a_halt_and_after_the_decisions_time() -> None:
    assert why_not(authorised().events(REVOKED)) == "the authorisation was revoked"
    assert why_not(authorised().events(halt())) == "the domain is halted"
    assert why_not(authorised().events(halt("*"))) == "the domain is halted"
    assert why_not(authorised(seconds=60), seconds=61) == "the authorisation's time is over"


def test_a_halt_holds_for_the_domain_that_was_signed_whatever_the_plan_is_said_to_belong_to() -> None:
    moved = authorised().events(Said(TWO, domain="elsewhere"))
    assert why_not(moved.events(halt("elsewhere"))) is None
    assert why_not(moved.events(halt())) == "the domain is halted"
    early = given(Gate(), [signers()], Tick(at_us=START_US), Said(TWO, domain="elsewhere"), signed(TWO), halt())
    assert why_not(early) == "the domain is halted"


def test_only_signed_revocations_and_halts_by_those_who_may_count() -> None:
    for said in (
        REVOKED.payload,
        Said(REVOKED.payload, signed_by="ada"),
        Halt(scope="*", ordered_by="bob", reason="r"),
        halt(by="policy"),
        Said(Halt(scope="*", ordered_by="ada", reason="r"), signed_by="bob"),
    ):
        assert why_not(authorised().events(said)) is None


def test_a_halt_elsewhere_does_not_matter_and_another_person_resumes() -> None:
    def resume(by: str) -> Said:
        return Said(Resume(scope="shop", ordered_by=by, reason="r"), signed_by=by)

    assert why_not(authorised().events(halt("other"))) is None
    assert why_not(authorised().events(halt(), resume("bob"))) == "the domain is halted"
    assert why_not(authorised().events(halt(), resume("ada"))) is None


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


@pytest.mark.parametrize(
    ("pinned", "refused"),
    [
        (frozenset({ADA.public_key}), False),
        (frozenset({ADA.public_key, "x"}), False),
        (frozenset({BOB.public_key}), True),
    ],
)
def test_with_pinned_administrators_another_one_is_refused(pinned: set[str], refused: bool) -> None:
    scenario = given(Gate(frozenset(pinned)), [signers()], TWO, signed(TWO))
    assert (why_not(scenario) is not None) is refused


def test_under_an_administrator_who_is_not_pinned_nothing_is_undone_either_and_the_reason_says_what_to_do() -> None:
    begun = [request(TWO), started(), ok(), ROLLBACK]
    undo = request(TWO, phase="compensation")
    for pinned, told in (
        (ADA, None),
        (BOB, f"`{ADA.public_key}`, is not a pinned one: nothing is done, and nothing un"),
    ):
        scenario = given(Gate(frozenset({pinned.public_key})), [signers()], TWO, signed(TWO), *begun)
        why = why_not(scenario, undo)
        assert (why is None) if told is None else (told in (why or ""))


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
