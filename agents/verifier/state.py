"""What the verifier remembers of one partition of the log."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from autopilot.agents.verifier.acted import Acted
from autopilot.agents.verifier.watch import KnownPlan, Watch
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionFailed, ExecutionRolledBack


@dataclass
class VerifierState:
    """The fold of one partition: plans that may yet be executed, and executions without a verdict."""

    now_us: int = 0
    objectives_bp: dict[str, int] = field(default_factory=dict)
    intervals_ms: dict[str, int] = field(default_factory=dict)
    """How often each service sends its telemetry."""
    plans: dict[str, KnownPlan] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    awaited: dict[str, str] = field(default_factory=dict)
    """Measurement -> the execution that it is for."""
    acted: dict[str, Acted] = field(default_factory=dict)
    """Executions of the last day, and when they acted."""

    def acted_on(self, plan: KnownPlan) -> Iterator[Acted]:
        """The executions that acted on the plan's service."""
        return (one for one in self.acted.values() if (one.domain, one.service) == (plan.domain, plan.service))

    def goes_on(self, execution_id: str) -> None:
        """Notes that an execution acts again."""
        if execution_id in self.acted:
            self.acted[execution_id] = self.acted[execution_id].going_on()

    def ended(
        self, recorded: Recorded[ExecutionCompleted | ExecutionRolledBack | ExecutionFailed], *, stays: bool
    ) -> None:
        """Notes that an execution has nothing more to do for now, and whether what it did is in place."""
        execution_id = recorded.payload.execution_id
        if execution_id in self.acted:
            self.acted[execution_id] = self.acted[execution_id].ended(recorded.envelope.occurred_at_us, stays=stays)
