"""What came of the plans `plan-0`, `plan-1` ... of the remedy `restart`, for tests of what the policy makes of it."""

from autopilot.schemas.events.executor import ExecutionRolledBack
from autopilot.schemas.events.verifier import Outcome, OutcomeInconclusive, OutcomeRejected, OutcomeVerified

Judged = OutcomeVerified | OutcomeRejected | OutcomeInconclusive


def judged(number: int, verdict: type[Judged], phase: str = "remedy", *, outcome_id: str = "") -> Judged:
    """An outcome of plan `number`."""
    outcome = Outcome(
        outcome_id=outcome_id or f"out-{number}-{phase}",
        execution_id=f"exe-{number}",
        plan_id=f"plan-{number}",
        incident_id="inc",
        remedy="restart",
        context="c",
        phase=phase,
        checks=[],
        confidence_bp=9_000,
        reason="r",
        measured_from_us=1,
        measured_until_us=2,
        evidence=[],
    )
    return verdict(outcome=outcome)


def rolled_back(number: int, failure: str = "") -> ExecutionRolledBack:
    """The execution of plan `number` was undone."""
    names = {"execution_id": f"exe-{number}", "plan_id": f"plan-{number}", "incident_id": "inc"}
    return ExecutionRolledBack(**names, reason="r", failure=failure)
