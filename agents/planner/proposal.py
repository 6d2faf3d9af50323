"""The remedy that leads, with everything that a plan of it says."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from autopilot.agents.planner.catalogue import Entry, Rating
from autopilot.agents.planner.variables import target_key
from autopilot.schemas.configuration import Remedy
from autopilot.schemas.events.planner import ConfidenceBasis, Step
from autopilot.schemas.identity import digest_of
from autopilot.schemas.plan_hash import steps_text

UNDOING_WAITS_MS = 900_000
"""How long a compensation may wait for the effector to begin it, before the executor gives the rollback up."""


class Standing(NamedTuple):
    """Where a remedy that applies ranks: the best has the least. No two have the same name."""

    lost: int
    """The expected benefit, in points, with the sign turned."""
    risk: int
    """The place of its risk class among all, least first."""
    cost: int
    remedy: str
    bound_bp: int
    """How sure it is: the lower bound of the posterior."""
    mean_bp: int


@dataclass(frozen=True)
class Proposal:
    """The remedy that leads, with everything that a plan of it says."""

    entry: Entry
    standing: Standing
    rating: Rating
    basis: ConfidenceBasis
    steps: list[Step]
    instances: int
    """The most that it touches at once."""
    capacity: int
    """Instances of the service."""

    @property
    def remedy(self) -> Remedy:
        """The remedy as it is written."""
        return self.entry.remedy

    @property
    def blast_radius_bp(self) -> int:
        """Share of the capacity, rounded up: a blast radius is never stated too small."""
        return min(10_000, -(-self.instances * 10_000 // self.capacity))

    @cached_property
    def steps_digest(self) -> str:
        """Digest of the steps with all that was calculated for them."""
        return digest_of(self.steps_text)

    @cached_property
    def steps_text(self) -> str:
        """The canonical text of the steps, which the plan's hash is over."""
        return steps_text(self.steps)

    @cached_property
    def summary(self) -> str:
        """The plan in one sentence."""
        return f"{self.remedy.summary}: {'; '.join(map(_described, self.steps))}"

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The keys of the targets that its steps touch."""
        touched = (target_key(step.action.driver, step.action.target) for step in self.steps)
        return tuple(dict.fromkeys(touched))

    @cached_property
    def leaves_nothing(self) -> bool:
        """Whether no step has, or needs, anything that undoes it."""
        return self.rating.reversible and not any(step.compensation for step in self.steps)

    @cached_property
    def longest_ms(self) -> int:
        """How long its steps may take by their bounds: every try of each there and back, every gate, one outage."""
        tries = sum(2 * (step.timeout_ms * step.max_attempts + step.settle_ms) for step in self.steps)
        gates = sum(step.gate.deadline_ms for step in self.steps if step.gate is not None)
        outage = UNDOING_WAITS_MS if any(step.compensation is not None for step in self.steps) else 0
        return tries + gates + outage


def _described(step: Step) -> str:
    action = step.action
    parameters = ", ".join(f"{name} {value}" for name, value in sorted(action.parameters.items()))
    return f"{action.verb} {action.target}{f' ({parameters})' if parameters else ''}"
