"""Notifications as the JSON that channels take: our own, and the payload of Slack's incoming webhooks."""

from typing import Any, Final

from autopilot.infra.notifier.state import Pending

MAX_HEADER: Final = 150
MAX_SECTION: Final = 3_000
"""Slack's bounds of a header and of a section, in characters."""
_COMMAND: Final = "$ "
_SIGNS: Final = {"page": ":rotating_light:", "notice": ":information_source:"}


def plain(pending: Pending) -> dict[str, Any]:
    """Everything, by name."""
    return {
        "type": "autopilot.notification",
        **pending.request.model_dump(mode="json"),
        "domain": pending.domain,
        "service": pending.service,
        "requested_at_us": pending.at_us,
    }


def slack(pending: Pending) -> dict[str, Any]:
    """A header, the text with its commands as code, and a line of what it is about; `text` is for notifications."""
    request = pending.request
    about = [request.reason, pending.domain, pending.service, request.incident_id, request.audience]
    shown = [f"`{escaped(part)}`" for part in about if part]
    return {
        "text": escaped(request.title),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": request.title[:MAX_HEADER], "emoji": False}},
            {"type": "section", "text": {"type": "mrkdwn", "text": _section(request.text), "verbatim": True}},
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": " ".join([_SIGNS.get(request.urgency, ""), *shown]).strip()}],
            },
        ],
    }


def escaped(text: str) -> str:
    """A text that Slack shows as it is: no mention, no link, no channel is made of it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> str:
    lines = [f"`{line.removeprefix(_COMMAND)}`" if line.startswith(_COMMAND) else line for line in text.splitlines()]
    whole = escaped("\n".join(lines)) or "-"
    return whole if len(whole) <= MAX_SECTION else whole[: MAX_SECTION - 1] + "…"
