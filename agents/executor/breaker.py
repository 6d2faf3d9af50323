"""A circuit breaker per driver, verb and target, as a transition table (Nygard, Release It!, "Circuit Breaker").

Failures in a row trip it; once its time is over one probe is let through, which closes it or trips it again for twice
as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from autopilot.agents.lifecycle import Lifecycle
from autopilot.schemas.events.executor import BreakerClosed, BreakerOpened
from autopilot.schemas.events.planner import Action

FAILURES_TO_TRIP = 3
OPEN_US = 300_000_000
"""How long a breaker stays open at first: five minutes."""
LONGEST_OPEN_US = 3_600_000_000


class BreakerState(StrEnum):
    """Whether requests pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerTrigger(StrEnum):
    """What moves a breaker."""

    TRIPPED = "tripped"
    PROBED = "probed"
    SUCCEEDED = "succeeded"
    UNTRIED = "untried"
    """The probe was refused before anything was touched."""


BREAKER = Lifecycle[BreakerState, BreakerTrigger](
    "breaker",
    BreakerState.CLOSED,
    {
        (BreakerState.CLOSED, BreakerTrigger.TRIPPED): BreakerState.OPEN,
        (BreakerState.OPEN, BreakerTrigger.PROBED): BreakerState.HALF_OPEN,
        (BreakerState.HALF_OPEN, BreakerTrigger.SUCCEEDED): BreakerState.CLOSED,
        (BreakerState.HALF_OPEN, BreakerTrigger.TRIPPED): BreakerState.OPEN,
        (BreakerState.HALF_OPEN, BreakerTrigger.UNTRIED): BreakerState.OPEN,
    },
)


@dataclass(frozen=True)
class Breaker:
    """One breaker. `failures` counts those in a row, `openings` how often it tripped without having closed."""

    state: BreakerState = BREAKER.initial
    failures: int = 0
    openings: int = 0
    until_us: int = 0

    def lets_through(self, now_us: int) -> bool:
        """Whether a request may be made now, as a probe if need be."""
        if self.state is BreakerState.OPEN:
            return now_us >= self.until_us
        return self.state is BreakerState.CLOSED

    def requested(self) -> "Breaker":
        """The breaker once a request was let through."""
        if not BREAKER.accepts(self.state, BreakerTrigger.PROBED):
            return self
        return replace(self, state=BREAKER.after(self.state, BreakerTrigger.PROBED))

    def succeeded(self) -> "Breaker":
        """The breaker after a success: a probe closes it, an open one waits for its probe."""
        if BREAKER.accepts(self.state, BreakerTrigger.SUCCEEDED) or self.state is BreakerState.CLOSED:
            return Breaker()
        return self

    def untried(self) -> "Breaker":
        """The breaker after a request that touched nothing."""
        if not BREAKER.accepts(self.state, BreakerTrigger.UNTRIED):
            return self
        return replace(self, state=BREAKER.after(self.state, BreakerTrigger.UNTRIED))

    def failed(self, now_us: int, *, trips: bool = False) -> "Breaker":
        """The breaker after a failure. `trips` opens it whatever the count."""
        failures = self.failures + 1
        trips = trips or failures >= FAILURES_TO_TRIP or self.state is BreakerState.HALF_OPEN
        if not trips or not BREAKER.accepts(self.state, BreakerTrigger.TRIPPED):
            return replace(self, failures=failures)
        open_us = min(OPEN_US << min(self.openings, 10), LONGEST_OPEN_US)
        state = BREAKER.after(self.state, BreakerTrigger.TRIPPED)
        return Breaker(state, failures, self.openings + 1, now_us + open_us)


def breaker_of(action: Action) -> str:
    """The name of an action's breaker."""
    return f"{action.driver}/{action.verb}/{action.target}"


# -- all breakers of a partition, by name: one that has nothing to remember is not kept --------------------------------


def lets_through(breakers: Mapping[str, Breaker], name: str, now_us: int) -> bool:
    """Whether a request may be made there now."""
    return breakers.get(name, Breaker()).lets_through(now_us)


def note_request(breakers: dict[str, Breaker], name: str) -> None:
    """Remembers that a request was let through."""
    _keep(breakers, name, breakers.get(name, Breaker()).requested())


def note_untried(breakers: dict[str, Breaker], name: str) -> None:
    """Remembers that a request touched nothing."""
    _keep(breakers, name, breakers.get(name, Breaker()).untried())


def note_success(breakers: dict[str, Breaker], name: str, reason: str) -> BreakerClosed | None:
    """Remembers a success, and tells people when it closed the breaker."""
    before = breakers.get(name, Breaker())
    after = before.succeeded()
    _keep(breakers, name, after)
    closed = before.state is BreakerState.HALF_OPEN and after.state is BreakerState.CLOSED
    return BreakerClosed(breaker=name, reason=reason) if closed else None


def note_failure(
    breakers: dict[str, Breaker], name: str, now_us: int, reason: str, *, trips: bool = False
) -> BreakerOpened | None:
    """Remembers a failure, and tells people when it opened the breaker. `trips` opens it whatever the count."""
    before = breakers.get(name, Breaker())
    after = before.failed(now_us, trips=trips)
    _keep(breakers, name, after)
    if after.openings <= before.openings:
        return None
    return BreakerOpened(breaker=name, failures=after.failures, until_us=after.until_us, reason=reason)


def _keep(breakers: dict[str, Breaker], name: str, breaker: Breaker) -> None:
    if breaker == Breaker():
        breakers.pop(name, None)
    else:
        breakers[name] = breaker
