"""What is going on: the incidents with their present stage, and the approvals that wait for people. Pure folds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Position, Recorded
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
)
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened, NoPlanFound, PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, PlanDenied
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified


@dataclass(frozen=True)
class IncidentRow:
    """One incident. `opened_at_ms` and `changed_at_ms` are Kafka record times."""

    incident_id: str
    domain: str
    service: str
    severity: str
    title: str
    stage: str
    opened_at_ms: int
    changed_at_ms: int
    closed: bool = False


@dataclass(frozen=True)
class PendingApproval:
    """A plan that waits for people, and where its request stands."""

    approval_id: str
    incident_id: str
    domain: str
    service: str
    summary: str
    group: str
    needed: int
    approvers: tuple[str, ...]
    expires_at_us: int
    request: ApprovalRequested
    position: Position


STAGES: Mapping[type[Payload], str] = {
    IncidentOpened: "open",
    PlanProposed: "planned",
    PlanWithdrawn: "plan withdrawn",
    NoPlanFound: "needs a person",
    ApprovalRequested: "waits for approval",
    PlanAuthorized: "authorised",
    PlanDenied: "denied",
    ExecutionStarted: "executing",
    ExecutionCompleted: "verifying",
    ExecutionFailed: "failed",
    RollbackStarted: "rolling back",
    ExecutionRolledBack: "rolled back",
    OutcomeVerified: "verified",
    OutcomeRejected: "rejected",
    OutcomeInconclusive: "inconclusive",
}
"""The events that move an incident, and the stage that each brings."""


def incidents(events: Iterable[Recorded[Payload]]) -> list[IncidentRow]:
    """Every incident, oldest first. `events` must be in order within each partition."""
    rows: dict[str, IncidentRow] = {}
    for event in events:
        payload, at_ms = event.payload, event.recorded_at_ms
        incident_id = event.envelope.correlation_id
        if isinstance(payload, IncidentOpened):
            rows[payload.incident_id] = IncidentRow(
                payload.incident_id,
                event.envelope.domain,
                event.envelope.service,
                payload.severity,
                payload.title,
                STAGES[IncidentOpened],
                at_ms,
                at_ms,
            )
        elif incident_id in rows and isinstance(payload, IncidentClosed):
            rows[incident_id] = replace(rows[incident_id], stage=payload.resolution, changed_at_ms=at_ms, closed=True)
        elif incident_id in rows and type(payload) in STAGES and not rows[incident_id].closed:
            rows[incident_id] = replace(rows[incident_id], stage=STAGES[type(payload)], changed_at_ms=at_ms)
    return sorted(rows.values(), key=lambda row: (row.opened_at_ms, row.incident_id))


def pending_approvals(events: Iterable[Recorded[Payload]]) -> list[PendingApproval]:
    """The requests that are neither answered for good nor overtaken. `events` as for `incidents`."""
    waiting: dict[str, PendingApproval] = {}
    for event in events:
        payload = event.payload
        if isinstance(payload, ApprovalRequested):
            waiting[payload.approval_id] = _pending(event, payload)
        elif isinstance(payload, ApprovalGranted) and payload.approval_id in waiting:
            known = waiting[payload.approval_id]
            waiting[payload.approval_id] = replace(known, approvers=(*known.approvers, payload.approver))
        elif isinstance(payload, PlanAuthorized | PlanDenied):
            _drop(waiting, payload.decision.plan_id)
        elif isinstance(payload, ApprovalRejected):
            waiting.pop(payload.approval_id, None)
        elif isinstance(payload, PlanWithdrawn):
            _drop(waiting, payload.plan_id)
        elif isinstance(payload, IncidentClosed):
            waiting = {k: v for k, v in waiting.items() if v.incident_id != payload.incident_id}
    return list(waiting.values())


def _pending(event: Recorded[Payload], request: ApprovalRequested) -> PendingApproval:
    return PendingApproval(
        approval_id=request.approval_id,
        incident_id=request.decision.incident_id,
        domain=event.envelope.domain,
        service=event.envelope.service,
        summary=request.summary,
        group=request.group,
        needed=request.needed,
        approvers=(),
        expires_at_us=request.expires_at_us,
        request=request,
        position=event.position,
    )


def _drop(waiting: dict[str, PendingApproval], plan_id: str) -> None:
    for approval_id in [k for k, v in waiting.items() if v.request.decision.plan_id == plan_id]:
        del waiting[approval_id]
