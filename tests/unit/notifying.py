"""A notification and a channel for tests of the notifier."""

from typing import Any

from autopilot.infra.notifier.channels import Channel
from autopilot.infra.notifier.state import Pending
from autopilot.schemas.events.notifications import NotificationRequested


def notification(**changes: Any) -> Pending:
    request = NotificationRequested(
        notification_id="ntf-1",
        reason="escalation",
        urgency="page",
        title="No remedy: <checkout> & co",
        text="It is yours.\n$ autopilot timeline inc-1",
        incident_id="inc-1",
        audience="payments",
    )
    domain = changes.pop("domain", "shop")
    return Pending(request.model_copy(update=changes), domain, "checkout", 1_000_000)


def channel(**changes: Any) -> Channel:
    return Channel.model_validate({"name": "sre", "kind": "webhook", "url": "http://localhost/x", **changes})
