"""What the policy holds for one plan, from its proposal until its incident closes; and the state of the agent."""

from dataclasses import dataclass, field, replace

from autopilot.agents.authority import Authority
from autopilot.agents.policy.autonomy import Autonomies
from autopilot.agents.policy.catalogue import Catalogue
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
    proposer: str = ""
    state: HoldingState = HOLDING.initial
    changed_at_us: int = 0
    deadline_us: int = 0
    decision_id: str = ""
    requests: tuple[ApprovalRequested, ...] = ()
    """One for the whole plan, or one for each step; all have the same decision, group and time."""
    approvals: tuple[ApprovalUse, ...] = ()

    def moved(
        self,
        trigger: Trigger,
        now_us: int,
        *,
        deadline_us: int = 0,
        decision_id: str = "",
        requests: tuple[ApprovalRequested, ...] = (),
    ) -> "Holding":
        """The holding after `trigger`; what is not given stays. Raises `TransitionError`."""
        return replace(
            self,
            state=HOLDING.after(self.state, trigger),
            changed_at_us=now_us,
            deadline_us=deadline_us or self.deadline_us,
            decision_id=decision_id or self.decision_id,
            requests=requests or self.requests,
        )

    def with_approval(self, approval: ApprovalUse) -> "Holding":
        """The holding with one more approval."""
        state = HOLDING.after(self.state, Trigger.COUNT)
        return replace(self, state=state, approvals=(*self.approvals, approval))

    def request(self, approval_id: str) -> ApprovalRequested | None:
        """The request of that id, or None."""
        return next((each for each in self.requests if each.approval_id == approval_id), None)

    def approvers(self, step_id: str) -> list[str]:
        """Who has approved the step, or the whole plan where `step_id` is empty."""
        return [use.approver for use in self.approvals if use.step_id == step_id]

    @property
    def approved(self) -> int:
        """How many people have approved; where steps are approved one by one, of the step with the fewest."""
        return min((len(self.approvers(each.step_id)) for each in self.requests), default=0)

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it."""
        return self.state in HOLDING.ends()


@dataclass(frozen=True)
class Glass:
    """A broken glass: until when the bundles are overruled for a service, and by which event."""

    until_us: int
    event_id: str
    invoked_by: str
    reason: str


@dataclass
class PolicyState:
    """What the policy knows of one partition. A plan is dropped when its incident closes, or a day after it ended."""

    now_us: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    authority: Authority = field(default_factory=Authority)
    world: World = field(default_factory=World)
    ledger: Ledger = field(default_factory=Ledger)
    holdings: dict[str, Holding] = field(default_factory=dict)
    catalogue: Catalogue = field(default_factory=Catalogue)
    autonomies: Autonomies = field(default_factory=Autonomies)
    glasses: dict[str, Glass] = field(default_factory=dict)
    """By service, the glasses that are broken now."""
