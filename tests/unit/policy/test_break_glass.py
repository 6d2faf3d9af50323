"""Break-glass: possible, loud and recorded; never stronger than a halt."""

from typing import Any

import pytest
from policy_bundles import PERMIT, bundle, rule
from policy_world import ASKS, asked, halt, in_force, plan, preview, started
from scenario import START_US, Said, Scenario

from autopilot.policies.bundle import Ruling
from autopilot.policies.engine import recompute
from autopilot.schemas.events.governance import BreakGlass, GovernanceRefused, NoticeGiven
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized, PlanDenied

STRICT = bundle(PERMIT, rule("frozen", "deny", "true", message="nothing moves"))
MINUTE_US = 60_000_000


def glass(by: str = "gil", *, signed_by: str | None = "", **more: Any) -> Said:
    """The glass of the waiting plan is broken."""
    content: dict[str, Any] = {
        "plan_id": "plan",
        "plan_hash": plan().plan_hash,
        "service": "checkout",
        "until_us": 0,
        "invoked_by": by,
        "reason": "the shop is down",
    }
    return Said(BreakGlass(**{**content, **more}), signed_by=by if signed_by == "" else signed_by)


def for_a_while(minutes: int = 10, **more: Any) -> Said:
    """The glass of the service is broken for a while."""
    return glass(plan_id="", plan_hash="", until_us=START_US + minutes * MINUTE_US, **more)


def refusal(scenario: Scenario, said: Said) -> str:
    return scenario.when(said).then(GovernanceRefused).only(GovernanceRefused).reason


def test_a_waiting_plan_is_authorised_without_its_approvals_and_everybody_is_told() -> None:
    scenario, request = asked()
    scenario.when(glass()).then(NoticeGiven, PlanAuthorized, NoticeGiven)
    authorized = scenario.only(PlanAuthorized)
    assert authorized.overruled_by == f"event-{scenario.offset - 1}"
    assert authorized.obligations == []
    first, second = (d.payload for d in scenario.drafts() if isinstance(d.payload, NoticeGiven))
    assert isinstance(first, NoticeGiven)
    assert isinstance(second, NoticeGiven)
    assert first.text == "gil broke the glass for plan: the shop is down"
    assert (first.severity, first.to) == ("page", "administrator")
    assert "gil overruled `needs_approval`" in second.text
    assert recompute(authorized.decision, [ASKS]).ruling is Ruling.NEEDS_APPROVAL
    assert request.decision.plan_id == authorized.decision.plan_id


def test_for_a_while_denials_are_overruled_and_then_no_more() -> None:
    scenario = in_force(STRICT)
    scenario.when(plan("before")).then(PlanDenied)
    scenario.when(for_a_while()).then(NoticeGiven)
    scenario.when(plan("during")).then(PlanAuthorized, NoticeGiven)
    assert "nothing moves" in scenario.only(NoticeGiven).text
    scenario.after(seconds=600).when(plan("after")).then(PlanDenied)
    assert scenario.state.glasses == {}


def test_a_glass_for_a_while_frees_what_waits() -> None:
    scenario, _ = asked()
    scenario.when(for_a_while()).then(NoticeGiven, PlanAuthorized, NoticeGiven)


def test_it_is_not_stronger_than_a_halt() -> None:
    scenario, _ = asked()
    scenario.events(halt()).when(glass()).then(NoticeGiven, PlanDenied)
    assert "builtin:halted" in scenario.only(PlanDenied).reason
    stopped = in_force(STRICT).events(for_a_while()).when(plan("one"))
    authorized = stopped.only(PlanAuthorized)
    assert stopped.when(halt()).only(AuthorizationRevoked).decision_id == authorized.decision.decision_id


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (glass(signed_by=None), "no signature"),
        (glass(signed_by="bob"), "signed by `bob`, not by `gil`"),
        (glass(by="ada"), "needed is break_glass"),
        (glass(by="planner"), "is no person"),
        (glass(reason="  "), "gives no reason"),
        (glass(plan_id="other"), "the plan is not known"),
        (glass(plan_hash="sha256:0"), "it is for another plan"),
        (for_a_while(61), "not within an hour"),
        (for_a_while(0), "not within an hour"),
    ],
)
def test_what_does_not_count_is_refused_with_a_reason(said: Said, reason: str) -> None:
    scenario, _ = asked()
    assert reason in refusal(scenario, said)


def test_a_plan_that_runs_already_is_not_freed() -> None:
    scenario = in_force(bundle(PERMIT)).events(plan(), started())
    assert "the plan is started" in refusal(scenario, glass())
    scenario.when(preview()).then_nothing()
