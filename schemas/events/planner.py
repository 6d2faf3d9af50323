"""What the planner says: incidents and the plans that would end them."""

from enum import StrEnum

from autopilot.schemas.contract import BasisPoints, Contract, DurationMs, Payload, TimestampUs, described, optional
from autopilot.schemas.events.telemetry import Group

REVERT = "revert"
"""The verb of a compensation that puts back what its step changed, as recorded; its one parameter `step` names it."""


class RiskClass(StrEnum):
    """How much harm a remedy could do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    DANGEROUS = "dangerous"


class IncidentOpened(Payload):
    """Signals of a domain became an incident. The incident's id is the correlation id of all that follows."""

    incident_id: str = described("Identity of the incident.")
    signal_ids: list[str] = described("The signals that opened it.")
    severity: str = described("The worst severity among its signals: `page`, `ticket` or `info`.")
    title: str = described("One sentence for people.")
    started_at_us: TimestampUs = described("Earliest start among its signals.")


class SignalLinked(Payload):
    """A further signal belongs to an open incident, or a linked one changed or cleared."""

    incident_id: str = described("Identity of the incident.")
    signal_id: str = described("The signal.")
    change: str = described("`linked`, `updated` or `cleared`.")
    reason: str = described("Why the signal belongs to the incident.")


class IncidentClosed(Payload):
    """An incident has ended."""

    incident_id: str = described("Identity of the incident.")
    resolution: str = described("`remediated`, `recovered` (by itself), `telemetry_restored` or `escalated`.")
    reason: str = described("Why, for people.")


class Action(Contract):
    """One thing to do to one target, in the words of that target's driver."""

    driver: str = described("Name of the effector's driver, such as `supervisord`.")
    verb: str = described("The driver's verb, such as `restart`, `scale` or `switch_release`.")
    target: str = described("What it is done to, as the driver names it, such as a process group.")
    parameters: dict[str, str] = described("The verb's parameters.")


class StageGate(Contract):
    """What must be seen after a step before the next one is taken: the gate between two stages of a rollout."""

    slo_names: list[str] = described("SLOs that must not burn at this stage; empty for those of the verification.")
    guard_metrics: list[str] = described("Metrics that must not get worse; as in a verification.")
    settle_ms: DurationMs = described("How long to wait after the step before measuring.")
    after_ms: DurationMs = described("Length of the window that is measured.")
    deadline_ms: DurationMs = described("When no verdict is reached this long after the step, it is inconclusive.")
    groups: list[Group] = described(
        "Empty to compare with the time before the execution; `canary` and `control` to compare those two."
    )


class Step(Contract):
    """One step of a plan with its bounds and what undoes it."""

    step_id: str = described("Identity of the step within the plan, such as `1-switch-release`.")
    action: Action = described("What to do.")
    compensation: Action | None = described("What undoes it; null when nothing can or need.")
    timeout_ms: DurationMs = described("How long one attempt may take.")
    max_attempts: int = described("How often it may be tried in all, at least once.", ge=1)
    settle_ms: DurationMs = optional("How long to wait after it before the next step.", 0)
    expected: dict[str, str] = optional(
        "Declared state of the target that the step was planned on; the step is stale when the target differs.", {}
    )
    gate: StageGate | None = optional("What must be seen before the next step; null when nothing need.", None)


class Verification(Contract):
    """How it will be known whether the plan helped."""

    slo_names: list[str] = described("SLOs that must recover.")
    guard_metrics: list[str] = described("Metrics that must not get worse.")
    before_ms: DurationMs = described("Longest time before the execution that is compared with.")
    settle_ms: DurationMs = described("How long to wait after the execution before measuring.")
    after_ms: DurationMs = described("Length of the window after settling.")
    deadline_ms: DurationMs = described("When no verdict is reached this long after the execution, it is inconclusive.")
    trouble_since_us: TimestampUs = optional(
        "Latest start among the raised signals of the service: what was earlier is compared with only as far as it "
        "takes to judge. 0 when not known.",
        0,
    )


class ConfidenceBasis(Contract):
    """The Beta posterior that a confidence is the lower bound of (Beta-Bernoulli, normal approximation)."""

    context: str = described("What the outcomes were counted for, such as `shop/bad_release`.")
    prior_successes_milli: int = described("Declared prior, successes in thousandths.", ge=0)
    prior_failures_milli: int = described("Declared prior, failures in thousandths.", ge=0)
    verified: int = described("Outcomes verified so far in this context.", ge=0)
    rejected: int = described("Outcomes rejected so far in this context.", ge=0)
    mean_bp: BasisPoints = described("Mean of the posterior.")


class Alternative(Contract):
    """A remedy that was considered and not chosen."""

    remedy: str = described("Name of the remedy.")
    confidence_bp: BasisPoints = described("Its confidence; 0 where it did not apply.")
    why_not: str = described("Why it was not chosen.")


class PlanProposed(Payload):
    """A remedy for an incident, whole: what would be done, undone and measured."""

    plan_id: str = described("Identity of the plan.")
    incident_id: str = described("The incident it would end.")
    plan_hash: str = described("Digest of the canonical content of the steps, their bounds and the verification.")
    remedy: str = described("Name of the remedy in the catalogue.")
    remedy_digest: str = described("Digest of the remedy's definition.")
    summary: str = described("One sentence for people.")
    steps: list[Step] = described("What to do, in order.")
    verification: Verification = described("How its effect will be judged.")
    risk_class: RiskClass = described("One of `low`, `medium`, `high`, `dangerous`.")
    reversible: bool = described("Whether every step has a compensation or needs none.")
    blast_radius_bp: BasisPoints = described("Largest share of the service's capacity that is touched at once.")
    blast_radius_instances: int = described("Most instances that are touched at once.", ge=0)
    cost: int = described("Relative cost of the remedy, as the catalogue states it.", ge=0)
    confidence_bp: BasisPoints = described("Lower bound of the posterior that it helps.")
    basis: ConfidenceBasis = described("What the confidence rests on.")
    alternatives: list[Alternative] = described("What else was considered, and why not.")
    attempt: int = described("1 for the incident's first plan.", ge=1)
    expires_at_us: TimestampUs = described("After this time the plan is withdrawn when nothing has come of it.")


class PlanWithdrawn(Payload):
    """A proposed plan is no longer wanted."""

    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    reason: str = described("Why.")


class NoPlanFound(Payload):
    """The planner has nothing to propose; a person is needed."""

    incident_id: str = described("The incident.")
    reason: str = described("Why there is no plan, such as `telemetry_lost` or `no remedy applies`.")
    considered: list[Alternative] = described("The remedies considered, and why not.")
    look_at: list[str] = described("What a person should look at, most useful first.")


class TargetsLocked(Payload):
    """A plan holds its targets: until they are released, no other incident of the domain plans for them."""

    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    targets: list[str] = described("The targets, as `driver/target`.")


class TargetsReleased(Payload):
    """A plan lets go of its targets."""

    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    targets: list[str] = described("The targets, as `driver/target`.")
    reason: str = described("What has become of the plan.")


class IncidentHeld(Payload):
    """An incident has a remedy and waits: another one holds its targets, or acts on what it depends on."""

    incident_id: str = described("The incident that waits.")
    waits_for: str = described("The incident that it waits for.")
    targets: list[str] = described("The targets that are held, as `driver/target`; empty when it is a dependency.")
    reason: str = described("Why, for people.")
