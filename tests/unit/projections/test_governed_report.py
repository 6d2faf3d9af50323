"""What people say about what rules stands in the compliance report and beside the live run."""

from scenario import envelope

from autopilot.projections.compliance import report_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event, Position, Recorded
from autopilot.schemas.events.governance import BreakGlass, BundleActivated, GovernanceRefused


def told(payload: Payload, event_id: str, partition: int = 0) -> Recorded[Payload]:
    return Recorded(Position("autopilot.log", partition, 7), Event(envelope(event_id=event_id), payload), None, 5)


def test_a_broken_glass_is_an_override_and_a_bundle_is_one_entry_wherever_it_was_broadcast() -> None:
    glass = BreakGlass(plan_id="p", plan_hash="h", service="c", until_us=0, invoked_by="gil", reason="shop is down")
    active = BundleActivated(
        bundle="shop", version="2", digest="d", replaces="1", rollback=False, ordered_by="eve", comment="calmer"
    )
    refused = GovernanceRefused(
        event_id="e", refused_type="BundleReviewed", subject="shop@3", given_by="eve", reason="eve wrote it"
    )
    events = [told(glass, "1"), told(active, "2"), told(active, "2", 1), told(refused, "3")]
    sections = report_of(events).sections
    (override,) = sections["overrides"]
    assert (override.what, override.by, override.detail) == ("break-glass", "gil", "shop is down")
    (activated,) = sections["configuration"]
    assert (activated.subject, activated.by, len(activated.positions)) == ("shop@2", "eve", 2)
    (exception,) = sections["exceptions"]
    assert (exception.subject, exception.detail) == ("shop@3", "eve wrote it")
