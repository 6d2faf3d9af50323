"""What the verifier watches of one execution, and the lifecycle of that watch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from autopilot.agents.lifecycle import Lifecycle
from autopilot.agents.verification.comparison import Direction
from autopilot.schemas.events.observer import EvidenceRange
from autopilot.schemas.events.telemetry import Group


class WatchState(StrEnum):
    """Where the verification of an execution stands."""

    EXECUTING = "executing"
    """It is under way; the window before it is being measured."""
    MEASURING_STAGE = "measuring_stage"
    """It has reached a gate; the window after its last step is being measured."""
    MEASURING = "measuring"
    """It is done; the window after it is being measured."""
    REJECTED = "rejected"
    """It, or a stage of it, did not help or nobody can say: its rollback is awaited."""
    MEASURING_ROLLBACK = "measuring_rollback"
    """It is undone; the window after that is being measured."""
    ENDED = "ended"


class WatchTrigger(StrEnum):
    """What moves a watch: the executor's events and the verifier's own verdicts."""

    STAGE_REACHED = "StageReached"
    ROLLBACK_STARTED = "RollbackStarted"
    EXECUTION_COMPLETED = "ExecutionCompleted"
    EXECUTION_ROLLED_BACK = "ExecutionRolledBack"
    EXECUTION_FAILED = "ExecutionFailed"
    OUTCOME_VERIFIED = "OutcomeVerified"
    OUTCOME_REJECTED = "OutcomeRejected"
    OUTCOME_INCONCLUSIVE = "OutcomeInconclusive"
    FORGOTTEN = "nothing heard for too long"


WATCH: Lifecycle[WatchState, WatchTrigger] = Lifecycle(
    "verification",
    WatchState.EXECUTING,
    {
        (WatchState.EXECUTING, WatchTrigger.STAGE_REACHED): WatchState.MEASURING_STAGE,
        (WatchState.EXECUTING, WatchTrigger.EXECUTION_COMPLETED): WatchState.MEASURING,
        (WatchState.EXECUTING, WatchTrigger.EXECUTION_ROLLED_BACK): WatchState.MEASURING_ROLLBACK,
        (WatchState.EXECUTING, WatchTrigger.EXECUTION_FAILED): WatchState.ENDED,
        (WatchState.EXECUTING, WatchTrigger.FORGOTTEN): WatchState.ENDED,
        (WatchState.MEASURING_STAGE, WatchTrigger.OUTCOME_VERIFIED): WatchState.EXECUTING,
        (WatchState.MEASURING_STAGE, WatchTrigger.OUTCOME_REJECTED): WatchState.REJECTED,
        (WatchState.MEASURING_STAGE, WatchTrigger.OUTCOME_INCONCLUSIVE): WatchState.REJECTED,
        (WatchState.MEASURING_STAGE, WatchTrigger.ROLLBACK_STARTED): WatchState.REJECTED,
        (WatchState.MEASURING_STAGE, WatchTrigger.EXECUTION_FAILED): WatchState.ENDED,
        (WatchState.MEASURING, WatchTrigger.OUTCOME_VERIFIED): WatchState.ENDED,
        (WatchState.MEASURING, WatchTrigger.OUTCOME_REJECTED): WatchState.REJECTED,
        (WatchState.MEASURING, WatchTrigger.OUTCOME_INCONCLUSIVE): WatchState.ENDED,
        (WatchState.REJECTED, WatchTrigger.EXECUTION_ROLLED_BACK): WatchState.MEASURING_ROLLBACK,
        (WatchState.REJECTED, WatchTrigger.EXECUTION_FAILED): WatchState.ENDED,
        (WatchState.REJECTED, WatchTrigger.FORGOTTEN): WatchState.ENDED,
        (WatchState.MEASURING_ROLLBACK, WatchTrigger.OUTCOME_VERIFIED): WatchState.ENDED,
        (WatchState.MEASURING_ROLLBACK, WatchTrigger.OUTCOME_REJECTED): WatchState.ENDED,
        (WatchState.MEASURING_ROLLBACK, WatchTrigger.OUTCOME_INCONCLUSIVE): WatchState.ENDED,
    },
)
"""The lifecycle of a verification. An event that its state has no transition for changes nothing."""

MEASURING = frozenset({WatchState.MEASURING_STAGE, WatchState.MEASURING, WatchState.MEASURING_ROLLBACK})
"""States in which a verdict is sought."""


CANARY, CONTROL = "canary", "control"
"""The two groups of series that a gate may have compared."""


@dataclass(frozen=True)
class Window:
    """What is measured after a step or the whole, for how long, and by when a verdict is due."""

    slo_names: tuple[str, ...]
    guard_metrics: tuple[str, ...]
    """As written; see `Guard.written`."""
    settle_ms: int
    after_ms: int
    deadline_ms: int
    groups: tuple[Group, ...] = ()

    @property
    def guards(self) -> list["Guard"]:
        """What must not get worse."""
        return [Guard.written(text) for text in self.guard_metrics]


@dataclass(frozen=True)
class KnownPlan:
    """What the verifier keeps of a proposed plan."""

    plan_id: str
    plan_hash: str
    incident_id: str
    domain: str
    service: str
    remedy: str
    context: str
    slo_names: tuple[str, ...]
    guard_metrics: tuple[str, ...]
    """As written; see `Guard.written`."""
    before_ms: int
    settle_ms: int
    after_ms: int
    deadline_ms: int
    expires_at_us: int
    gates: dict[str, Window] = field(default_factory=dict)
    """By the step after which they stand."""
    trouble_since_us: int = 0
    """When all that it is to end had begun; 0 when not known."""

    @cached_property
    def whole(self) -> Window:
        """What is measured after the whole."""
        return Window(self.slo_names, self.guard_metrics, self.settle_ms, self.after_ms, self.deadline_ms)

    def window(self, step_id: str) -> Window:
        """What is measured after the step; after the whole where it is empty."""
        return self.gates[step_id] if step_id else self.whole


@dataclass(frozen=True)
class Guard:
    """A metric that must not get worse, and the direction that counts as worse."""

    metric: str
    direction: Direction

    @classmethod
    def written(cls, text: str) -> "Guard":
        """`METRIC`, of which more is worse, or `METRIC decrease`, `METRIC either`, `METRIC increase`."""
        metric, _, last = text.rpartition(" ")
        if metric and last in set(Direction):
            return cls(metric, Direction(last))
        return cls(text, Direction.INCREASE)


@dataclass(frozen=True)
class Column:
    """The samples of one indicator or metric: values, and the events or samples behind each.

    `starts_us` is when each bucket starts, kept before the execution and where samples of two groups are to be paired.
    """

    values: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    starts_us: tuple[int, ...] = ()

    @property
    def from_us(self) -> int:
        """Start of the earliest bucket; 0 where there is none, or no starts are kept."""
        return min(self.starts_us, default=0)

    def plus(self, samples: Sequence[tuple[float, float]], starts_us: Sequence[int] = ()) -> "Column":
        """The column with further samples, each a value and its weight."""
        values = (*self.values, *(value for value, _ in samples))
        return Column(values, (*self.weights, *(weight for _, weight in samples)), (*self.starts_us, *starts_us))


@dataclass(frozen=True)
class Watch:
    """The verification of one execution. `look` counts the slices of the window after it that were asked for."""

    execution_id: str
    plan: KnownPlan
    since_us: int
    state: WatchState = WatchState.EXECUTING
    before: dict[str, Column] | None = None
    """Samples before the execution that count, by name; None until they are known."""
    after: dict[str, Column] = field(default_factory=dict)
    quality_bp: int = 0
    """Telemetry quality at the end of the last slice."""
    look: int = 0
    awaited: str = ""
    """The slice whose measurement is awaited."""
    from_us: int = 0
    until_us: int = 0
    deadline_us: int = 0
    evidence: tuple[EvidenceRange, ...] = ()
    silent: tuple[str, ...] = ()
    """Columns to which the last slice added nothing although there were samples before."""
    step_id: str = ""
    """The step whose stage is measured; empty for the whole."""
    held: bool = False
    """It waits before a step that is held."""

    @property
    def window(self) -> Window:
        """What is being measured."""
        return self.plan.window(self.step_id)
