"""What the verifier says: whether an execution, or its rollback, helped."""

from enum import StrEnum

from autopilot.schemas.contract import BasisPoints, Contract, Payload, TimestampUs, described, optional
from autopilot.schemas.events.observer import EvidenceRange


class CheckVerdict(StrEnum):
    """What one check found."""

    PASS = "pass"
    FAIL = "fail"
    NO_DATA = "no_data"
    UNCLEAR = "unclear"


class Check(Contract):
    """One thing that was checked, with the figures."""

    name: str = described("`slo:NAME` or `metric:NAME`, and what was asked of it.")
    verdict: CheckVerdict = described("One of `pass`, `fail`, `no_data`, `unclear`.")
    before_mean: float | None = described("Mean before the execution, in the check's unit; null without data.")
    after_mean: float | None = described("Mean after it; null without data.")
    threshold: float | None = described("The value that had to be reached; null when it is relative.")
    before_samples: int = described("Samples before.", ge=0)
    after_samples: int = described("Samples after.", ge=0)
    reason: str = described("What was found, for people.")
    effect_size: float | None = optional(
        "After less before, in the check's unit: of shares their difference, of a metric the Hodges-Lehmann shift; "
        "null without data.",
        None,
    )
    confidence_bp: int | None = optional(
        "How sure the check's verdict is, one-sided; null when it says nothing.", None, ge=0, le=10_000
    )
    before_from_us: TimestampUs = optional(
        "Start of the earliest sample before the execution that was compared with; 0 without any.", 0
    )


class Outcome(Contract):
    """A judgement of one execution."""

    outcome_id: str = described("Identity of the outcome.")
    execution_id: str = described("The execution.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    remedy: str = described("Name of the remedy.")
    context: str = described("Context that the posterior counts it for.")
    phase: str = described(
        "`stage` for one stage of it, `remedy` for the whole, or `rollback` when what is judged is the undoing."
    )
    checks: list[Check] = described("What was checked.")
    confidence_bp: BasisPoints = described("How sure the verdict is.")
    reason: str = described("The verdict in a sentence.")
    measured_from_us: TimestampUs = described("Start of the window after the execution.")
    measured_until_us: TimestampUs = described("End of that window.")
    evidence: list[EvidenceRange] = described("Telemetry records behind it.")
    step_id: str = optional("The step whose stage is judged; empty for the whole.", "")


class OutcomeVerified(Payload):
    """It helped: the SLOs recovered and no guard got worse."""

    outcome: Outcome = described("The judgement.")


class OutcomeRejected(Payload):
    """It did not help, or harmed. A remedy that is rejected is rolled back."""

    outcome: Outcome = described("The judgement.")


class OutcomeInconclusive(Payload):
    """It cannot be said whether it helped. Missing telemetry never counts as success."""

    outcome: Outcome = described("The judgement.")
