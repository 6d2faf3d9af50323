"""Views of what the ordinary course never brings: held plans, denials, rollbacks, faults, moves between domains."""

import json
from dataclasses import replace

import decided
from decided import decision, granted, rejected, requested
from loop import fleet_documents
from outcomes import judged
from scenario import START_US, Said, recorded

from autopilot.projections.agents import AGENTS
from autopilot.projections.approvals import AWAITING_APPROVAL, PendingApproval, pending_approvals
from autopilot.projections.budgets import RISK_BUDGETS
from autopilot.projections.projection import Projection, folded
from autopilot.projections.rows import MemoryRows, Row
from autopilot.projections.scoreboard import POLICY_SCOREBOARD, PolicyRow
from autopilot.projections.services import services
from autopilot.schemas.configuration import Fleet, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Envelope, Event, Position, Recorded
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, RollbackStarted
from autopilot.schemas.events.people import ApprovalGranted, ConfigurationActivated
from autopilot.schemas.events.planner import IncidentClosed, PlanWithdrawn
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    RuleOutcome,
    StepAuthorized,
)
from autopilot.schemas.events.runtime import AgentFaulted, AgentUpgraded
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified

SECOND_US = 1_000_000


def events(*told: Payload | Said, every_us: int = SECOND_US) -> list[Recorded[Payload]]:
    """A partition's events, one after another."""
    at = {"domain": "shop", "service": "cart", "topic": str(Topic.LOG)}
    return [recorded(one, i, now_us=START_US + i * every_us, **at) for i, one in enumerate(told)]


def rows(projection: Projection, *told: Payload | Said, every_us: int = SECOND_US) -> MemoryRows:
    return folded(projection, events(*told, every_us=every_us))


def ruled(number: int = 1, rule: str = "act") -> Decision:
    return decision(number, rules=[RuleOutcome(rule=rule, effect="permit", message="")])


def held(number: int = 1) -> ApprovalRequested:
    return requested(ruled(number, "ask"), f"apr-{number}", 2, expires_at_us=START_US + 600 * SECOND_US)


def by(approver: str) -> ApprovalGranted:
    return granted(held(), approver)


def authorized(number: int = 1) -> PlanAuthorized:
    return decided.authorized(ruled(number), START_US)


def denied(number: int = 1) -> PlanDenied:
    return PlanDenied(decision=ruled(number, "radius"), reason="too much")


# -- approvals -------------------------------------------------------------------------------------------------------


def test_a_held_plan_waits_and_shows_each_approver_once() -> None:
    (waiting,) = pending_approvals(events(held(), by("bob"), by("bob"), by("eve")))
    assert waiting == PendingApproval(
        approval_id="apr-1",
        incident_id="inc-1",
        domain="shop",
        service="cart",
        summary="restart",
        group="approver",
        needed=2,
        approvers=("bob", "eve"),
        expires_at_us=START_US + 600 * SECOND_US,
        requested_at_ms=START_US // 1000,
        request=held(),
        position=Position(str(Topic.LOG), 0, 0),
    )


def test_whatever_ends_the_waiting_leaves_nothing_behind() -> None:
    withdrawn = PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="")
    closed = IncidentClosed(incident_id="inc-1", resolution="recovered", reason="")
    for ending in (rejected(held(), "bob"), withdrawn, closed, authorized(), denied()):
        assert rows(AWAITING_APPROVAL, held(), by("bob"), ending).rows == {}, ending


def test_the_end_of_one_plan_leaves_the_others_waiting() -> None:
    assert [row["approval_id"] for row in rows(AWAITING_APPROVAL, held(1), held(2), denied(1)).shown()] == ["apr-2"]


# -- scoreboard ------------------------------------------------------------------------------------------------------


def score(*told: Payload) -> PolicyRow:
    (row,) = rows(POLICY_SCOREBOARD, *told).shown()
    return PolicyRow.model_validate(row)


def test_a_plan_that_is_held_and_then_allowed_counts_as_both_and_its_wait_is_measured() -> None:
    row = score(held(), by("bob"), by("eve"), authorized())
    assert (row.held, row.allowed, row.denied, row.decisions) == (1, 1, 0, 1)
    assert (row.approval.count, row.approval.sum_ms) == (1, 3_000)
    assert row.verdict.count == 0


def step_held(step_id: str = "s2") -> ApprovalRequested:
    """A request about a step that the execution of the first plan has reached."""
    changes = {"approval_id": f"apr-{step_id}", "step_id": step_id, "execution_id": "exe-1"}
    return held().model_copy(update=changes)


def step_authorized(step_id: str = "s2") -> StepAuthorized:
    return StepAuthorized(
        decision=ruled(1, "ask"),
        plan_decision_id="dec-1",
        execution_id="exe-1",
        step_id=step_id,
        obligations=[],
        approvals=[],
        not_after_us=START_US,
    )


TURNED_BACK = AuthorizationRevoked(
    decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="refused", step_id="s3"
)


def test_steps_that_are_approved_as_they_are_reached_count_as_such_and_not_as_plans() -> None:
    row = score(held(), by("bob"), authorized(), step_held(), step_authorized(), step_held("s3"), TURNED_BACK)
    assert (row.held, row.allowed, row.steps_allowed, row.steps_refused, row.revoked) == (3, 1, 1, 1, 0)
    assert (row.approval.count, row.approval.sum_ms) == (2, 2_000 + 1_000)
    assert row.verdict.count == 0


def test_what_was_turned_back_at_a_step_is_not_refunded() -> None:
    row = budget(authorized(1), TURNED_BACK)
    assert [one["decision_id"] for one in row["spendings"]] == ["dec-1"]
    assert (row["authorised"], row["refunded"]) == (1, 0)


def test_a_held_step_waits_until_it_is_decided_or_its_execution_turns_back() -> None:
    names = {"execution_id": "exe-1", "plan_id": "plan-1", "incident_id": "inc-1", "reason": "r"}
    endings: list[Payload] = [
        step_authorized(),
        TURNED_BACK,
        RollbackStarted(**names, step_ids=["s1"]),
        ExecutionRolledBack(**names),
        ExecutionFailed(**names, needs_person=True),
    ]
    (waiting,) = pending_approvals(events(held(), authorized(), step_held()))
    assert (waiting.approval_id, waiting.request.step_id) == ("apr-s2", "s2")
    for ending in endings:
        assert rows(AWAITING_APPROVAL, held(), authorized(), step_held(), ending).rows == {}, ending


def test_what_came_of_a_plan_counts_for_the_version_that_allowed_it() -> None:
    row = score(
        authorized(1),
        judged(1),
        authorized(2),
        judged(2, OutcomeRejected),
        judged(2, OutcomeVerified, "rollback"),
        judged(3),
        denied(4),
    )
    assert (row.allowed, row.denied, row.verified, row.rejected, row.rollbacks_verified) == (2, 1, 1, 1, 1)
    assert row.rules == {"act": 2, "radius": 1}


def test_a_latencys_bound_is_at_most_twice_the_exact_one() -> None:
    row = score(*[one for i in range(1, 20) for one in (held(i), authorized(i))])
    assert row.approval.mean_ms == 1_000
    assert row.approval.within_ms(0.5) == 1_000
    assert row.verdict.within_ms(0.5) is None


# -- budgets ---------------------------------------------------------------------------------------------------------


def budget(*told: Payload, every_us: int = SECOND_US) -> Row:
    (row,) = rows(RISK_BUDGETS, *told, every_us=every_us).shown()
    return row


def test_a_revoked_authorisation_is_refunded() -> None:
    revoked = AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="")
    row = budget(authorized(1), authorized(2), revoked)
    assert [one["decision_id"] for one in row["spendings"]] == ["dec-2"]
    assert (row["authorised"], row["refunded"]) == (2, 1)


def test_what_is_older_than_the_hour_is_dropped() -> None:
    row = budget(*[authorized(i) for i in range(5)], every_us=1_800 * SECOND_US)
    assert [one["decision_id"] for one in row["spendings"]] == ["dec-3", "dec-4"]
    assert row["authorised"] == 5


# -- agents ----------------------------------------------------------------------------------------------------------


def said_by(agent: str, payload: Payload, offset: int) -> Recorded[Payload]:
    (event,) = events(payload)
    envelope = Envelope(**{**event.envelope.model_dump(), "producer": agent})
    return Recorded(Position(str(Topic.LOG), 0, offset), Event(envelope, payload), None, START_US // 1000)


def upgrade(digest: str) -> AgentUpgraded:
    return AgentUpgraded(agent="planner", code_digest=digest, previous_digest="", partition=0, from_offset=0)


def test_a_fault_parks_the_domain_until_other_code_takes_over() -> None:
    fault = AgentFaulted(agent="planner", parked="shop", error="ValueError: x", traceback="")
    log = [upgrade("one"), fault, upgrade("one"), upgrade("two")]
    told = [said_by("planner", payload, offset) for offset, payload in enumerate(log)]
    (row,) = folded(AGENTS, told[:3]).shown()
    assert (row["code_digest"], row["parked"], row["upgrades"]) == ("one", ["shop"], 0)
    assert row["faults"][0]["error"] == "ValueError: x"
    (row,) = folded(AGENTS, told).shown()
    assert (row["code_digest"], row["parked"], row["upgrades"], row["events"]) == ("two", [], 1, 4)
    assert len(row["faults"]) == 1


def test_a_copy_of_a_fault_parks_nothing_once_other_code_has_taken_over() -> None:
    fault = said_by("planner", AgentFaulted(agent="planner", parked="shop", error="ValueError: x", traceback=""), 0)
    taken_over = said_by("planner", upgrade("two"), 1)
    copy = replace(fault, position=fault.position._replace(offset=2))
    (row,) = folded(AGENTS, [fault, taken_over, copy]).shown()
    assert (row["parked"], len(row["faults"])) == ([], 1)


def test_people_and_bridges_are_no_agents() -> None:
    assert folded(AGENTS, [said_by("ada", held(), 0)]).rows == {}


# -- services --------------------------------------------------------------------------------------------------------


def activation(fleet: Fleet) -> ConfigurationActivated:
    documents = [document(fleet.model_dump(mode="json"))]
    return ConfigurationActivated(revision="r", documents=documents, author="ada", comment="")


def test_a_service_that_leaves_the_fleet_or_moves_elsewhere_is_let_go() -> None:
    first = Fleet.model_validate(json.loads(fleet_documents(["a", "b"], 2)[0].content))
    moved = first.model_copy(
        update={"services": [one.model_copy(update={"domain": "domain-1"}) for one in first.services]}
    )
    here = [activation(first), activation(moved)]
    view = services(2)
    assert [row["service"] for row in rows(view, *here[:1]).shown()] == ["a"]
    assert rows(view, *here).shown() == []
    there = [
        Recorded(Position(str(Topic.LOG), 1, event.position.offset), event.event, None, event.recorded_at_ms)
        for event in events(*here)
    ]
    for log in ([*events(*here), *there], [*there, *events(*here)]):
        assert [(row["service"], row["partition"]) for row in folded(view, log).shown()] == [("a", 1), ("b", 1)]
