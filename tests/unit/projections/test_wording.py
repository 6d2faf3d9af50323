"""The words for an event: that each has some, and that they read as people write."""

from sagas import authorization, plan

from autopilot.projections.incidents import STAGES
from autopilot.projections.wording import WORDS, why
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import TargetsLocked, TargetsReleased
from autopilot.schemas.events.policy import ApprovalRequested

DECISION = authorization(plan()).decision


def test_every_event_of_an_incident_has_a_line_of_its_own() -> None:
    silent = {"ConfigurationActivated", "Halt", "Resume", "Tick", "AgentUpgraded", "DeadLettered", "AgentSnapshot"}
    silent |= {"TelemetryBatch", "BaselineSummarised", "LogSealed", "KpiWindowClosed"}
    silent |= {"BundleSubmitted", "BundleReviewed", "BundleShadowed", "BundleActivated", "BundleRetired"}
    explained = {model.event_type() for model in WORDS}
    assert set(EVENT_TYPES) - silent - explained == set()
    assert {model.event_type() for model in STAGES} <= set(EVENT_TYPES)


def test_approvals_read_as_sentences() -> None:
    asked = ApprovalRequested(
        approval_id="apr-1", decision=DECISION, group="approver", needed=2, summary="scale up", expires_at_us=9
    )
    granted = ApprovalGranted(
        approval_id="apr-1",
        plan_id="plan-1",
        plan_hash="sha256:1",
        facts_digest="sha256:3",
        approver="ada",
        comment="looks right",
    )
    rejected = ApprovalRejected(
        approval_id="apr-1", plan_id="plan-1", plan_hash="sha256:1", approver="ada", comment="not now"
    )
    assert why(granted) == "approved by ada: looks right"
    assert why(rejected) == "refused by ada: not now"
    assert why(asked) == "2 of approver must approve: scale up"


def test_targets_are_told_as_people_write_them() -> None:
    targets = ["supervisord/cart", "haproxy/shop"]
    locked = TargetsLocked(plan_id="plan-1", incident_id="inc-1", targets=targets)
    released = TargetsReleased(plan_id="plan-1", incident_id="inc-1", targets=targets, reason="it was verified")
    assert why(locked) == "supervisord/cart, haproxy/shop"
    assert why(released) == "supervisord/cart, haproxy/shop: it was verified"
