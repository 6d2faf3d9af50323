"""The words for an event: that each has some, and that they read as people write."""

from decided import decision, granted, rejected, requested

from autopilot.projections.incidents import STAGES
from autopilot.projections.wording import WORDS, why
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.planner import TargetsLocked, TargetsReleased


def test_every_event_of_an_incident_has_a_line_of_its_own() -> None:
    silent = {"ConfigurationActivated", "Halt", "Resume", "Tick", "AgentUpgraded", "DeadLettered", "AgentSnapshot"}
    silent |= {"TelemetryBatch", "BaselineSummarised", "LogSealed", "KpiWindowClosed"}
    silent |= {"BundleSubmitted", "BundleReviewed", "BundleShadowed", "BundleActivated", "BundleRetired"}
    explained = {model.event_type() for model in WORDS}
    assert set(EVENT_TYPES) - silent - explained == set()
    assert {model.event_type() for model in STAGES} <= set(EVENT_TYPES)


def test_approvals_read_as_sentences() -> None:
    asked = requested(decision(), needed=2, summary="scale up")
    assert why(granted(asked, "ada", "looks right")) == "approved by ada: looks right"
    assert why(rejected(asked, "ada", "not now")) == "refused by ada: not now"
    assert why(asked) == "2 of approver must approve: scale up"


def test_targets_are_told_as_people_write_them() -> None:
    targets = ["supervisord/cart", "haproxy/shop"]
    locked = TargetsLocked(plan_id="plan-1", incident_id="inc-1", targets=targets)
    released = TargetsReleased(plan_id="plan-1", incident_id="inc-1", targets=targets, reason="it was verified")
    assert why(locked) == "supervisord/cart, haproxy/shop"
    assert why(released) == "supervisord/cart, haproxy/shop: it was verified"
