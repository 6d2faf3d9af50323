"""Conditions that come and go: raised, cleared and raised again so often that more of the same is no answer.

A condition is what a signal is about: an objective of a service, or another kind of signal of it. It flaps once it was
raised `raises` times within a window; it no longer does when these are no longer all within it.
"""

from dataclasses import dataclass

from autopilot.agents.planner.incident import Signal
from autopilot.schemas.configuration import RemedyFlapping


@dataclass(frozen=True)
class Rhythm:
    """When a condition was raised of late, microseconds, oldest first."""

    raised_at_us: tuple[int, ...] = ()

    def with_raised(self, now_us: int, rule: RemedyFlapping) -> "Rhythm":
        """The rhythm with one time more; only as many as can matter are kept."""
        return Rhythm((*self.raised_at_us, now_us)[-rule.raises :])

    def flaps_until_us(self, now_us: int, rule: RemedyFlapping) -> int:
        """Until when it counts as flapping; 0 when it does not."""
        times = self.raised_at_us
        if len(times) < rule.raises:
            return 0
        until_us = times[-rule.raises] + rule.window_ms * 1000
        return until_us if now_us < until_us else 0


def condition_of(signal: Signal) -> str:
    """What the signal is about."""
    return f"{signal.service}/{signal.slo or signal.kind}"
