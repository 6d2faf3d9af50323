"""The executor's state: known plans, executions as sagas, breakers, and the tables by which they move.

An execution is dropped once it can no longer matter: its outcome is known (or a day has passed since it ended) and
its authorisation's time is over, so that the same decision cannot start it again.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from autopilot.agents.authority import Authority
from autopilot.agents.executor.breaker import Breaker
from autopilot.agents.lifecycle import Lifecycle
from autopilot.schemas.events.planner import Action, PlanProposed, Step
from autopilot.schemas.identity import derived_id


class ExecutionState(StrEnum):
    """Where an execution stands."""

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

    STEPS_DONE = "steps_done"
    UNDO = "undo"
    GIVE_UP = "give_up"
    ALL_UNDONE = "all_undone"
    ACCEPTED = "accepted"


EXECUTION = Lifecycle[ExecutionState, ExecutionTrigger](
    "execution",
    ExecutionState.RUNNING,
    {
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
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class StepTrigger(StrEnum):
    """What moves a step."""

    REQUEST = "request"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    RETRY = "retry"
    HELD = "held"
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
        (StepState.REQUESTED, StepTrigger.HELD): StepState.WAITING,
        **{(state, StepTrigger.RETRY): StepState.WAITING for state in _ASKED},
        **{(state, StepTrigger.FAILED): StepState.FAILED for state in _ASKED},
        # a result may be late: that of an earlier attempt while the next one waits or is asked for
        **{(state, StepTrigger.SUCCEEDED): StepState.DONE for state in _OPEN},
        **{(state, StepTrigger.INDETERMINATE): StepState.UNKNOWN for state in _OPEN},
    },
)

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
    state: ExecutionState = EXECUTION.initial
    pending: tuple[str, ...] = ()
    """Steps still to be taken in the present phase, the present one first."""
    touched: tuple[str, ...] = ()
    """Steps whose effect is there, or may be in part, in the order in which they were taken."""
    partial: bool = False
    """Whether the last touched step timed out, so that its effect may be there in part."""
    step: StepState = STEP.initial
    attempt: int = 0
    """The last attempt asked for of the present step in the present phase."""
    failures: int = 0
    """How many of those attempts failed."""
    held: bool = False
    """Whether a halt came while the attempt was asked for and not yet started."""
    due_us: int = 0
    deadline_us: int = 0
    reason: str = ""
    """Why it is to stop, or is being undone; empty while it is wanted."""
    ended_us: int = 0

    @property
    def phase(self) -> str:
        """`compensation` while it is being undone, `forward` otherwise."""
        return COMPENSATION if self.state is ExecutionState.UNDOING else FORWARD

    @property
    def active(self) -> bool:
        """Whether steps may still be asked for or answered."""
        return self.state in (ExecutionState.RUNNING, ExecutionState.UNDOING)


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


def execution_of(decision_id: str) -> str:
    """The identity of a decision's one execution."""
    return derived_id("exec", decision_id)


def idempotency_key(execution_id: str, step_id: str, phase: str) -> str:
    """The key of a step in a phase: the same for each try."""
    return derived_id("key", execution_id, step_id, phase)


def action_of(step: Step, phase: str) -> Action | None:
    """What is done for a step in a phase; None when nothing undoes it."""
    return step.compensation if phase == COMPENSATION else step.action
