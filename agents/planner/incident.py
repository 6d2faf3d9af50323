"""An incident and its lifecycle: what the planner remembers of signals, plans and tries while it is open."""

from dataclasses import dataclass, field
from enum import StrEnum

from autopilot.agents.lifecycle import Lifecycle
from autopilot.schemas.events.observer import Severity


class Phase(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    """A plan is wanted; it is found as soon as the correlation delay has passed."""
    WAITING = "waiting"
    """A plan is wanted, but another incident is acting on the same target or on a dependency."""
    DECIDING = "deciding"
    """A plan is proposed and the policy has not ruled yet."""
    EXECUTING = "executing"
    VERIFYING = "verifying"
    ROLLING_BACK = "rolling_back"
    VERIFIED = "verified"
    """A remedy helped; the signals have yet to clear."""
    ESCALATED = "escalated"
    """There is nothing to propose: a person is needed."""
    BLIND = "blind"
    """Telemetry is lost. Nothing is known of the service, so nothing is done to it."""
    CLOSED = "closed"


class Trigger(StrEnum):
    """What moves an incident: events by their names, and the planner's own findings."""

    PLAN_PROPOSED = "PlanProposed"
    NO_PLAN_FOUND = "NoPlanFound"
    HELD = "held by another incident"
    TELEMETRY_LOST = "telemetry lost"
    PLAN_WITHDRAWN = "PlanWithdrawn"
    PLAN_AUTHORIZED = "PlanAuthorized"
    PLAN_DENIED = "PlanDenied"
    EXECUTION_STARTED = "ExecutionStarted"
    STEP_HELD = "StepHeld"
    APPROVAL_REQUESTED = "ApprovalRequested"
    STEP_AUTHORIZED = "StepAuthorized"
    EXECUTION_COMPLETED = "ExecutionCompleted"
    EXECUTION_FAILED = "ExecutionFailed"
    EXECUTION_ROLLED_BACK = "ExecutionRolledBack"
    OUTCOME_VERIFIED = "OutcomeVerified"
    OUTCOME_REJECTED = "OutcomeRejected"
    OUTCOME_INCONCLUSIVE = "OutcomeInconclusive"
    RETRY = "circumstances changed"
    STALLED = "stalled"
    CLEARED = "all signals cleared"


INCIDENT: Lifecycle[Phase, Trigger] = Lifecycle(
    "incident",
    Phase.OPEN,
    {
        (Phase.OPEN, Trigger.PLAN_PROPOSED): Phase.DECIDING,
        (Phase.OPEN, Trigger.HELD): Phase.WAITING,
        (Phase.OPEN, Trigger.NO_PLAN_FOUND): Phase.ESCALATED,
        (Phase.OPEN, Trigger.TELEMETRY_LOST): Phase.BLIND,
        (Phase.OPEN, Trigger.CLEARED): Phase.CLOSED,
        (Phase.WAITING, Trigger.RETRY): Phase.OPEN,
        (Phase.WAITING, Trigger.CLEARED): Phase.CLOSED,
        (Phase.DECIDING, Trigger.PLAN_WITHDRAWN): Phase.OPEN,
        (Phase.DECIDING, Trigger.PLAN_AUTHORIZED): Phase.EXECUTING,
        (Phase.DECIDING, Trigger.PLAN_DENIED): Phase.OPEN,
        (Phase.DECIDING, Trigger.CLEARED): Phase.CLOSED,
        (Phase.EXECUTING, Trigger.EXECUTION_STARTED): Phase.EXECUTING,
        (Phase.EXECUTING, Trigger.STEP_HELD): Phase.EXECUTING,
        (Phase.EXECUTING, Trigger.APPROVAL_REQUESTED): Phase.EXECUTING,
        (Phase.EXECUTING, Trigger.STEP_AUTHORIZED): Phase.EXECUTING,
        (Phase.EXECUTING, Trigger.EXECUTION_COMPLETED): Phase.VERIFYING,
        (Phase.EXECUTING, Trigger.EXECUTION_FAILED): Phase.OPEN,
        (Phase.EXECUTING, Trigger.EXECUTION_ROLLED_BACK): Phase.OPEN,
        (Phase.EXECUTING, Trigger.STALLED): Phase.ESCALATED,
        (Phase.VERIFYING, Trigger.OUTCOME_VERIFIED): Phase.VERIFIED,
        (Phase.VERIFYING, Trigger.OUTCOME_REJECTED): Phase.ROLLING_BACK,
        (Phase.VERIFYING, Trigger.OUTCOME_INCONCLUSIVE): Phase.ESCALATED,
        (Phase.VERIFYING, Trigger.STALLED): Phase.ESCALATED,
        (Phase.ROLLING_BACK, Trigger.EXECUTION_ROLLED_BACK): Phase.OPEN,
        (Phase.ROLLING_BACK, Trigger.EXECUTION_FAILED): Phase.OPEN,
        (Phase.ROLLING_BACK, Trigger.STALLED): Phase.ESCALATED,
        (Phase.VERIFIED, Trigger.CLEARED): Phase.CLOSED,
        (Phase.VERIFIED, Trigger.STALLED): Phase.ESCALATED,
        (Phase.ESCALATED, Trigger.RETRY): Phase.OPEN,
        (Phase.ESCALATED, Trigger.CLEARED): Phase.CLOSED,
        (Phase.BLIND, Trigger.CLEARED): Phase.CLOSED,
    },
)
"""The incident's lifecycle. An event that its phase has no transition for changes nothing."""

ACTING = frozenset({Phase.DECIDING, Phase.EXECUTING, Phase.VERIFYING, Phase.ROLLING_BACK})
"""Phases in which the incident's plan holds its targets: no other incident plans for them."""

SEVERITIES = (Severity.PAGE, Severity.TICKET, Severity.INFO)
"""Worst first."""


@dataclass(frozen=True)
class Signal:
    """A raised signal as it was last heard of."""

    signal_id: str
    domain: str
    service: str
    kind: str
    severity: str
    slo: str
    sli: str
    summary: str
    started_at_us: int
    confidence_bp: int
    quality_bp: int
    burn_milli: int
    evidence: str


def urgency(signal: Signal) -> tuple[int, int, str]:
    """Sorts the most urgent first: the worst severity, then the earliest start, then the id."""
    return SEVERITIES.index(Severity(signal.severity)), signal.started_at_us, signal.signal_id


@dataclass(frozen=True)
class OpenPlan:
    """The incident's plan that something may yet come of."""

    plan_id: str
    remedy: str
    service: str
    targets: tuple[str, ...]
    expires_at_us: int
    patience_ms: int
    steps_digest: str
    leaves_nothing: bool
    """No step has, or needs, anything that undoes it, such as a restart."""


@dataclass(frozen=True)
class Incident:
    """An open incident."""

    incident_id: str
    domain: str
    opened_at_us: int
    started_at_us: int
    phase: Phase = Phase.OPEN
    signals: tuple[Signal, ...] = ()
    """Its signals that are raised."""
    starts: dict[str, int] = field(default_factory=dict)
    """Latest signal start of every service that it ever had a signal of."""
    plan: OpenPlan | None = None
    waits_for: str = ""
    """The incident that it waits for, while it does."""
    plans: int = 0
    tried: dict[str, str] = field(default_factory=dict)
    """`remedy@service` -> what came of it, for each that is not to be tried again."""
    helped: tuple[str, ...] = ()
    """`remedy@context` of what was verified in it: when it comes back soon, that did not last."""
    handed_over: bool = False
    """A person has to act: nothing further is proposed, whatever changes."""
    said: str = ""
    """Digest of the last NoPlanFound, so that the same is not said twice."""
    deadline_us: int = 0
    """When the phase has lasted too long; 0 without a limit."""
    retry_at_us: int = 0
    """When something ends that stands in the way of a remedy, such as a cooldown; 0 for none."""
