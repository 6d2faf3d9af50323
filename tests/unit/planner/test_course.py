"""What follows on a plan: decisions, executions and outcomes."""

import pytest
from planner.shop import (
    RESTART,
    SERVICES,
    all_observed,
    authorized,
    cleared,
    decision,
    denied,
    documents,
    execution,
    given,
    lost,
    observed,
    outcome,
    raised,
    service,
)
from scenario import Said, Scenario

from autopilot.agents.executor.bounds import COMPENSATION_WINDOW_US
from autopilot.agents.planner import Limits, Planner
from autopilot.agents.planner.proposal import UNDOING_WAITS_MS
from autopilot.schemas.configuration import TargetRef
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, ExecutionStarted, StepHeld
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.events.planner import (
    IncidentClosed,
    IncidentOpened,
    NoPlanFound,
    PlanProposed,
    PlanWithdrawn,
    SignalLinked,
)
from autopilot.schemas.events.policy import ApprovalRequested, StepAuthorized
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified


def shop() -> Scenario:
    return given(Planner(), documents(), *all_observed()).when(raised("cart"))


def plan_of(scenario: Scenario) -> PlanProposed:
    return scenario.only(PlanProposed)


def rolled_back(plan: PlanProposed) -> ExecutionRolledBack:
    return ExecutionRolledBack(
        execution_id="exe", plan_id=plan.plan_id, incident_id=plan.incident_id, reason="it did not help"
    )


def failed(plan: PlanProposed, *, needs_person: bool = False) -> ExecutionFailed:
    return ExecutionFailed(
        execution_id="exe",
        plan_id=plan.plan_id,
        incident_id=plan.incident_id,
        reason="target gone",
        needs_person=needs_person,
    )


def test_a_verified_remedy_and_cleared_signals_end_the_incident() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.when(*execution(plan), OutcomeVerified(outcome=outcome(plan))).then_nothing()
    scenario.when(cleared("cart")).then(SignalLinked, IncidentClosed)
    assert scenario.only(IncidentClosed).resolution == "remediated"


def test_signals_that_cleared_before_the_verdict_wait_for_it() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan)).when(cleared("cart")).then(SignalLinked)
    scenario.when(OutcomeVerified(outcome=outcome(plan))).then(IncidentClosed)
    assert scenario.only(IncidentClosed).resolution == "remediated"


def test_a_rejected_remedy_is_undone_before_the_next_one_is_proposed() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan)).when(OutcomeRejected(outcome=outcome(plan))).then_nothing()
    scenario.when(rolled_back(plan)).then(PlanProposed)
    following = plan_of(scenario)
    assert (following.remedy, following.attempt) == ("restart", 2)
    switch = next(one for one in following.alternatives if one.remedy == "switch-release")
    assert switch.why_not == "tried in this incident: rolled back: it did not help"


def test_the_next_best_is_proposed_after_a_denial_three_times_and_then_a_person_is_told() -> None:
    scenario = shop()
    remedies = []
    for _ in range(2):
        remedies.append(plan_of(scenario).remedy)
        scenario.when(denied(plan_of(scenario))).then(PlanProposed)
    remedies.append(plan_of(scenario).remedy)
    scenario.when(denied(plan_of(scenario))).then(NoPlanFound)
    assert remedies == ["switch-release", "restart", "scale-out"]
    assert scenario.only(NoPlanFound).reason == "3 remedies were tried without success"
    scenario.when(raised("cart", signal_id="more")).then(SignalLinked)
    scenario.events(cleared("cart")).when(cleared("more", prefix="x")).then_nothing()
    closing = cleared("cart").payload.model_copy(update={"signal_id": "more"})
    assert scenario.when(closing).only(IncidentClosed).resolution == "escalated"


def test_a_failed_execution_leads_to_the_next_remedy() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(authorized(plan)).when(failed(plan)).then(PlanProposed)
    assert plan_of(scenario).remedy == "restart"


def test_a_stale_plan_was_not_tried_and_is_made_anew_on_what_is_there_now() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan)[:2], observed("cart", release="v3", previous_release="v2"))
    scenario.when(failed(plan).model_copy(update={"failure": "stale"})).then(PlanProposed)
    again = plan_of(scenario)
    assert (again.remedy, again.attempt) == (plan.remedy, 2)
    assert again.steps[0].action.parameters == {"release": "v2"}


def test_a_plan_whose_turn_never_came_was_not_tried_and_is_made_anew_until_there_were_too_many() -> None:
    scenario = given(Planner(Limits(plans=4)), documents(), *all_observed()).when(raised("cart"))
    for attempt in (1, 2, 3):
        plan = plan_of(scenario)
        assert (plan.remedy, plan.attempt) == ("switch-release", attempt)
        never = failed(plan).model_copy(update={"execution_id": ""})
        scenario.events(authorized(plan)).when(never).then(PlanProposed)
    never = failed(plan_of(scenario)).model_copy(update={"execution_id": ""})
    scenario.events(authorized(plan_of(scenario))).when(never).then(NoPlanFound)
    assert scenario.only(NoPlanFound).reason == "4 plans were made without success"


def test_a_remedy_that_an_obstacle_kept_from_beginning_cools_down_and_was_not_tried() -> None:
    scenario = shop()
    first = plan_of(scenario)
    scenario.events(authorized(first))
    scenario.when(failed(first).model_copy(update={"execution_id": "", "failure": "refused"})).then(PlanProposed)
    following = plan_of(scenario)
    assert (first.remedy, following.remedy) == ("switch-release", "restart")
    switch = next(one for one in following.alternatives if one.remedy == "switch-release")
    assert "cool" in switch.why_not


def test_a_target_that_needs_a_person_gets_no_further_plan() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(authorized(plan)).when(failed(plan, needs_person=True)).then(NoPlanFound)
    assert scenario.only(NoPlanFound).reason == "its target needs a person: target gone"
    scenario.when(raised("cart", signal_id="more")).then(SignalLinked)


def test_a_rejected_remedy_that_left_nothing_to_undo_leads_to_the_next_one() -> None:
    scenario = given(Planner(), documents(), *all_observed()).when(raised("cart", sli="availability"))
    plan = plan_of(scenario)
    assert plan.remedy == "restart"
    scenario.events(*execution(plan)).events(OutcomeRejected(outcome=outcome(plan)))
    scenario.when(failed(plan, needs_person=True)).then(PlanProposed)


def test_an_inconclusive_outcome_leaves_it_to_a_person() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan)).when(OutcomeInconclusive(outcome=outcome(plan))).then(NoPlanFound)
    assert "inconclusive" in scenario.only(NoPlanFound).reason
    assert scenario.when(cleared("cart")).only(IncidentClosed).resolution == "escalated"


def test_an_inconclusive_outcome_after_all_signals_cleared_ends_it_with_a_word_to_a_person() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan), cleared("cart"))
    scenario.when(OutcomeInconclusive(outcome=outcome(plan))).then(NoPlanFound, IncidentClosed)


def test_a_rollback_that_did_harm_withdraws_the_next_plan_and_leaves_it_to_a_person() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan), OutcomeRejected(outcome=outcome(plan)), rolled_back(plan))
    scenario.when(OutcomeRejected(outcome=outcome(plan, "rollback"))).then(PlanWithdrawn, NoPlanFound)
    assert "left things worse" in scenario.only(NoPlanFound).reason


def test_a_plan_on_which_nothing_is_decided_expires() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.after(seconds=1_799).then_nothing()
    scenario.after(seconds=1).then(PlanWithdrawn, PlanProposed)
    assert scenario.only(PlanWithdrawn).plan_id == plan.plan_id
    assert plan_of(scenario).remedy == "restart"


@pytest.mark.parametrize("signed_by", [None, "ada"])
def test_an_authorisation_that_the_policy_did_not_sign_is_none(signed_by: str | None) -> None:
    scenario = shop()
    scenario.events(authorized(plan_of(scenario), signed_by)).when(cleared("cart"))
    scenario.then(SignalLinked, PlanWithdrawn, IncidentClosed)


def test_an_execution_that_is_never_heard_of_again_leaves_it_to_a_person() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    patience = 2 * 2 * 30 + 1_800 + UNDOING_WAITS_MS // 1_000 + 600
    assert UNDOING_WAITS_MS * 1_000 == COMPENSATION_WINDOW_US
    scenario.events(authorized(plan)).after(seconds=patience - 1).then_nothing()
    scenario.after(seconds=1).then(NoPlanFound)
    assert scenario.only(NoPlanFound).reason == "nothing was heard of the plan for too long while it was executing"


def test_signals_that_stay_after_a_verified_remedy_are_told() -> None:
    scenario = given(Planner(Limits(clearing_ms=60_000)), documents(), *all_observed()).when(raised("cart"))
    plan = plan_of(scenario)
    scenario.events(*execution(plan), OutcomeVerified(outcome=outcome(plan))).after(seconds=59).then_nothing()
    scenario.after(seconds=1).then(NoPlanFound)
    assert scenario.only(NoPlanFound).reason == "a remedy was verified, and yet signals stay raised"


def late_events(plan: PlanProposed) -> list[Payload]:
    told = [denied(plan), *execution(plan)]
    outcomes = [OutcomeVerified(outcome=outcome(plan)), OutcomeRejected(outcome=outcome(plan))]
    return [one.payload for one in told] + [*outcomes, rolled_back(plan), failed(plan)]


def test_what_comes_too_late_changes_nothing() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(cleared("cart")).when(*late_events(plan)).then_nothing()
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(denied(plan)).when(*late_events(plan)).then_nothing()


def test_an_incident_waits_for_a_target_that_another_ones_plan_holds() -> None:
    shared = [TargetRef(driver="supervisord", target="cart")]
    services = (*SERVICES[1:3], service("search", [], targets=shared))
    scenario = given(Planner(), documents(services), *all_observed()).when(raised("cart"))
    plan = plan_of(scenario)
    scenario.when(raised("search")).then(IncidentOpened)
    scenario.events(authorized(plan)).when(failed(plan, needs_person=True)).then(NoPlanFound, PlanProposed)
    assert scenario.drafts()[-1].service == "search"


def test_an_incident_that_waits_ends_when_its_signals_clear() -> None:
    shared = [TargetRef(driver="supervisord", target="cart")]
    services = (*SERVICES[1:3], service("search", [], targets=shared))
    scenario = given(Planner(), documents(services), *all_observed()).when(raised("cart"))
    plan = plan_of(scenario)
    scenario.events(raised("search")).when(cleared("search")).then(SignalLinked, IncidentClosed)
    scenario.events(authorized(plan)).when(failed(plan, needs_person=True)).then(NoPlanFound)


def test_one_remedy_may_be_tried_again_on_another_suspect() -> None:
    scenario = given(Planner(), documents(remedies=(RESTART,)), *all_observed()).when(raised("web"))
    plan = plan_of(scenario)
    scenario.when(denied(plan)).then(NoPlanFound)
    scenario.when(raised("stock", at=1)).then(SignalLinked, PlanProposed)


def test_lost_telemetry_of_another_incident_disturbs_no_execution() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(*execution(plan), lost("cart")).when(OutcomeVerified(outcome=outcome(plan))).then_nothing()
    assert scenario.when(cleared("cart")).only(IncidentClosed).resolution == "remediated"


def halt(by: str = "ada") -> Said:
    return Said(Halt(scope="shop", ordered_by=by, reason="r"), signed_by=by)


RESUME = Said(Resume(scope="shop", ordered_by="bob", reason="r"), signed_by="bob")


def test_nothing_is_proposed_in_a_halted_domain_until_it_is_resumed() -> None:
    scenario = given(Planner(), documents(), *all_observed(), halt()).when(raised("cart"))
    scenario.then(IncidentOpened, NoPlanFound)
    assert scenario.only(NoPlanFound).reason == "`shop` is halted: nothing may begin until it is resumed"
    scenario.when(RESUME).then(PlanProposed)


def test_a_halt_by_someone_who_may_not_halts_nothing() -> None:
    given(Planner(), documents(), *all_observed(), halt("policy")).when(raised("cart")).then(
        IncidentOpened, PlanProposed
    )


def test_what_a_halt_stopped_was_not_tried() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(halt()).when(denied(plan)).then(NoPlanFound)
    assert plan_of(scenario.when(RESUME).then(PlanProposed)).remedy == plan.remedy
    plan = plan_of(scenario)
    scenario.events(authorized(plan), halt()).when(failed(plan)).then(NoPlanFound)
    assert plan_of(scenario.when(RESUME).then(PlanProposed)).remedy == plan.remedy


def test_what_lost_telemetry_stopped_was_not_tried() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(lost("cart")).when(denied(plan)).then(NoPlanFound)
    scenario.when(cleared("cart", "lost")).then(SignalLinked, IncidentClosed, PlanProposed)
    assert plan_of(scenario).remedy == plan.remedy


def test_a_halted_execution_does_not_stall() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    scenario.events(authorized(plan), halt()).after(seconds=36_000, step_seconds=60).then_nothing()
    scenario.events(RESUME).after(seconds=601).then(NoPlanFound)


# -- held steps --------------------------------------------------------------------------------------------------------


def begun(plan: PlanProposed) -> list[Said]:
    """The plan is authorised and begun, and its execution waits before a step."""
    names = {"execution_id": "exe", "plan_id": plan.plan_id, "incident_id": plan.incident_id, "decision_id": "dec"}
    return [authorized(plan), Said(ExecutionStarted(**names, steps=2)), Said(StepHeld(**names, step_id="2"))]


def asked(plan: PlanProposed, scenario: Scenario, seconds: int, execution_id: str = "exe") -> ApprovalRequested:
    """People are asked about the step, and have that long."""
    return ApprovalRequested(
        approval_id="apr",
        decision=decision(plan),
        group="approver",
        needed=1,
        summary="s",
        expires_at_us=scenario.now_us + seconds * 1_000_000,
        step_id="2",
        execution_id=execution_id,
    )


def step_authorized(plan: PlanProposed, signed_by: str | None = "policy") -> Said:
    """The policy lets the step begin."""
    authorization = StepAuthorized(
        decision=decision(plan),
        plan_decision_id="dec",
        execution_id="exe",
        step_id="2",
        obligations=[],
        approvals=[],
        not_after_us=plan.expires_at_us,
    )
    return Said(authorization, signed_by=signed_by)


def patience_s(scenario: Scenario) -> float:
    """How long the incident's plan may take from now on before it counts as stalled."""
    (incident,) = scenario.state.incidents.values()
    return float((incident.deadline_us - scenario.now_us) / 1e6)


def test_an_execution_that_waits_for_people_is_waited_for_as_long_as_they_may_answer() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    whole_s = patience_s(scenario.events(authorized(plan)))
    scenario.after(seconds=60).events(*begun(plan)[1:])
    assert patience_s(scenario) == whole_s
    scenario.events(asked(plan, scenario, 86_400))
    assert patience_s(scenario) == whole_s + 86_400
    scenario.after(seconds=86_000, step_seconds=600).then_nothing()
    scenario.events(step_authorized(plan, None))
    assert patience_s(scenario) < whole_s + 86_400 - 85_000
    before = patience_s(scenario)
    scenario.events(step_authorized(plan))
    assert patience_s(scenario) == whole_s != before
    scenario.after(seconds=whole_s - 1).then_nothing()
    scenario.after(seconds=1).then(NoPlanFound)


def test_a_request_about_a_plan_that_has_not_begun_gives_it_no_longer() -> None:
    scenario = shop()
    plan = plan_of(scenario)
    whole_s = patience_s(scenario.events(*begun(plan)))
    scenario.events(asked(plan, scenario, 86_400, execution_id=""))
    assert patience_s(scenario) == whole_s
