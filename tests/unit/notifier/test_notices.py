"""What people are told, and what they are not told twice."""

import dataclasses
from typing import Any

import pytest
from sagas import (
    EXECUTION,
    authorization,
    ok,
    plan,
    signed,
    signers,
    step_authorization,
    step_signed,
    unknown,
)
from scenario import START_US, Said, Scenario, given, recorded

from autopilot.infra.notifier.notices import Notices
from autopilot.infra.notifier.state import MAX_PENDING, QUIET_US, NoticesState
from autopilot.schemas.configuration import Domain, Fleet, Service, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Position
from autopilot.schemas.events.executor import BreakerOpened, ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.governance import (
    GovernanceRefused,
    NoticeGiven,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationFailed, NotificationRequested
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import Alternative, IncidentClosed, IncidentOpened, NoPlanFound
from autopilot.schemas.events.policy import ApprovalRequested, ApprovalUse, Obligation, RuleOutcome
from autopilot.schemas.events.runtime import AgentFaulted, Tick

FLEET = Fleet(
    name="f",
    domains=[Domain(name="shop")],
    services=[Service(name="checkout", domain="shop", tier=1, owner="payments")],
)
OPENED = IncidentOpened(
    incident_id="inc-1", signal_ids=["s"], severity="page", title="checkout: errors burn", started_at_us=0
)
NO_PLAN = NoPlanFound(
    incident_id="inc-1",
    reason="no remedy applies",
    considered=[Alternative(remedy="restart", confidence_bp=0, why_not="cool-down")],
    look_at=["release v2 of checkout"],
)
FAILED = ExecutionFailed(
    execution_id=EXECUTION, plan_id="plan-1", incident_id="inc-1", reason="the rollback failed", needs_person=True
)


def opened() -> Scenario:
    """An incident of a service that payments owns."""
    documents = [document(FLEET.model_dump(mode="json")), signers()]
    return given(Notices(), documents, OPENED, domain="shop", service="checkout")


def told(scenario: Scenario) -> NotificationRequested:
    return scenario.only(NotificationRequested)


def escalated(resolution: str = "escalated") -> IncidentClosed:
    return IncidentClosed(incident_id="inc-1", resolution=resolution, reason="every remedy was tried")


def approval() -> ApprovalRequested:
    decision = authorization(plan()).decision.model_copy(
        update={"rules": [RuleOutcome(rule="ask", effect="obligate", message="checkout is tier 1")]}
    )
    return ApprovalRequested(
        approval_id="apr-1",
        decision=decision,
        group="approver",
        needed=2,
        summary="restart checkout",
        expires_at_us=START_US + 60_000_000,
    )


def test_an_approval_is_asked_for_with_the_commands_that_answer_it() -> None:
    asked = opened().events(plan()).when(approval())
    request = told(asked)
    assert (request.reason, request.urgency, request.audience) == ("approval", "page", "approver")
    assert request.title == "Approve? restart checkout"
    assert "$ autopilot approve apr-1 --as YOUR-NAME" in request.text
    assert "$ autopilot reject apr-1 --as YOUR-NAME" in request.text
    assert "$ autopilot timeline inc-1" in request.text
    for part in ("2 of the group `approver`", "checkout is tier 1", "checkout: errors burn", "2025-10-09 08:54:20 UTC"):
        assert part in request.text
    (draft,) = asked.drafts()
    assert (draft.domain, draft.service, draft.correlation_id) == ("shop", "checkout", "inc-1")


def test_an_approval_of_one_step_says_which() -> None:
    step = approval().model_copy(update={"step_id": "s2", "step_ids": ["s2"]})
    assert "approve step `s2` of the plan" in told(opened().when(step)).text
    stage = approval().model_copy(update={"step_id": "s2", "step_ids": ["s2", "s3"]})
    assert "approve steps `s2`, `s3` of the plan" in told(opened().when(stage)).text


def test_an_approval_of_a_step_that_is_reached_shows_how_the_stage_before_went_and_what_silence_undoes() -> None:
    summary = "step s2 of: restart\nstep s1 before it: succeeded, its stage verified with 99 %: all passed"
    changes = {"step_id": "s2", "execution_id": EXECUTION, "summary": summary}
    text = told(opened().when(approval().model_copy(update=changes))).text
    assert "\nstep s1 before it: succeeded, its stage verified with 99 %: all passed\n" in text
    assert "Without an answer by 2025-10-09 08:54:20 UTC what was done before it is undone." in text


def test_who_let_a_step_begin_is_part_of_the_course() -> None:
    use = ApprovalUse(approver="bea", event_id="e", step_id="s2")
    course = opened().events(step_signed(plan(), approvals=[use]), step_signed(plan(), "s3", overruled_by="e"))
    course.events(Said(step_authorization(plan(), "s4", approvals=[use]), signed_by="ada"), step_signed(plan(), "s5"))
    text = told(course.when(approval())).text
    assert "- step `s2` authorised: bea" in text
    assert "- step `s3` authorised: a broken glass" in text
    assert "- step `s5` authorised: no approval was needed" in text
    assert "s4" not in text


def test_an_incident_without_a_remedy_is_left_to_its_owner_with_where_to_look() -> None:
    request = told(opened().when(NO_PLAN))
    assert (request.reason, request.urgency, request.audience) == ("escalation", "page", "payments")
    for part in ("no remedy applies", "Not `restart`: cool-down", "- release v2 of checkout"):
        assert part in request.text


def test_what_is_no_page_wakes_nobody() -> None:
    ticket = OPENED.model_copy(update={"severity": "ticket", "incident_id": "inc-2"})
    lost = NO_PLAN.model_copy(update={"incident_id": "inc-2"})
    assert told(opened().events(ticket).when(lost)).urgency == "notice"


def test_an_incident_wakes_people_once() -> None:
    again = opened().events(NO_PLAN).when(NO_PLAN.model_copy(update={"reason": "telemetry_lost"}))
    assert told(again).urgency == "notice"
    again.when(escalated()).then_nothing()


def test_an_incident_that_is_handed_over_is_told_with_what_was_done() -> None:
    rolled_back = ExecutionRolledBack(
        execution_id=EXECUTION, plan_id="plan-1", incident_id="inc-1", reason="it did not help"
    )
    request = told(opened().events(plan(), signed(plan()), ok(), rolled_back).when(escalated()))
    assert (request.urgency, request.title) == ("page", "Yours: checkout: errors burn")
    for part in ("proposed r: s (low risk", "authorised under b@1", "forward step `s1` succeeded", "it did not help"):
        assert part in request.text


@pytest.mark.parametrize("resolution", ["remediated", "recovered", "telemetry_restored"])
def test_an_incident_that_ended_well_is_no_news(resolution: str) -> None:
    opened().when(escalated(resolution)).then_nothing()


def test_an_execution_that_left_something_behind_pages_once() -> None:
    failing = opened().when(FAILED)
    assert (told(failing).reason, told(failing).urgency) == ("escalation", "page")
    failing.when(FAILED).then_nothing()
    failing.when(escalated()).then_nothing()
    opened().when(FAILED.model_copy(update={"needs_person": False})).then_nothing()


def test_a_step_that_nobody_can_know_names_its_target_and_the_failure_that_follows_is_no_news() -> None:
    lost = opened().events(plan()).when(unknown())
    request = told(lost)
    assert (request.reason, request.urgency) == ("indeterminate", "page")
    assert "fake/set/t1" in request.title
    assert "never repeated" in request.text
    lost.when(FAILED).then_nothing()


def test_a_fault_pages_and_is_not_repeated_for_a_while() -> None:
    fault = AgentFaulted(agent="planner", parked="shop", error="KeyError: 'x'", traceback="secret place")
    faulted = opened().when(fault)
    assert (told(faulted).reason, told(faulted).urgency) == ("fault", "page")
    assert "secret place" not in told(faulted).text
    faulted.when(fault).then_nothing()
    faulted.after(seconds=QUIET_US // 1_000_000 + 1).when(fault).then(NotificationRequested)


def test_a_breaker_is_told_once_in_a_while() -> None:
    breaker = BreakerOpened(breaker="fake/restart/web", failures=3, until_us=START_US, reason="refused")
    tripped = opened().when(breaker)
    assert (told(tripped).reason, told(tripped).urgency, told(tripped).audience) == ("breaker", "notice", "payments")
    tripped.when(breaker).then_nothing()
    tripped.when(breaker.model_copy(update={"breaker": "fake/restart/api"})).then(NotificationRequested)


def halted(by: str = "bob", signed_by: str | None = "bob", scope: str = "shop") -> Said:
    return Said(Halt(scope=scope, ordered_by=by, reason="migration"), signed_by=signed_by)


def resumed(by: str) -> Said:
    return Said(Resume(scope="shop", ordered_by=by, reason="done"), signed_by=by)


def test_a_halt_and_a_resume_that_count_are_told() -> None:
    scenario = opened().when(halted())
    assert (told(scenario).reason, told(scenario).title) == ("halt", "Halted by bob: shop")
    assert "$ autopilot resume --domain shop" in told(scenario).text
    scenario.when(resumed("bob")).then_nothing()
    assert told(scenario.when(resumed("ada"))).reason == "resume"


def test_a_halt_that_does_not_count_is_no_news_and_no_dead_letter() -> None:
    opened().when(halted(signed_by=None)).then_nothing()
    opened().when(halted(by="policy", signed_by="policy")).then_nothing()


def test_about_a_broadcast_one_partition_speaks() -> None:
    agent, spoken = Notices(), []
    for partition in range(4):
        state = agent.initial_state()
        activated = ConfigurationActivated(revision="r", documents=[signers()], author="ada", comment="")
        for offset, said in enumerate((Said(activated), halted(scope="*"))):
            record = recorded(said, offset, now_us=START_US, domain="", service="", topic=agent.reads)
            there = dataclasses.replace(record, position=Position(agent.reads, partition, offset))
            state, outputs = agent.handle(state, there)
            spoken += [output for output in outputs if isinstance(output, Draft)]
        assert state.authority.halted("shop")
    assert [draft.payload.title for draft in spoken if isinstance(draft.payload, NotificationRequested)] == [
        "Halted by bob: everything"
    ]


def test_who_is_to_be_told_of_an_action_is_told() -> None:
    notify = [Obligation(name="notify", parameters={"to": "payments"})]
    request = told(opened().events(plan()).when(signed(plan(), obligations=notify)))
    assert (request.reason, request.urgency, request.audience) == ("action", "notice", "payments")
    assert "autopilot halt --domain shop" in request.text
    opened().events(plan()).when(signed(plan())).then_nothing()


def test_an_authorisation_that_nobody_signed_is_no_news() -> None:
    notify = [Obligation(name="notify", parameters={"to": "payments"})]
    opened().events(plan()).when(authorization(plan(), obligations=notify)).then_nothing()


def test_a_broken_glass_pages_the_administrators_and_a_refused_one_is_told() -> None:
    given_ = NoticeGiven(
        notice_id="n", severity="page", to="administrator", subject="plan-1", text="ada broke the glass"
    )
    request = told(opened().when(given_))
    assert (request.reason, request.urgency, request.audience) == ("break_glass", "page", "administrator")
    refused = GovernanceRefused(
        event_id="e", refused_type="BreakGlass", subject="plan-1", given_by="eve", reason="no role"
    )
    assert told(opened().when(refused)).urgency == "notice"
    opened().when(refused.model_copy(update={"refused_type": "BundleSubmitted"})).then_nothing()


def test_how_far_a_remedy_may_go_is_told_to_the_owner() -> None:
    common: dict[str, Any] = {
        "remedy": "restart",
        "remedy_digest": "d",
        "service": "checkout",
        "evidence": ["o1", "o2"],
    }
    lowered = RemedyAutonomyLowered(**common, before="act", autonomy="approve", reason="it failed twice.")
    request = told(opened().when(lowered))
    assert (request.reason, request.audience) == ("demotion", "payments")
    proposed = RemedyPromotionProposed(
        **common, autonomy="approve", proposed="act", command="autopilot autonomy set restart", reason="it helped."
    )
    request = told(opened().when(proposed))
    assert request.reason == "promotion"
    assert "$ autopilot autonomy set restart" in request.text


def test_ids_are_those_of_the_events_and_differ() -> None:
    scenario = opened()
    first = told(scenario.when(NO_PLAN)).notification_id
    second = told(scenario.when(NO_PLAN)).notification_id
    assert first == told(opened().when(NO_PLAN)).notification_id
    assert first != second


def test_a_title_is_one_short_line() -> None:
    long = OPENED.model_copy(update={"title": "checkout:\n" + "errors " * 100})
    title = told(given(Notices(), [signers()], long, domain="shop", service="checkout").when(NO_PLAN)).title
    assert "\n" not in title
    assert len(title) <= 140


# -- what is to be delivered -----------------------------------------------------------------------------------------


def pending(scenario: Scenario) -> dict[str, list[str]]:
    state: NoticesState = scenario.state
    return {name: one.answered for name, one in state.pending.items()}


def test_a_request_is_kept_with_the_channels_that_answered_it() -> None:
    asked = told(opened().when(NO_PLAN))
    taken = NotificationDelivered(notification_id=asked.notification_id, channel="sre", attempts=1)
    lost = NotificationFailed(notification_id=asked.notification_id, channel="pager", attempts=6, reason="500")
    other = taken.model_copy(update={"notification_id": "unknown"})
    scenario = opened().when(asked, taken, taken, lost, other).then_nothing()
    assert pending(scenario) == {asked.notification_id: ["sre", "pager"]}
    scenario.after(seconds=8 * 86_400)
    assert pending(scenario) == {}


def test_no_more_than_a_bounded_number_is_kept() -> None:
    asked = told(opened().when(NO_PLAN))
    agent, state = Notices(), NoticesState()
    for number in range(MAX_PENDING + 10):
        one: Payload = asked.model_copy(update={"notification_id": f"n{number}"})
        record = recorded(Said(one), number, now_us=START_US, domain="shop", service="", topic=agent.reads)
        state, _ = agent.handle(state, record)
    assert len(state.pending) == MAX_PENDING
    assert next(iter(state.pending)) == "n10"


def test_a_tick_alone_says_nothing() -> None:
    opened().when(Tick(at_us=START_US + 1)).then_nothing()
