"""A candidate bundle run beside the live one: the same agent, which decides as if the candidate ruled.

It reads what the live one reads and is recorded under a run of its own, which every reader of the live run skips. It
holds no key, so nothing that it authorises could ever be executed.
"""

from collections.abc import Sequence
from typing import Any, Final

from autopilot.agents.policy.catalogue import BundleState
from autopilot.agents.policy.holding import PolicyState
from autopilot.agents.policy.policy import PolicyAgent
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    PreviewRequested,
    StepAuthorized,
)

SHADOW_PREFIX: Final = "shadow:"
DECISIONS: Final = (
    PreviewRequested,
    ApprovalRequested,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
    AuthorizationRevoked,
)
"""What a shadow says; what it would refuse or reject is the live policy's business."""


def run_of(candidate: str) -> str:
    """The run under which a candidate's decisions are recorded, from its `bundle@version`."""
    return SHADOW_PREFIX + candidate


class ShadowPolicy(PolicyAgent):
    """The policy agent under a candidate; its name is its own, so that its snapshots are as well."""

    def __init__(self, candidate: str) -> None:
        super().__init__(candidate)
        self.candidate = candidate
        self.name = f"{PolicyAgent.name}.shadow.{candidate.replace('@', '-')}"

    def handle(self, state: PolicyState, recorded: Recorded[Any]) -> tuple[PolicyState, Sequence[Output]]:
        """See `Agent.handle`. It speaks as long as the candidate is a shadow."""
        state, outputs = super().handle(state, recorded)
        entry = state.catalogue.entries.get(self.candidate)
        if entry is None or entry.state is not BundleState.SHADOW:
            return state, []
        return state, [o for o in outputs if isinstance(o, Draft) and isinstance(o.payload, DECISIONS)]
