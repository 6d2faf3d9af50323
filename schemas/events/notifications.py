"""What people are told, and whether it reached them."""

from autopilot.schemas.contract import Payload, described


class NotificationRequested(Payload):
    """Somebody should know: an approval is waited for, an incident was left to a person, something is at fault."""

    notification_id: str = described("Identity of the notification, derived from what it is about.")
    reason: str = described(
        "One of `approval`, `escalation`, `fault`, `halt`, `resume`, `breaker`, `indeterminate`, `break_glass`, "
        "`action`, `promotion`, `demotion`."
    )
    urgency: str = described("`page` to wake somebody, `notice` otherwise.")
    title: str = described("One line.")
    text: str = described("What happened, and what to do about it, for people.")
    incident_id: str = described("The incident; empty when it is about none.")
    audience: str = described("Who should know: an approval group or the owner of a service; empty for everybody.")


class NotificationDelivered(Payload):
    """A channel took the notification."""

    notification_id: str = described("The notification.")
    channel: str = described("Name of the channel in the notifier's configuration.")
    attempts: int = described("How often it was sent.", ge=1)


class NotificationFailed(Payload):
    """A channel did not take the notification, and it is not sent there again."""

    notification_id: str = described("The notification.")
    channel: str = described("Name of the channel in the notifier's configuration.")
    attempts: int = described("How often it was sent; 0 when it was too old to be sent.", ge=0)
    reason: str = described("What the channel answered last.")
