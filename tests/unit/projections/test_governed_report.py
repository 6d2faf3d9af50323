"""What people say about what rules stands in the compliance report and beside the live run."""

from dataclasses import replace

from decided import authorized, decision, requested
from scenario import envelope

from autopilot.projections.compliance import report_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event, Position, Recorded
from autopilot.schemas.events.executor import BreakerClosed
from autopilot.schemas.events.governance import (
    BreakGlass,
    BundleActivated,
    GovernanceRefused,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.notifications import NotificationFailed
from autopilot.schemas.events.runtime import AgentFaulted, AgentUpgraded


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


def test_what_the_policy_says_of_an_autonomy_and_which_code_took_over_are_configuration() -> None:
    lowered = RemedyAutonomyLowered(
        remedy="restart",
        remedy_digest="d",
        service="checkout",
        before="act",
        autonomy="act_and_tell",
        evidence=["o1", "o2"],
        reason="it failed 2 times in a row",
    )
    proposed = RemedyPromotionProposed(
        remedy="scale",
        remedy_digest="d",
        service="checkout",
        autonomy="approve",
        proposed="act_and_tell",
        evidence=["o3"],
        command="autopilot autonomy set",
        reason="3 outcomes in a row were verified",
    )
    upgrades = [
        AgentUpgraded(agent="planner", code_digest="new", previous_digest="old", partition=p, from_offset=3)
        for p in (0, 1)
    ]
    events = [told(lowered, "1"), told(proposed, "2"), told(upgrades[0], "3", 0), told(upgrades[1], "4", 1)]
    entries = report_of(events).sections["configuration"]
    assert {(entry.what, entry.subject, entry.detail, len(entry.positions)) for entry in entries} == {
        ("remedy autonomy lowered", "restart on checkout", "from act to act_and_tell: it failed 2 times in a row", 1),
        (
            "remedy promotion proposed",
            "scale on checkout",
            "from approve to act_and_tell: 3 outcomes in a row were verified",
            1,
        ),
        ("agent upgraded", "planner", "code new, in place of old", 2),
    }


def test_a_breaker_that_closed_and_a_notification_that_failed_are_exceptions() -> None:
    closed = BreakerClosed(breaker="supervisord/restart/web", reason="a probe succeeded")
    failed = NotificationFailed(notification_id="n", channel="pager", attempts=5, reason="503")
    entries = report_of([told(closed, "1"), told(failed, "2")]).sections["exceptions"]
    assert {(entry.what, entry.subject, entry.detail) for entry in entries} == {
        ("breaker closed", "supervisord/restart/web", "a probe succeeded"),
        ("notification failed", "n", "`pager` after 5 attempts: 503"),
    }


def test_a_plan_whose_parts_are_asked_for_one_by_one_is_held_once() -> None:
    report = report_of([told(requested(decision(), each), each) for each in ("apr-1", "apr-2")])
    assert [version.held for version in report.policies] == [1]
    assert len(report.sections["decisions"]) == 2


def test_a_copy_of_what_nobody_signs_is_one_entry_at_both_its_places() -> None:
    fault = told(AgentFaulted(agent="planner", parked="shop", error="ValueError: x", traceback=""), "1")
    copy = replace(fault, position=fault.position._replace(offset=9))
    (entry,) = report_of([fault, copy]).sections["exceptions"]
    assert entry.positions == ["autopilot.log[0]@7", "autopilot.log[0]@9"]


def test_nothing_hides_a_decision_by_bearing_its_id() -> None:
    fault = AgentFaulted(agent="planner", parked="shop", error="nothing to see", traceback="")
    report = report_of([told(fault, "1"), told(authorized(decision()), "1", 1)])
    (entry,) = report.sections["decisions"]
    assert entry.positions == ["autopilot.log[1]@7"]
    assert [version.authorised for version in report.policies] == [1]


def test_a_copy_of_a_decision_is_counted_once() -> None:
    allowed = told(authorized(decision()), "1")
    copy = replace(allowed, position=allowed.position._replace(offset=9))
    assert [version.authorised for version in report_of([allowed, copy]).policies] == [1]


def test_code_that_goes_and_comes_back_is_an_upgrade_each_time() -> None:
    one, two = "one", "two"
    changes = [
        AgentUpgraded(agent="planner", code_digest=new, previous_digest=old, partition=p, from_offset=3)
        for old, new in ((one, two), (two, one), (one, two))
        for p in (0, 1)
    ]
    report = report_of([told(change, str(number), change.partition) for number, change in enumerate(changes)])
    assert [len(entry.positions) for entry in report.sections["configuration"]] == [2, 2, 2]
