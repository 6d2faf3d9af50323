"""What the executor says: the course of a plan's execution as a saga."""

from autopilot.schemas.contract import DurationMs, Payload, TimestampUs, described, optional
from autopilot.schemas.events.planner import Action


class ExecutionStarted(Payload):
    """A plan's execution has begun."""

    execution_id: str = described("Identity of the execution.")
    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    decision_id: str = described("The authorisation that it rests on.")
    steps: int = described("Number of steps.", ge=1)
    plan_hash: str = optional("Hash of the plan that is carried out; empty when not known.", "")


class StepRequested(Payload):
    """The effector is asked to take one step, or to undo one."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    decision_id: str = described("The authorisation that it rests on.")
    step_id: str = described("The step within the plan.")
    phase: str = described("`forward` or `compensation`.")
    attempt: int = described("1 for the first try of this step in this phase.", ge=1)
    idempotency_key: str = described("The same for each try of the same step in the same phase.")
    action: Action = described("What to do; equals the plan's action or compensation for this step.")
    timeout_ms: DurationMs = described("How long the attempt may take.")
    not_after_us: TimestampUs = described("It must not begin after this time.")


class StageReached(Payload):
    """A step with a gate is done: the verifier's verdict on this stage is awaited before the next step."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    step_id: str = described("The step whose gate is to be passed.")


class StepHeld(Payload):
    """A step that needs an authorisation of its own is reached: the execution waits until it has one."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    decision_id: str = described("The authorisation of the plan, which holds the step.")
    step_id: str = described("The step that waits.")


class RollbackStarted(Payload):
    """The completed steps of an execution are being undone, last first."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    reason: str = described("Why.")
    step_ids: list[str] = described("The steps to be undone, in the order in which they will be.")


class ExecutionCompleted(Payload):
    """Every step has succeeded. Whether it helped is the verifier's to say."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")


class ExecutionFailed(Payload):
    """The execution has ended without success, and what it did could not all be undone, or nothing had to be."""

    execution_id: str = described("The execution; empty when it never started.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    reason: str = described("Why.")
    needs_person: bool = described("Whether the target may be left in a state that a person must look at.")
    failure: str = optional(
        "Failure class of the step that ended it, or `refused` when it was not begun at all because of an obstacle;"
        " empty when neither did.",
        "",
    )


class ExecutionRolledBack(Payload):
    """Every completed step has been undone."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    reason: str = described("Why it was rolled back.")
    failure: str = optional(
        "Failure class of the step that was tried and because of which it was rolled back; empty when none was.", ""
    )


class BreakerOpened(Payload):
    """A target and verb failed too often; nothing is tried there until the breaker closes."""

    breaker: str = described("`driver/verb/target`.")
    failures: int = described("Failures in a row.", ge=1)
    until_us: TimestampUs = described("When one probe may be made.")
    reason: str = described("The last failure.")


class BreakerClosed(Payload):
    """A probe succeeded; the target and verb may be used again."""

    breaker: str = described("`driver/verb/target`.")
    reason: str = described("What closed it.")
