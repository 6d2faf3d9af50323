"""What the notifier knows of one partition: incidents that are open, what was said lately, what is to be delivered."""

from dataclasses import dataclass, field
from typing import Any, Final

from autopilot.agents.authority import Authority
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.notifications import NotificationRequested

KEPT_US: Final = 7 * 86_400_000_000
"""How long a notification is kept to be delivered."""
MAX_PENDING: Final = 1_000
QUIET_US: Final = 600_000_000
"""How long the same thing is not said again."""
MAX_COURSE: Final = 8
"""How many lines are kept of what became of an incident."""
MAX_LINE: Final = 300
MAX_TITLE: Final = 140


def line(text: str, most: int = MAX_LINE) -> str:
    """A text in one line that is not too long."""
    short = " ".join(text.split())
    return short if len(short) <= most else short[: most - 1] + "…"


@dataclass
class Known:
    """An incident: what it is about, what was done about it so far, and what people were told already."""

    title: str
    severity: str
    course: list[str] = field(default_factory=list)
    plan: str = ""
    """The last plan in one line."""
    steps: dict[str, str] = field(default_factory=dict)
    """Steps of the last plan, each as `driver/verb/target`."""
    told: bool = False
    """Whether people were told that it is theirs."""

    def note(self, text: str) -> None:
        """Adds a line to the course."""
        self.course = [*self.course, line(text)][-MAX_COURSE:]


@dataclass
class Pending:
    """A notification and the channels that have taken it or given it up."""

    request: NotificationRequested
    domain: str
    service: str
    at_us: int
    answered: list[str] = field(default_factory=list)


@dataclass
class NoticesState:
    """The notifier's state."""

    now_us: int = 0
    authority: Authority = field(default_factory=Authority)
    owners: dict[str, str] = field(default_factory=dict)
    """Owner by service."""
    incidents: dict[str, Known] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)
    """What was said lately, oldest first, and when."""
    pending: dict[str, Pending] = field(default_factory=dict)
    """Notifications by id, oldest first."""

    def is_new(self, about: str, at_us: int) -> bool:
        """Whether nothing was said about it lately; from now on it was."""
        last = self.said.pop(about, None)
        self.said[about] = at_us
        return last is None or at_us - last >= QUIET_US

    def pass_time(self, now_us: int) -> None:
        """Forgets what is old."""
        self.now_us = now_us
        for about in [known for known, at_us in self.said.items() if now_us - at_us >= QUIET_US]:
            del self.said[about]
        while self.pending and now_us - next(iter(self.pending.values())).at_us > KEPT_US:
            del self.pending[next(iter(self.pending))]

    def request(self, recorded: Recorded[Any]) -> None:
        """Keeps a notification until it is old."""
        envelope, request = recorded.envelope, recorded.payload
        self.pending[request.notification_id] = Pending(
            request, envelope.domain, envelope.service, envelope.occurred_at_us
        )
        while len(self.pending) > MAX_PENDING:
            del self.pending[next(iter(self.pending))]
