"""Steps that are approved as they are reached: asked for one by one, with what came before, on the facts of then."""

from typing import Any

import pytest
from held_plan import GATE_MS, ROLLBACK, STARTED, STEP_MS, WHOLE, asks, authorised, held, stage_verified, waiting
from policy_bundles import PERMIT, bundle, rule
from policy_world import (
    GOOD,
    granted,
    halt,
    in_force,
    plan,
    rejected,
    resume,
    signal,
)
from scenario import START_US, Said, Scenario

from autopilot.policies.bundle import Ruling
from autopilot.policies.engine import recompute
from autopilot.schemas.configuration import BudgetUnit, RiskBudget
from autopilot.schemas.events.executor import (
    ExecutionRolledBack,
)
from autopilot.schemas.events.governance import BreakGlass, GovernanceRefused, NoticeGiven
from autopilot.schemas.events.observer import SignalKind, TelemetryQualityChanged
from autopilot.schemas.events.planner import IncidentClosed, PlanWithdrawn
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    StepAuthorized,
)
from autopilot.schemas.plan_hash import plan_hash

# -- before it starts ------------------------------------------------------------------------------------------------


def test_before_the_start_only_the_first_step_is_asked_for_and_the_others_are_held() -> None:
    scenario, plan_authorized = authorised()
    assert plan_authorized.held_steps == ["2", "3"]
    assert [(use.approver, use.step_id) for use in plan_authorized.approvals] == [("bob", "1")]
    scenario.after(seconds=60).then_nothing()


def test_an_authorisation_lasts_as_long_as_what_it_lets_begin() -> None:
    _, plan_authorized = authorised()
    assert plan_authorized.not_after_us == START_US + 300_000_000 + (STEP_MS + GATE_MS) * 1_000
    scenario, request = waiting()
    step_authorized = scenario.when(granted(request)).only(StepAuthorized)
    assert step_authorized.not_after_us == START_US + 300_000_000 + STEP_MS * 1_000


def test_of_several_rules_one_that_asks_when_reached_is_enough() -> None:
    parameters = {"group": "approver", "needed": 1, "expires_ms": 1_000}
    first = rule("first", "obligate", "true", obligation={"name": "approval", "parameters": parameters})
    upfront = {**parameters, "per": "step", "ask": "before_start"}
    second = rule("second", "obligate", "true", obligation={"name": "approval", "parameters": upfront})
    assert authorised(asks(first, second))[1].held_steps == ["2", "3"]


def test_where_each_stage_is_approved_the_steps_right_after_a_gate_are_held() -> None:
    scenario, plan_authorized = authorised(asks(per="stage"))
    assert plan_authorized.held_steps == ["2"]
    assert plan_authorized.not_after_us == START_US + 300_000_000 + (STEP_MS + GATE_MS) * 1_000
    request = scenario.events(STARTED, stage_verified()).when(held()).then(ApprovalRequested).only(ApprovalRequested)
    assert (request.step_id, request.step_ids, request.outcome_id) == ("2", ["2", "3"], "out-1")
    lines = request.summary.splitlines()
    assert lines[0] == "steps `2`, `3` of: restart the checkout"
    assert [line for line in lines if line.startswith("  ")][:2] == ["  2: release a -> b2", "  3: release a -> b3"]
    step_authorized = scenario.when(granted(request)).then(StepAuthorized).only(StepAuthorized)
    assert step_authorized.step_id == "2"
    assert step_authorized.not_after_us == START_US + 300_000_000 + 2 * STEP_MS * 1_000


def test_stages_that_are_asked_for_before_the_start_are_all_asked_for_at_once_and_none_is_held() -> None:
    scenario = in_force(asks(per="stage", ask="before_start")).events(WHOLE).after(seconds=11)
    requests = [draft.payload for draft in scenario.drafts() if isinstance(draft.payload, ApprovalRequested)]
    assert [request.step_ids for request in requests] == [["1"], ["2", "3"]]
    scenario.when(granted(requests[0])).then_nothing()
    assert scenario.when(granted(requests[1])).only(PlanAuthorized).held_steps == []


def test_a_plan_of_one_stage_is_asked_for_as_a_whole() -> None:
    steps = [step.model_copy(update={"gate": None}) for step in WHOLE.steps]
    single = plan(steps=steps, plan_hash=plan_hash(steps, WHOLE.verification))
    scenario = in_force(asks(per="stage")).events(single).after(seconds=11)
    request = scenario.only(ApprovalRequested)
    assert (request.step_id, request.step_ids, request.summary.splitlines()[0]) == ("", [], single.summary)
    assert scenario.when(granted(request)).only(PlanAuthorized).held_steps == []


def test_without_a_person_to_ask_nothing_is_held() -> None:
    scenario = in_force(bundle(PERMIT)).when(WHOLE)
    assert scenario.only(PlanAuthorized).held_steps == []


# -- when a step is reached ------------------------------------------------------------------------------------------


def test_people_are_shown_how_the_stage_before_went() -> None:
    _, request = waiting()
    assert (request.step_id, request.execution_id, request.outcome_id) == ("2", "exe", "out-1")
    assert request.expires_at_us == START_US + 600_000_000
    lines = request.summary.splitlines()
    assert lines[0] == "step `2` of: restart the checkout"
    assert "would change (as it was before the start):" in lines
    assert "  2: release a -> b2" in lines
    assert not any("b1" in line for line in lines)
    assert "step 1 before it: succeeded, its stage verified with 99 %: all checks passed" in lines
    assert "  slo:errors below 1 %: pass, before 0.25, after 0.01, effect -0.24, confidence 99.5 %" in lines
    assert "evidence: outcome out-1, telemetry[3]@10-42" in lines


def test_of_a_step_without_a_gate_people_are_told_that_nothing_was_measured() -> None:
    scenario, request = waiting()
    scenario.events(granted(request)).when(held("3"))
    request = scenario.only(ApprovalRequested)
    assert "step 2 before it: succeeded; it has no gate, so nothing was measured after it" in request.summary
    assert request.outcome_id == ""


def test_an_approval_lets_the_one_step_begin_and_the_next_is_asked_for_again() -> None:
    scenario, request = waiting()
    authorized = scenario.when(granted(request, "dee")).then(StepAuthorized).only(StepAuthorized)
    assert (authorized.execution_id, authorized.step_id) == ("exe", "2")
    assert [(use.approver, use.step_id) for use in authorized.approvals] == [("dee", "2")]
    assert authorized.decision.plan_hash == WHOLE.plan_hash
    assert recompute(authorized.decision, [asks()]).ruling is Ruling.ALLOW
    refused = scenario.when(granted(request, "bob")).only(ApprovalRefused)
    assert refused.reason == "the request is closed: the plan is started"
    last = scenario.when(held("3")).only(ApprovalRequested)
    refused = scenario.when(granted(request, "bob")).only(ApprovalRefused)
    assert refused.reason == "the request is closed: step `2` is authorised"
    assert scenario.when(granted(last)).only(StepAuthorized).step_id == "3"


def test_the_plans_authorisation_is_named_by_each_of_its_steps() -> None:
    scenario, plan_authorized = authorised()
    scenario.events(STARTED, stage_verified()).when(held())
    authorized = scenario.when(granted(scenario.only(ApprovalRequested))).only(StepAuthorized)
    assert authorized.plan_decision_id == plan_authorized.decision.decision_id
    assert authorized.decision.decision_id != plan_authorized.decision.decision_id


def test_of_two_who_must_approve_a_step_each_counts_once() -> None:
    scenario, request = waiting(asks(needed=2))
    scenario.when(granted(request, "bob")).then_nothing()
    assert scenario.when(granted(request, "bob")).only(ApprovalRefused).reason == "`bob` has approved already"
    authorized = scenario.when(granted(request, "dee")).only(StepAuthorized)
    assert [use.approver for use in authorized.approvals] == ["bob", "dee"]


def test_a_step_that_is_held_twice_or_is_none_is_asked_for_once() -> None:
    scenario, request = waiting()
    scenario.when(held()).then_nothing()
    scenario.events(granted(request)).when(held()).then_nothing()
    scenario.when(held("9")).then_rejected("step_id")


def test_a_step_whose_stage_before_was_not_verified_is_not_asked_for() -> None:
    scenario, _ = authorised()
    scenario.events(STARTED).when(held()).then_rejected("step_id")
    scenario.events(stage_verified("3")).when(held()).then_rejected("step_id")
    scenario.events(stage_verified()).when(held()).then(ApprovalRequested)


def test_a_step_of_a_plan_that_has_not_begun_is_not_asked_for() -> None:
    scenario, _ = authorised()
    scenario.events(stage_verified()).when(held()).then_nothing()


def test_a_step_that_no_rule_holds_any_more_begins_without_asking() -> None:
    ask = {"name": "approval", "parameters": {"group": "approver", "needed": 1, "expires_ms": 1, "per": "step"}}
    doubtful = bundle(PERMIT, rule("ask", "obligate", "telemetry_freshness_bp > 9000", obligation=ask))
    scenario, _ = authorised(doubtful)
    worse = GOOD.model_copy(update={"freshness_bp": 9_000})
    quality = TelemetryQualityChanged(quality=worse, previous=GOOD, worst_series="", reason="r")
    authorized = scenario.events(STARTED, stage_verified(), quality).when(held()).only(StepAuthorized)
    assert authorized.approvals == []
    assert authorized.obligations == []


# -- when it may not begin -------------------------------------------------------------------------------------------


def revoked(scenario: Scenario) -> AuthorizationRevoked:
    """What is said when the held step may not begin; its authorisation is gone for good."""
    said = scenario.then(AuthorizationRevoked).only(AuthorizationRevoked)
    assert (said.plan_id, said.step_id) == ("plan", "2")
    scenario.when(held("3")).then_nothing()
    return said


def test_a_refusal_turns_it_back() -> None:
    scenario, request = waiting()
    decision_id = scenario.state.holdings["plan"].decision_id
    said = revoked(scenario.when(rejected(request, comment="errors on the canary")))
    assert said.reason == "step `2`: bob refused it: errors on the canary"
    assert (said.decision_id, said.verdict) == (decision_id, None)
    assert scenario.when(granted(request)).only(ApprovalRefused).reason == "the request is closed: the plan is revoked"


def test_a_request_that_expires_turns_it_back() -> None:
    scenario, _ = waiting(asks(needed=2))
    scenario.after(seconds=599).then_nothing()
    said = revoked(scenario.after(seconds=1))
    assert said.reason == "step `2`: the request expired with 0 of 2 approvals"


def test_facts_that_deny_by_the_time_of_the_approval_turn_it_back() -> None:
    closed = rule("closed", "deny", "telemetry_freshness_bp < 5000")
    scenario, request = waiting(asks(closed))
    stale = GOOD.model_copy(update={"freshness_bp": 4_999})
    scenario.events(TelemetryQualityChanged(quality=stale, previous=GOOD, worst_series="", reason="r"))
    said = revoked(scenario.when(granted(request)))
    assert said.reason == "step `2`: closed: closed"
    assert said.verdict is not None
    assert recompute(said.verdict, [asks(closed)]).ruling is Ruling.DENY


def test_facts_that_strayed_turn_it_back_although_the_verdict_is_the_same() -> None:
    scenario, request = waiting(asks(tolerances="telemetry_freshness_bp:500"))
    far = GOOD.model_copy(update={"freshness_bp": 9_000})
    scenario.events(TelemetryQualityChanged(quality=far, previous=GOOD, worst_series="", reason="r"))
    assert "may move by 500" in revoked(scenario.when(granted(request))).reason


def test_facts_that_deny_when_the_step_is_reached_turn_it_back_before_anyone_is_asked() -> None:
    scenario, _ = authorised()
    scenario.events(STARTED, stage_verified(), signal("gone", SignalKind.TELEMETRY_LOST))
    assert revoked(scenario.when(held())).reason == "step `2`: lost: lost"


def test_lost_telemetry_turns_back_what_waits() -> None:
    scenario, _ = waiting()
    said = revoked(scenario.when(signal("gone", SignalKind.TELEMETRY_LOST)))
    assert said.reason == "step `2`: telemetry of checkout was lost"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (PlanWithdrawn(plan_id="plan", incident_id="inc", reason="why"), "the plan was withdrawn: why"),
        (IncidentClosed(incident_id="inc", resolution="escalated", reason="r"), "its incident was closed"),
    ],
)
def test_what_nobody_wants_any_more_turns_back(event: PlanWithdrawn | IncidentClosed, reason: str) -> None:
    scenario, _ = waiting()
    assert revoked(scenario.when(event)).reason == f"step `2`: {reason}"


@pytest.mark.parametrize(
    "ending",
    [ROLLBACK, ExecutionRolledBack(execution_id="exe", plan_id="plan", incident_id="inc", reason="r")],
)
def test_an_execution_that_turned_back_by_itself_is_asked_about_no_more(ending: Any) -> None:
    scenario, request = waiting()
    scenario.when(ending).then_nothing()
    assert scenario.when(granted(request)).only(ApprovalRefused).reason == "the request is closed: the plan is lapsed"
    scenario.after(seconds=3_600).then_nothing()


# -- halts -----------------------------------------------------------------------------------------------------------


def test_a_halt_revokes_nothing_and_holds_the_decision_until_the_resume() -> None:
    scenario, request = waiting()
    scenario.when(halt()).then_nothing()
    scenario.when(granted(request)).then_nothing()
    assert scenario.when(resume()).then(StepAuthorized).only(StepAuthorized).approvals[0].approver == "bob"


def test_a_step_that_is_reached_in_a_halt_is_asked_for_after_it() -> None:
    scenario, _ = authorised()
    scenario.events(STARTED, stage_verified(), halt()).when(held()).then_nothing()
    scenario.after(seconds=3_600).then_nothing()
    request = scenario.when(resume()).then(ApprovalRequested).only(ApprovalRequested)
    assert request.expires_at_us == scenario.now_us + 600_000_000


def test_a_resume_asks_nobody_twice() -> None:
    scenario, _ = waiting()
    scenario.events(halt()).when(resume()).then_nothing()


def test_a_request_expires_in_a_halt_as_well() -> None:
    scenario, request = waiting()
    scenario.events(halt(), granted(request))
    said = revoked(scenario.after(seconds=600))
    assert said.reason == "step `2`: the request expired with 1 of 1 approvals, in a halted domain"


# -- a broken glass --------------------------------------------------------------------------------------------------


def glass(**changes: Any) -> Said:
    said = {"plan_id": "plan", "plan_hash": WHOLE.plan_hash, "service": "checkout", "until_us": 0, **changes}
    return Said(BreakGlass(**said, invoked_by="gil", reason="down"), signed_by="gil")


def test_a_broken_glass_frees_the_step_that_waits_and_no_other() -> None:
    scenario, _ = waiting()
    authorized = scenario.when(glass()).then(NoticeGiven, StepAuthorized, NoticeGiven).only(StepAuthorized)
    assert authorized.overruled_by == f"event-{scenario.offset - 1}"
    assert authorized.obligations == []
    scenario.when(held("3")).then(ApprovalRequested)


def test_a_glass_that_stays_broken_frees_each_step_as_it_is_reached() -> None:
    scenario, _ = authorised()
    scenario.events(STARTED, stage_verified(), glass(plan_id="", until_us=START_US + 600_000_000))
    scenario.when(held()).then(StepAuthorized, NoticeGiven)
    scenario.when(held("3")).then(StepAuthorized, NoticeGiven)


def test_a_glass_that_is_broken_for_the_service_in_a_halt_frees_the_step_at_the_resume() -> None:
    scenario, _ = waiting()
    scenario.events(halt()).when(glass(plan_id="", until_us=START_US + 600_000_000)).then(NoticeGiven)
    scenario.when(resume()).then(StepAuthorized, NoticeGiven)


def test_a_broken_glass_before_the_start_frees_the_whole_plan() -> None:
    scenario = in_force(asks()).events(WHOLE).when(glass())
    authorized = scenario.only(PlanAuthorized)
    assert authorized.overruled_by
    assert authorized.held_steps == []


def test_no_glass_overrules_a_halt() -> None:
    scenario, request = waiting()
    refused = scenario.events(halt()).when(glass()).then(GovernanceRefused).only(GovernanceRefused)
    assert "halted" in refused.reason
    scenario.events(granted(request)).when(resume()).then(StepAuthorized)


# -- what a plan that was begun is judged on -------------------------------------------------------------------------


def test_a_plan_is_not_held_against_itself() -> None:
    """Its own authorisation and beginning are none of its history, nor of the budgets."""
    cool_down = rule("cool", "deny", "history_minutes_since_last_action >= 0")
    once = rule("once", "deny", "risk_budget_left < 1 || budget_actions_last_hour > 0 || history_attempts > 0")
    budget = RiskBudget(name="one", limit=1, unit=BudgetUnit.ACTIONS, window_ms=3_600_000)
    scenario, request = waiting(asks(cool_down, once), budgets=[budget])
    scenario.when(granted(request)).then(StepAuthorized)
    facts = {fact.name: fact.value for fact in scenario.only(StepAuthorized).decision.facts}
    assert (facts["risk_budget_left"], facts["history_minutes_since_last_action"]) == (1, -1)
    assert len(scenario.state.ledger.spendings["shop"]) == 1


def test_a_plan_that_is_turned_back_has_spent_its_budget() -> None:
    scenario, request = waiting()
    scenario.when(rejected(request)).then(AuthorizationRevoked)
    assert len(scenario.state.ledger.spendings["shop"]) == 1


# -- an incident that closes between held steps ----------------------------------------------------------------------

CLOSED = IncidentClosed(incident_id="inc", resolution="escalated", reason="r")


def test_an_incident_that_closes_while_a_step_before_a_held_one_is_under_way_turns_back() -> None:
    """Else nobody would be left to ask about the held one."""
    scenario, plan_authorized = authorised()
    said = scenario.events(STARTED).when(CLOSED).then(AuthorizationRevoked).only(AuthorizationRevoked)
    assert (said.decision_id, said.step_id) == (plan_authorized.decision.decision_id, "2")
    assert said.reason == "step `2`: its incident was closed"
    assert len(scenario.state.ledger.spendings["shop"]) == 1
    scenario.events(stage_verified()).when(held()).then_nothing()


def test_an_incident_that_closes_during_the_last_step_turns_nothing_back() -> None:
    scenario, request = waiting()
    scenario.events(granted(request)).when(held("3"))
    scenario.events(granted(scenario.only(ApprovalRequested))).when(CLOSED).then_nothing()
