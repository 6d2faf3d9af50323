"""What the verifier says of an execution, for tests of those who act on it, count it or show it."""

from typing import Any

from autopilot.agents.executor.states import execution_of
from autopilot.schemas.events.executor import ExecutionRolledBack
from autopilot.schemas.events.verifier import Outcome, OutcomeInconclusive, OutcomeRejected, OutcomeVerified

CONTEXT = "checkout/errors"
Judged = OutcomeVerified | OutcomeRejected | OutcomeInconclusive


def outcome(phase: str = "remedy", step_id: str = "", **of: Any) -> Outcome:
    """An outcome of the execution of decision `dec-1`, or `of` another one."""
    content: dict[str, Any] = {
        "outcome_id": "out-1",
        "execution_id": execution_of("dec-1"),
        "plan_id": "plan-1",
        "incident_id": "inc-1",
        "remedy": "restart",
        "context": CONTEXT,
        "checks": [],
        "confidence_bp": 9_000,
        "reason": "so it was measured",
        "measured_from_us": 1,
        "measured_until_us": 2,
        "evidence": [],
    }
    return Outcome(phase=phase, step_id=step_id, **{**content, **of})


def judged(number: int, verdict: type[Judged] = OutcomeVerified, phase: str = "remedy", **of: Any) -> Judged:
    """A verdict on plan `plan-NUMBER` of the remedy `restart`, which is executed as `exe-NUMBER`."""
    names = {"outcome_id": f"out-{number}-{phase}", "execution_id": f"exe-{number}", "plan_id": f"plan-{number}"}
    return verdict(outcome=outcome(phase, **{**names, "incident_id": "inc", **of}))


def rolled_back(number: int, failure: str = "") -> ExecutionRolledBack:
    """The execution of plan `plan-NUMBER` was undone."""
    names = {"execution_id": f"exe-{number}", "plan_id": f"plan-{number}", "incident_id": "inc"}
    return ExecutionRolledBack(**names, reason="r", failure=failure)
