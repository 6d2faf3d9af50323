"""Bundles that change while people think: an approval is of what was asked, whatever the bundles ask for by then."""

import pytest
from held_plan import STARTED, WHOLE, asks, held, stage_verified
from policy_bundles import PERMIT, approval, bundle
from policy_world import granted, halt, in_force, preview, resume, through
from scenario import Said, Scenario

from autopilot.policies.bundle import PolicyBundle
from autopilot.schemas.events.policy import ApprovalRefused, ApprovalRequested, PlanAuthorized, StepAuthorized

WHEN_REACHED = asks()
BEFORE_START = asks(ask="before_start")
EACH_STAGE = asks(per="stage")
ONCE = bundle(PERMIT, approval("whole", "true"))
NOBODY = bundle(PERMIT)


def then(draft: PolicyBundle) -> list[Said]:
    """The bundle comes into force as the next version."""
    return through(draft.model_copy(update={"version": "2"}))


def asked(rules: PolicyBundle) -> tuple[Scenario, list[ApprovalRequested]]:
    """People are asked about the plan under these rules."""
    shown = preview([]).model_copy(update={"plan_hash": WHOLE.plan_hash})
    scenario = in_force(rules).events(WHOLE).when(shown)
    return scenario, [draft.payload for draft in scenario.drafts() if isinstance(draft.payload, ApprovalRequested)]


def reached(rules: PolicyBundle, later: PolicyBundle) -> Scenario:
    """The execution is before its second step; the plan was approved as far as it was asked, under other rules."""
    scenario, requests = asked(rules)
    scenario.events(*then(later)).when(*(granted(request) for request in requests))
    assert scenario.only(PlanAuthorized).held_steps == ["2", "3"]
    return scenario.events(STARTED, stage_verified())


@pytest.mark.parametrize("later", [WHEN_REACHED, BEFORE_START, EACH_STAGE, ONCE, NOBODY])
def test_an_approval_of_the_first_step_lets_no_other_begin(later: PolicyBundle) -> None:
    scenario, (request,) = asked(WHEN_REACHED)
    authorized = scenario.events(*then(later)).when(granted(request)).only(PlanAuthorized)
    assert [use.step_id for use in authorized.approvals] == ["1"]
    assert authorized.held_steps == ["2", "3"]


@pytest.mark.parametrize(
    ("later", "held_steps"), [(WHEN_REACHED, ["2", "3"]), (BEFORE_START, ["2"]), (ONCE, ["2"]), (NOBODY, ["2"])]
)
def test_an_approval_of_the_first_stage_lets_no_other_begin(later: PolicyBundle, held_steps: list[str]) -> None:
    scenario, (request,) = asked(EACH_STAGE)
    authorized = scenario.events(*then(later)).when(granted(request)).only(PlanAuthorized)
    assert authorized.held_steps == held_steps


@pytest.mark.parametrize("later", [BEFORE_START, EACH_STAGE, ONCE])
def test_what_was_held_is_asked_for_when_it_is_reached_under_rules_that_ask_at_once(later: PolicyBundle) -> None:
    scenario = reached(WHEN_REACHED, later)
    request = scenario.when(held()).then(ApprovalRequested).only(ApprovalRequested)
    assert (request.step_id, request.step_ids, request.execution_id) == ("2", ["2"], "exe")
    assert scenario.when(granted(request)).only(StepAuthorized).step_id == "2"


def test_what_was_held_begins_without_asking_once_no_rule_asks() -> None:
    assert reached(WHEN_REACHED, NOBODY).when(held()).then(StepAuthorized).only(StepAuthorized).approvals == []


@pytest.mark.parametrize("rules", [BEFORE_START, ONCE])
def test_an_approval_before_the_start_counts_for_no_step_that_is_held(rules: PolicyBundle) -> None:
    """Whoever gave it was not shown the stage before, and is asked again."""
    scenario = reached(rules, WHEN_REACHED)
    request = scenario.when(held()).then(ApprovalRequested).only(ApprovalRequested)
    assert (request.step_id, request.outcome_id) == ("2", "out-1")
    authorized = scenario.when(granted(request)).then(StepAuthorized).only(StepAuthorized)
    assert [use.event_id for use in authorized.approvals] == [f"event-{scenario.offset - 1}"]


def test_a_request_from_before_the_start_is_closed_while_its_step_is_held() -> None:
    scenario, requests = asked(BEFORE_START)
    scenario.events(*then(WHEN_REACHED)).when(*(granted(request) for request in requests))
    scenario.events(STARTED, stage_verified()).when(held())
    refused = scenario.when(granted(requests[1], "dee")).only(ApprovalRefused)
    assert refused.reason == "the request is closed: it was made before the plan began"


def test_in_a_halt_a_held_step_waits_although_it_was_asked_for_before_the_start() -> None:
    scenario = reached(BEFORE_START, WHEN_REACHED).events(halt()).when(held()).then_nothing()
    scenario.after(seconds=3_600).then_nothing()
    scenario.when(resume()).then(ApprovalRequested)
