"""What the policy holds for one plan, from its proposal until its incident closes; and the state of the agent."""

from dataclasses import dataclass, field, replace

from autopilot.agents.authority import Authority
from autopilot.agents.policy.ledger import Ledger
from autopilot.agents.policy.states import HOLDING, HoldingState, Trigger
from autopilot.agents.policy.world import World
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested, ApprovalUse


@dataclass(frozen=True)
class Holding:
    """A plan and where it stands. `deadline_us` is that of the state it is in: preview, approval or authorisation."""

    plan: PlanProposed
    domain: str
    service: str
    state: HoldingState = HOLDING.initial
    changed_at_us: int = 0
    deadline_us: int = 0
    decision_id: str = ""
    request: ApprovalRequested | None = None
    approvals: tuple[ApprovalUse, ...] = ()

    def moved(
        self,
        trigger: Trigger,
        now_us: int,
        *,
        deadline_us: int = 0,
        decision_id: str = "",
        request: ApprovalRequested | None = None,
    ) -> "Holding":
        """The holding after `trigger`; what is not given stays. Raises `TransitionError`."""
        return replace(
            self,
            state=HOLDING.after(self.state, trigger),
            changed_at_us=now_us,
            deadline_us=deadline_us or self.deadline_us,
            decision_id=decision_id or self.decision_id,
            request=request or self.request,
        )

    def with_approval(self, approval: ApprovalUse) -> "Holding":
        """The holding with one more approval."""
        state = HOLDING.after(self.state, Trigger.COUNT)
        return replace(self, state=state, approvals=(*self.approvals, approval))

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it."""
        return self.state in HOLDING.ends()


@dataclass
class PolicyState:
    """What the policy knows of one partition. A plan is dropped when its incident closes, or a day after it ended."""

    now_us: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    authority: Authority = field(default_factory=Authority)
    world: World = field(default_factory=World)
    ledger: Ledger = field(default_factory=Ledger)
    holdings: dict[str, Holding] = field(default_factory=dict)
