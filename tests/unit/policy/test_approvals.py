"""Approvals: asked for with a preview, bound to plan and facts, counted once, and judged again when they are given."""

from dataclasses import replace
from typing import Any

import pytest
from policy_bundles import PERMIT, approval, bundle, rule
from policy_world import ASKS, GOOD, asked, granted, halt, in_force, plan, preview, rejected, resume, signal
from scenario import START_US, Said

from autopilot.policies.bundle import PolicyBundle, Ruling
from autopilot.policies.engine import recompute
from autopilot.schemas.events.effector import Change
from autopilot.schemas.events.observer import SignalKind, TelemetryQualityChanged
from autopilot.schemas.events.planner import PlanWithdrawn, RiskClass
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    PreviewRequested,
)
from autopilot.schemas.plan_hash import plan_hash

TWO = bundle(PERMIT, approval("ask", "true", needed=2))
WITHDRAWN = PlanWithdrawn(plan_id="plan", incident_id="inc", reason="recovered")


# -- asking ----------------------------------------------------------------------------------------------------------


def test_people_are_asked_with_what_the_plan_would_change_and_why() -> None:
    change = Change(step_id="1", field="release", before="v2", after="v1")
    scenario = in_force(ASKS).events(plan(risk=RiskClass.HIGH)).when(preview([change]))
    request = scenario.then(ApprovalRequested).only(ApprovalRequested)
    assert "restart the checkout" in request.summary
    assert "why you are asked: ask: ask" in request.summary
    assert "1: release v2 -> v1" in request.summary
    assert (request.group, request.needed) == ("approver", 1)
    assert request.expires_at_us == START_US + 600_000_000
    assert request.decision.plan_hash == plan().plan_hash


def test_a_preview_that_changes_nothing_or_is_not_possible_says_so() -> None:
    scenario = in_force(ASKS).events(plan(risk=RiskClass.HIGH)).when(preview())
    assert "would change nothing" in scenario.only(ApprovalRequested).summary
    scenario = in_force(ASKS).events(plan(risk=RiskClass.HIGH)).when(preview(ok=False, reason="no such group"))
    assert "preview: not possible, no such group" in scenario.only(ApprovalRequested).summary


def test_without_a_preview_in_time_people_are_asked_all_the_same_and_told() -> None:
    scenario = in_force(ASKS).when(plan(risk=RiskClass.HIGH)).then(PreviewRequested)
    scenario.after(seconds=9).then_nothing()
    assert "none came in time" in scenario.after(seconds=1).then(ApprovalRequested).only(ApprovalRequested).summary
    scenario.when(preview()).then_nothing()


def test_a_preview_of_another_plan_is_rejected() -> None:
    scenario = in_force(ASKS).events(plan(risk=RiskClass.HIGH))
    scenario.when(preview().model_copy(update={"plan_hash": "sha256:0"})).then_rejected("plan_hash")
    scenario.when(preview(plan_id="unknown")).then_nothing()


def test_when_the_facts_deny_by_the_time_of_the_preview_nobody_is_asked() -> None:
    scenario = in_force(ASKS).events(plan(risk=RiskClass.HIGH), signal("gone", SignalKind.TELEMETRY_LOST))
    assert scenario.when(preview()).then(PlanDenied).only(PlanDenied).reason == "lost: lost"


# -- counting --------------------------------------------------------------------------------------------------------


def test_an_approval_authorises_and_is_named_in_the_authorisation() -> None:
    scenario, request = asked()
    authorized = scenario.when(granted(request)).then(PlanAuthorized).only(PlanAuthorized)
    (use,) = authorized.approvals
    assert (use.approver, use.event_id) == ("bob", f"event-{scenario.offset - 1}")
    seen = {fact.name: fact.value for fact in authorized.decision.facts}
    assert seen["approvals_granted"] == 1
    assert authorized.decision.decision_id != request.decision.decision_id
    assert [obligation.name for obligation in authorized.obligations] == ["approval"]


def test_two_people_are_two_people() -> None:
    scenario, request = asked(TWO)
    scenario.when(granted(request, "bob")).then_nothing()
    refused = scenario.when(granted(request, "bob")).then(ApprovalRefused).only(ApprovalRefused)
    assert refused.reason == "`bob` has approved already"
    authorized = scenario.when(granted(request, "dee")).then(PlanAuthorized).only(PlanAuthorized)
    assert [use.approver for use in authorized.approvals] == ["bob", "dee"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signed_by": None}, "no signature"),
        ({"approver": "bob", "signed_by": "dee"}, "signed by `dee`, not by `bob`"),
        ({"approval_id": "apr-other"}, "no such request"),
        ({"plan_id": "other"}, "no such request"),
        ({"plan_hash": "sha256:0"}, "another plan"),
        ({"facts_digest": "sha256:0"}, "other facts"),
        ({"approver": "cem"}, "`cem` is not of the group `approver`"),
        ({"approver": "mallory"}, "`mallory` is not of the group `approver`"),
        ({"approver": "planner"}, "proposes or decides"),
        ({"approver": "policy"}, "proposes or decides"),
    ],
)
def test_an_approval_that_does_not_count_is_refused_and_recorded(changes: dict[str, Any], reason: str) -> None:
    scenario, request = asked()
    refused = scenario.when(granted(request, **changes)).then(ApprovalRefused).only(ApprovalRefused)
    assert reason in refused.reason
    assert refused.event_id == f"event-{scenario.offset - 1}"
    assert refused.given_by == changes.get("approver", "bob")
    scenario.when(granted(request)).then(PlanAuthorized)


def test_an_approval_that_comes_too_late_is_refused_even_before_the_tick_that_denies() -> None:
    scenario, request = asked()
    scenario.state.now_us = request.expires_at_us
    assert "expired" in scenario.when(granted(request)).only(ApprovalRefused).reason


def test_an_approval_of_a_plan_that_is_decided_is_refused() -> None:
    scenario, request = asked()
    scenario.events(granted(request))
    assert scenario.when(granted(request, "dee")).only(ApprovalRefused).reason == (
        "the request is closed: the plan is authorized"
    )


def test_an_approval_replayed_for_the_next_plan_is_refused() -> None:
    scenario, request = asked()
    replayed = granted(request)
    scenario.events(rejected(request), plan("next", risk=RiskClass.HIGH)).when(preview(plan_id="next"))
    scenario.only(ApprovalRequested)
    assert "closed" in scenario.when(replayed).only(ApprovalRefused).reason
    assert "no such request" in scenario.when(granted(request, plan_id="next")).only(ApprovalRefused).reason


def test_a_rejection_denies_with_its_comment() -> None:
    scenario, request = asked()
    denied = scenario.when(rejected(request, comment="not tonight")).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "bob refused it: not tonight"
    assert denied.decision == request.decision


def test_a_rejection_by_someone_outside_the_group_changes_nothing() -> None:
    scenario, request = asked()
    scenario.when(rejected(request, "cem")).then(ApprovalRefused)
    scenario.when(granted(request)).then(PlanAuthorized)


def test_a_request_that_nobody_answers_expires() -> None:
    scenario, request = asked(TWO)
    scenario.events(granted(request))
    scenario.after(seconds=59).then_nothing()
    denied = scenario.after(seconds=1).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "the request expired with 1 of 2 approvals"


# -- when the evidence moves -----------------------------------------------------------------------------------------


def test_an_approval_is_void_when_the_facts_deny_by_then() -> None:
    scenario, request = asked()
    scenario.events(signal("gone", SignalKind.TELEMETRY_LOST))
    denied = scenario.when(granted(request)).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "lost: lost"
    assert recompute(denied.decision, [ASKS]).ruling is Ruling.DENY


def test_an_approval_is_void_when_more_people_are_needed_by_then() -> None:
    more = bundle(PERMIT, approval("ask", "true"), approval("two", "telemetry_freshness_bp < 5000", needed=2))
    scenario, request = asked(more)
    stale = GOOD.model_copy(update={"freshness_bp": 4_999})
    scenario.events(TelemetryQualityChanged(quality=stale, previous=GOOD, worst_series="", reason="r"))
    denied = scenario.when(granted(request)).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "the evidence moved since it was approved: ask: ask; two: two"


def test_an_approval_in_a_halted_domain_denies() -> None:
    scenario, request = asked()
    scenario.events(halt())
    assert "builtin:halted" in scenario.when(granted(request)).only(PlanDenied).reason


def test_an_approval_after_a_halt_was_lifted_authorises() -> None:
    scenario, request = asked()
    scenario.events(halt(), resume()).when(granted(request)).then(PlanAuthorized)


def test_a_withdrawn_plan_is_no_longer_waited_for() -> None:
    scenario, request = asked()
    scenario.when(WITHDRAWN).then_nothing()
    assert (
        scenario.when(granted(request)).only(ApprovalRefused).reason == "the request is closed: the plan is withdrawn"
    )
    scenario.after(seconds=3_600).then_nothing()
    in_force(ASKS).events(plan(risk=RiskClass.HIGH), WITHDRAWN).after(seconds=60).then_nothing()


def test_a_withdrawn_plan_that_was_authorised_is_revoked() -> None:
    scenario, request = asked()
    authorized = scenario.when(granted(request)).only(PlanAuthorized)
    revoked = scenario.when(WITHDRAWN).then(AuthorizationRevoked).only(AuthorizationRevoked)
    assert revoked.decision_id == authorized.decision.decision_id
    assert revoked.reason == "the plan was withdrawn: recovered"
    scenario.when(WITHDRAWN).then_nothing()


def test_an_answer_in_the_log_of_another_domain_is_refused_there() -> None:
    _, request = asked()
    elsewhere = in_force(bundle(PERMIT, rule("no", "deny", "false")))
    answer = granted(request)
    (draft,) = elsewhere.when(Said(answer.payload, domain="other", service="", signed_by="bob")).drafts()
    assert isinstance(draft.payload, ApprovalRefused)
    assert (draft.domain, draft.payload.incident_id) == ("other", "")


# -- tolerances, and steps one by one ----------------------------------------------------------------------------------


def bound(**parameters: str) -> PolicyBundle:
    """A bundle that asks for one approval with further parameters."""
    stated = {"group": "approver", "needed": 1, "expires_ms": 600_000, **parameters}
    return bundle(PERMIT, rule("ask", "obligate", "true", obligation={"name": "approval", "parameters": stated}))


def test_a_bound_fact_that_stays_within_its_tolerance_changes_nothing() -> None:
    scenario, request = asked(bound(tolerances="telemetry_freshness_bp:500, breaker_open:0"))
    assert request.tolerances == {"breaker_open": 0, "telemetry_freshness_bp": 500}
    near = GOOD.model_copy(update={"freshness_bp": 9_500})
    scenario.events(TelemetryQualityChanged(quality=near, previous=GOOD, worst_series="", reason="r"))
    scenario.when(granted(request)).then(PlanAuthorized)


def test_an_approval_is_void_when_a_bound_fact_left_its_tolerance_although_the_verdict_is_the_same() -> None:
    scenario, request = asked(bound(tolerances="telemetry_freshness_bp:500"))
    far = GOOD.model_copy(update={"freshness_bp": 9_499})
    scenario.events(TelemetryQualityChanged(quality=far, previous=GOOD, worst_series="", reason="r"))
    denied = scenario.when(granted(request)).then(PlanDenied).only(PlanDenied)
    assert denied.reason == (
        "the evidence moved since it was shown:"
        " `telemetry_freshness_bp` was 10000 when it was asked for, is 9499, and may move by 500"
    )


def test_the_first_of_two_approvals_is_void_already_when_the_facts_deny() -> None:
    scenario, request = asked(bundle(PERMIT, rule("lost", "deny", "telemetry_lost"), approval("ask", "true", needed=2)))
    scenario.events(signal("gone", SignalKind.TELEMETRY_LOST))
    scenario.when(granted(request)).then(PlanDenied)


def test_steps_are_approved_one_by_one_and_each_request_shows_its_own_changes() -> None:
    action = plan().steps[0].action
    steps = [plan().steps[0], plan().steps[0].model_copy(update={"step_id": "2", "action": action})]
    whole = plan(steps=steps, plan_hash=plan_hash(steps, plan().verification))
    changes = [Change(step_id=s, field="release", before="a", after=f"b{s}") for s in ("1", "2")]
    shown = preview(changes).model_copy(update={"plan_hash": whole.plan_hash})
    scenario = (
        in_force(bound(per="step", ask="before_start"))
        .events(whole)
        .when(shown)
        .then(ApprovalRequested, ApprovalRequested)
    )
    one, two = (d.payload for d in scenario.drafts() if isinstance(d.payload, ApprovalRequested))
    assert isinstance(one, ApprovalRequested)
    assert isinstance(two, ApprovalRequested)
    assert (one.step_id, two.step_id) == ("1", "2")
    assert "b1" in one.summary
    assert "b2" not in one.summary
    scenario.when(granted(one)).then_nothing()
    assert scenario.when(granted(one)).only(ApprovalRefused).reason == "`bob` has approved already"
    authorized = scenario.when(granted(two)).then(PlanAuthorized).only(PlanAuthorized)
    assert [(use.approver, use.step_id) for use in authorized.approvals] == [("bob", "1"), ("bob", "2")]


def test_the_rejection_of_one_step_denies_the_plan() -> None:
    scenario, request = asked(bound(per="step"))
    assert request.step_id == "1"
    scenario.when(rejected(request)).then(PlanDenied)


def test_whoever_proposed_the_plan_cannot_approve_it() -> None:
    scenario = in_force(ASKS)
    scenario.state.now_us = START_US
    scenario.events(plan(risk=RiskClass.HIGH)).when(preview())
    request = scenario.only(ApprovalRequested)
    holding = scenario.state.holdings["plan"]
    scenario.state.holdings["plan"] = replace(holding, proposer="bob")
    assert "cannot approve one" in scenario.when(granted(request)).only(ApprovalRefused).reason
