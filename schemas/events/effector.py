"""What the effector says: what it saw at a target and what it did there."""

from enum import StrEnum

from autopilot.schemas.contract import Contract, DurationMs, Payload, described, optional


class FailureClass(StrEnum):
    """What a failure means for whoever asked."""

    REFUSED = "refused"
    """A check before the act failed: signature, revocation, halt, expiry, plan mismatch. Nothing was touched."""
    TRANSIENT = "transient"
    """It may succeed when tried again."""
    PERMANENT = "permanent"
    """It will not succeed when tried again."""
    TIMEOUT = "timeout"
    """It took too long; the effect may be partial."""
    DENIED = "denied"
    """The target refused the credential."""
    MISSING = "missing"
    """The target does not exist."""
    CONFLICT = "conflict"
    """Another writer changed the target."""
    STALE = "stale"
    """The target is not in the state that the step was planned on. Nothing was touched; it may be planned anew."""


class TargetObserved(Payload):
    """The declared state of a target as its driver read it."""

    driver: str = described("The driver.")
    target: str = described("The target, as the driver names it.")
    state: dict[str, str] = described("Its state, in the driver's terms.")
    revision: str = described("The target's own revision of that state; empty when it has none.")


class Change(Contract):
    """One difference that a step would make."""

    step_id: str = described("The step.")
    field: str = described("What would change.")
    before: str = described("Value now.")
    after: str = described("Value then.")


class PreviewCompleted(Payload):
    """What a plan would change, found without changing it."""

    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    plan_hash: str = described("Hash of the plan.")
    ok: bool = described("Whether every step could be previewed.")
    changes: list[Change] = described("The differences, in the order of the steps.")
    reason: str = described("Why it could not be previewed; empty when it could.")


class StepStarted(Payload):
    """Written before the act: what will be done, and what the target was like. After a crash it says what happened."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    decision_id: str = described("The authorisation whose signature was checked.")
    step_id: str = described("The step.")
    phase: str = described("`forward` or `compensation`.")
    attempt: int = described("The try.", ge=1)
    idempotency_key: str = described("The key of the step in this phase.")
    crash_class: str = described("How the verb survives a crash: `convergent`, `witnessed`, `keyed` or `blind`.")
    before: dict[str, str] = described("The target's state before the act.")


class StepSucceeded(Payload):
    """The step's effect is there."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    step_id: str = described("The step.")
    phase: str = described("`forward` or `compensation`.")
    attempt: int = described("The try.", ge=1)
    changed: bool = described("Whether anything had to be changed.")
    after: dict[str, str] = described("The target's state after the act.")
    took_ms: DurationMs = optional("How long the act took, by the effector's clock.", 0)


class StepFailed(Payload):
    """The step's effect is not there."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    step_id: str = described("The step.")
    phase: str = described("`forward` or `compensation`.")
    attempt: int = described("The try.", ge=1)
    failure: FailureClass = described(
        "One of `refused`, `transient`, `permanent`, `timeout`, `denied`, `missing`, `conflict`, `stale`."
    )
    reason: str = described("What went wrong, for people.")
    after: dict[str, str] = optional("The target's state after the attempt, when it could be read.", {})


class StepIndeterminate(Payload):
    """It cannot be known whether the step's effect is there; a person must look. It is never repeated."""

    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    step_id: str = described("The step.")
    phase: str = described("`forward` or `compensation`.")
    attempt: int = described("The try.", ge=1)
    reason: str = described("Why it cannot be known.")
