"""When executions acted on a service: no measure of the time before another one.

While an execution acts, and until that has settled, a service is as it was neither before nor after; and what an
execution has left in place makes the time before it that of another service.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

ACTED_KEPT_US = 86_400_000_000
"""How long it is remembered that an execution acted, once nobody watches it: a day, longer than any time before."""


@dataclass(frozen=True)
class Acted:
    """One execution on a service."""

    domain: str
    service: str
    from_us: int
    settle_us: int
    until_us: int = 0
    """When it had ended; 0 while it acts."""
    stays: bool = False
    """Whether what it did is in place, or nobody knows."""

    def ended(self, at_us: int, *, stays: bool) -> "Acted":
        """The execution that has nothing more to do for now: since when stays, unless it has acted again meanwhile."""
        return replace(self, until_us=self.until_us or at_us, stays=stays)

    def going_on(self) -> "Acted":
        """The execution that acts again: it is being undone."""
        return replace(self, until_us=0, stays=False)

    def is_past(self, now_us: int) -> bool:
        """Whether it says nothing any more about what begins now."""
        return max(self.from_us, self.until_us) + ACTED_KEPT_US <= now_us

    def settled_us(self, now_us: int) -> int:
        """From when on the service is as it left it: not before now while it acts."""
        return self.until_us + self.settle_us if self.until_us else now_us


def undisturbed(acted: Iterable[Acted], at_us: int, before_us: int) -> tuple[int, int]:
    """The last stretch of time before `at_us` in which none of these acted: its start and its end, microseconds.

    It is as long as `before_us`, or at least half as long between what has settled and `at_us`; otherwise it ends where
    the earliest of those that are in the way began. It never reaches back before what stays in place, and is empty when
    nothing is left. How far back the observer can look is not known here: where its history does not reach, it measures
    nothing.
    """
    until_us = at_us
    for one in sorted(acted, key=lambda one: one.settled_us(at_us), reverse=True):
        settled_us = min(one.settled_us(at_us), until_us)
        if one.stays or until_us - settled_us >= before_us // 2:
            return max(settled_us, until_us - before_us), until_us
        until_us = min(until_us, one.from_us)
    return until_us - before_us, until_us
