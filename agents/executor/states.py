"""The executor's state: known plans, executions as sagas, breakers, and the tables by which they move.

An execution is dropped once it can no longer matter: its outcome is known (or a day has passed since it ended) and
its authorisation's time is over, so that the same decision cannot start it again.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from autopilot.agents.authority import Authority
from autopilot.agents.executor.breaker import Breaker
from autopilot.agents.lifecycle import Lifecycle
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.planner import Action, PlanProposed, Step
from autopilot.schemas.identity import derived_id


class ExecutionState(StrEnum):
    """Where an execution stands."""

    QUEUED = "queued"
    """It waits for its turn in the domain."""
    RUNNING = "running"
    COMPLETED = "completed"
    """Every step is done; the verdict is awaited."""
    UNDOING = "undoing"
    JUDGED = "judged"
    """Completed, and the verdict leaves it in place."""
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class ExecutionTrigger(StrEnum):
    """What moves an execution."""

    START = "start"
    STEPS_DONE = "steps_done"
    UNDO = "undo"
    GIVE_UP = "give_up"
    ALL_UNDONE = "all_undone"
    ACCEPTED = "accepted"


EXECUTION = Lifecycle[ExecutionState, ExecutionTrigger](
    "execution",
    ExecutionState.QUEUED,
    {
        (ExecutionState.QUEUED, ExecutionTrigger.START): ExecutionState.RUNNING,
        (ExecutionState.QUEUED, ExecutionTrigger.GIVE_UP): ExecutionState.FAILED,
        (ExecutionState.RUNNING, ExecutionTrigger.STEPS_DONE): ExecutionState.COMPLETED,
        (ExecutionState.RUNNING, ExecutionTrigger.UNDO): ExecutionState.UNDOING,
        (ExecutionState.RUNNING, ExecutionTrigger.GIVE_UP): ExecutionState.FAILED,
        (ExecutionState.COMPLETED, ExecutionTrigger.UNDO): ExecutionState.UNDOING,
        (ExecutionState.COMPLETED, ExecutionTrigger.GIVE_UP): ExecutionState.FAILED,
        (ExecutionState.COMPLETED, ExecutionTrigger.ACCEPTED): ExecutionState.JUDGED,
        (ExecutionState.UNDOING, ExecutionTrigger.ALL_UNDONE): ExecutionState.ROLLED_BACK,
        (ExecutionState.UNDOING, ExecutionTrigger.GIVE_UP): ExecutionState.FAILED,
    },
)


class StepState(StrEnum):
    """Where the present step of an execution stands, in the present phase."""

    WAITING = "waiting"
    """For its time: settling, back-off, or the end of a halt."""
    REQUESTED = "requested"
    STARTED = "started"
    GATED = "gated"
    """Done; the verdict on its stage is awaited."""
    HELD = "held"
    """Reached; an authorisation of its own is awaited, and with it the people who are asked."""
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class StepTrigger(StrEnum):
    """What moves a step."""

    REQUEST = "request"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    STAGE_REACHED = "stage_reached"
    """It succeeded, and has a gate."""
    STAGE_VERIFIED = "stage_verified"
    STAGE_NOT_VERIFIED = "stage_not_verified"
    RETRY = "retry"
    HALTED = "halted"
    """It was refused because of a halt, before anything was touched."""
    HOLD = "hold"
    """It is reached, and needs an authorisation of its own."""
    AUTHORIZED = "authorized"
    FAILED = "failed"
    INDETERMINATE = "indeterminate"


_OPEN = (StepState.WAITING, StepState.REQUESTED, StepState.STARTED)
_ASKED = (StepState.REQUESTED, StepState.STARTED)

STEP = Lifecycle[StepState, StepTrigger](
    "step",
    StepState.WAITING,
    {
        (StepState.WAITING, StepTrigger.REQUEST): StepState.REQUESTED,
        (StepState.REQUESTED, StepTrigger.STARTED): StepState.STARTED,
        (StepState.REQUESTED, StepTrigger.HALTED): StepState.WAITING,
        (StepState.WAITING, StepTrigger.HOLD): StepState.HELD,
        (StepState.HELD, StepTrigger.AUTHORIZED): StepState.WAITING,
        **{(state, StepTrigger.RETRY): StepState.WAITING for state in _ASKED},
        **{(state, StepTrigger.FAILED): StepState.FAILED for state in _ASKED},
        # a result may be late: that of an earlier attempt while the next one waits or is asked for
        **{(state, StepTrigger.SUCCEEDED): StepState.DONE for state in _OPEN},
        **{(state, StepTrigger.STAGE_REACHED): StepState.GATED for state in _OPEN},
        **{(state, StepTrigger.INDETERMINATE): StepState.UNKNOWN for state in _OPEN},
        (StepState.GATED, StepTrigger.STAGE_VERIFIED): StepState.DONE,
        (StepState.GATED, StepTrigger.STAGE_NOT_VERIFIED): StepState.FAILED,
    },
)

MINUTE_US = 60_000_000

FORWARD = "forward"
COMPENSATION = "compensation"


@dataclass(frozen=True)
class KnownPlan:
    """A proposed plan and where it belongs."""

    plan: PlanProposed
    domain: str
    service: str

    def step(self, step_id: str) -> Step:
        """The step of that id. Raises `KeyError` when the plan has none."""
        for step in self.plan.steps:
            if step.step_id == step_id:
                return step
        raise KeyError(step_id)


@dataclass(frozen=True)
class Execution:
    """One execution of one plan. Times are microseconds since the epoch."""

    execution_id: str
    plan_id: str
    decision_id: str
    incident_id: str
    not_after_us: int
    """When the authorisation under which it goes on ends: the plan's, then that of the last held step."""
    held_steps: tuple[str, ...] = ()
    """Steps that still need an authorisation of their own."""
    state: ExecutionState = EXECUTION.initial
    pending: tuple[str, ...] = ()
    """Steps still to be taken in the present phase, the present one first."""
    touched: tuple[str, ...] = ()
    """Steps whose effect is there, or may be in part, in the order in which they were taken."""
    partial: bool = False
    """Whether a try of the last touched step timed out, so that its effect may be there in part."""
    step: StepState = STEP.initial
    attempt: int = 0
    """The last attempt asked for of the present step in the present phase."""
    failures: int = 0
    """How many of those attempts failed."""
    halted: bool = False
    """Whether a halt came while the attempt was asked for and not yet started."""
    due_us: int = 0
    deadline_us: int = 0
    reason: str = ""
    """Why it is to stop, or is being undone; empty while it is wanted."""
    failure: str = ""
    """Failure class of the step that was tried and because of which it is being undone; empty when none was."""
    ended_us: int = 0

    @property
    def phase(self) -> str:
        """`compensation` while it is being undone, `forward` otherwise."""
        return COMPENSATION if self.state is ExecutionState.UNDOING else FORWARD

    @property
    def names(self) -> dict[str, str]:
        """What every event about it names."""
        return {"execution_id": self.execution_id, "plan_id": self.plan_id, "incident_id": self.incident_id}

    def request(self, step: Step, action: Action, not_after_us: int) -> StepRequested:
        """The present attempt of the step, as the effector is asked for it."""
        return StepRequested(
            **self.names,
            decision_id=self.decision_id,
            step_id=step.step_id,
            phase=self.phase,
            attempt=self.attempt,
            idempotency_key=idempotency_key(self.execution_id, step.step_id, self.phase),
            action=action,
            timeout_ms=step.timeout_ms,
            not_after_us=not_after_us,
        )

    def awaits_verdict_on(self, step_id: str) -> bool:
        """Whether the stage that this step reached is the one whose verdict is awaited."""
        return self.state is ExecutionState.RUNNING and self.step is StepState.GATED and self.pending[0] == step_id

    def is_held_before(self, step_id: str) -> bool:
        """Whether this step is reached and waits for an authorisation of its own."""
        return self.state is ExecutionState.RUNNING and self.step is StepState.HELD and self.pending[0] == step_id

    def leaves_something(self, known: KnownPlan) -> bool:
        """Whether a touched step stays as it is although it should not: nothing undoes it."""
        left = [step_id for step_id in self.touched if known.step(step_id).compensation is None]
        if not left:
            return False
        return (self.partial and left[-1] == self.touched[-1]) or not known.plan.reversible

    @property
    def is_queued(self) -> bool:
        """Whether its turn in the domain has not come yet."""
        return self.state is ExecutionState.QUEUED

    @property
    def active(self) -> bool:
        """Whether steps may still be asked for or answered."""
        return self.state in (ExecutionState.RUNNING, ExecutionState.UNDOING)


@dataclass(frozen=True)
class Limits:
    """How much a domain allows at a time; 0 is no limit."""

    executions: int = 0
    steps_per_minute: int = 0


@dataclass
class ExecutorState:
    """What the executor remembers of a partition."""

    now_us: int = 0
    authority: Authority = field(default_factory=Authority)
    plans: dict[str, KnownPlan] = field(default_factory=dict)
    revoked: dict[str, int] = field(default_factory=dict)
    """Revoked decisions, and when."""
    executions: dict[str, Execution] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    """By domain, of those that have any."""
    begun_us: dict[str, list[int]] = field(default_factory=dict)
    """By domain with a limit on steps: when forward steps were asked for in the last minute."""

    def has_room(self, domain: str) -> bool:
        """Whether one more execution may run in the domain."""
        most = self.limits.get(domain, Limits()).executions
        return (
            not most
            or sum(e.active and self.plans[e.plan_id].domain == domain for e in self.executions.values()) < most
        )

    def may_step(self, domain: str, now_us: int) -> bool:
        """Whether the domain's rate allows one more forward step."""
        most = self.limits.get(domain, Limits()).steps_per_minute
        return not most or sum(at > now_us - MINUTE_US for at in self.begun_us.get(domain, ())) < most

    def stepped(self, domain: str, now_us: int) -> None:
        """Counts a forward step against the domain's rate, if it has one."""
        if self.limits.get(domain, Limits()).steps_per_minute:
            lately = [at for at in self.begun_us.get(domain, ()) if at > now_us - MINUTE_US]
            self.begun_us[domain] = [*lately, now_us]


def execution_of(decision_id: str) -> str:
    """The identity of a decision's one execution."""
    return derived_id("exec", decision_id)


def idempotency_key(execution_id: str, step_id: str, phase: str) -> str:
    """The key of a step in a phase: the same for each try."""
    return derived_id("key", execution_id, step_id, phase)


def action_of(step: Step, phase: str) -> Action | None:
    """What is done for a step in a phase, as the plan says it; None when nothing undoes it."""
    return step.compensation if phase == COMPENSATION else step.action
