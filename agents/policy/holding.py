"""What the policy holds for one plan, from its proposal until its incident closes; and the state of the agent."""

from dataclasses import dataclass, field, replace

from autopilot.agents.authority import Authority
from autopilot.agents.policy.autonomy import Autonomies
from autopilot.agents.policy.catalogue import Catalogue
from autopilot.agents.policy.ledger import Ledger
from autopilot.agents.policy.states import HOLDING, HoldingState, Trigger
from autopilot.agents.policy.world import World
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.events.effector import PreviewCompleted
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested, ApprovalUse
from autopilot.schemas.events.verifier import Outcome


@dataclass(frozen=True)
class Counted:
    """An approval that counts, and the request that it answers."""

    approval_id: str
    use: ApprovalUse


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
    """One for the whole plan, or for each part of it: those asked before the start share decision, group and time."""
    approvals: tuple[Counted, ...] = ()
    preview: PreviewCompleted | None = None
    """What the plan would change, as it was found before its start; kept for the steps that are asked for later."""
    held_steps: tuple[str, ...] = ()
    """Steps that need an authorisation of their own, in the plan's order; once people were asked, those that will."""
    released_steps: tuple[str, ...] = ()
    """Those that have got it."""
    execution_id: str = ""
    held_step: str = ""
    """The held step that its execution has reached; empty when it waits before none."""
    stage: Outcome | None = None
    """The last stage of it that was verified; of a plan that has held steps."""

    def moved(
        self,
        trigger: Trigger,
        now_us: int,
        *,
        deadline_us: int = 0,
        decision_id: str = "",
        requests: tuple[ApprovalRequested, ...] = (),
        held_steps: tuple[str, ...] | None = None,
    ) -> "Holding":
        """The holding after `trigger`; what is not given stays. Raises `TransitionError`."""
        return replace(
            self,
            state=HOLDING.after(self.state, trigger),
            changed_at_us=now_us,
            deadline_us=deadline_us or self.deadline_us,
            decision_id=decision_id or self.decision_id,
            requests=requests or self.requests,
            held_steps=self.held_steps if held_steps is None else held_steps,
        )

    def holding_at(self, step_id: str, now_us: int) -> "Holding":
        """The holding once its execution waits before a held step. Raises `TransitionError`."""
        return replace(self.moved(Trigger.HOLD, now_us), held_step=step_id, deadline_us=0)

    def asking(self, request: ApprovalRequested) -> "Holding":
        """The holding with the request for its held step."""
        return replace(self, requests=(*self.requests, request), deadline_us=request.expires_at_us)

    def released(self, now_us: int) -> "Holding":
        """The holding once its held step is authorised. Raises `TransitionError`."""
        released = (*self.released_steps, self.held_step)
        return replace(self.moved(Trigger.RELEASE, now_us), held_step="", released_steps=released)

    def with_approval(self, approval: Counted) -> "Holding":
        """The holding with one more approval."""
        state = HOLDING.after(self.state, Trigger.COUNT)
        return replace(self, state=state, approvals=(*self.approvals, approval))

    @property
    def asked(self) -> tuple[ApprovalRequested, ...]:
        """The requests that wait for people now, or waited last: of a held step those that its execution led to."""
        if not self.held_step:
            return self.requests
        held = (self.execution_id, self.held_step)
        return tuple(request for request in self.requests if (request.execution_id, request.step_id) == held)

    def request(self, approval_id: str) -> ApprovalRequested | None:
        """The request of that id, or None."""
        return next((each for each in self.requests if each.approval_id == approval_id), None)

    def approvers(self, approval_id: str) -> list[str]:
        """Who has approved what the request asks for."""
        return [counted.use.approver for counted in self.approvals if counted.approval_id == approval_id]

    @property
    def uses(self) -> list[ApprovalUse]:
        """The approvals of what waits for people now, or waited last."""
        asked = {request.approval_id for request in self.asked}
        return [counted.use for counted in self.approvals if counted.approval_id in asked]

    @property
    def approved(self) -> int:
        """How many people have approved; where parts are approved one by one, of the part with the fewest."""
        return min((len(self.approvers(each.approval_id)) for each in self.asked), default=0)

    @property
    def ended(self) -> bool:
        """Whether nothing more is asked or decided about it."""
        begun = self.state is HoldingState.STARTED and set(self.held_steps) <= set(self.released_steps)
        return begun or self.state in HOLDING.ends()


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
