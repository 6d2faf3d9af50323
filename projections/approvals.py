"""`awaiting_approval`: the requests that are neither answered for good nor overtaken."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection, folded
from autopilot.projections.rows import NOTE, Rows
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Position, Recorded
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, RollbackStarted
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import IncidentClosed, PlanWithdrawn
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)


class PendingApproval(BaseModel):
    """A plan, or a step that its execution has reached, that waits for people, and where its request stands."""

    model_config = ConfigDict(frozen=True)

    approval_id: str
    incident_id: str
    domain: str
    service: str
    summary: str
    group: str = Field(description="who may approve: a role in the signer list")
    needed: int = Field(description="how many different people must approve")
    approvers: tuple[str, ...] = Field(description="who has approved so far")
    expires_at_us: int = Field(
        description="after this time the plan is denied, or undone if it was begun; microseconds since the epoch"
    )
    requested_at_ms: int = Field(description="Kafka's record time of the request, milliseconds since the epoch")
    request: ApprovalRequested = Field(description="the request, with the plan's hash and the facts that were seen")
    position: Position = Field(description="where the request stands: topic, partition, offset")


def _requested(rows: Rows, recorded: Recorded[ApprovalRequested]) -> None:
    request = recorded.payload
    decision = request.decision
    rows.put(
        request.approval_id,
        {
            "approval_id": request.approval_id,
            "incident_id": decision.incident_id,
            "domain": recorded.envelope.domain,
            "service": recorded.envelope.service,
            "summary": request.summary,
            "group": request.group,
            "needed": request.needed,
            "approvers": [],
            "expires_at_us": request.expires_at_us,
            "requested_at_ms": recorded.recorded_at_ms,
            "request": request.model_dump(mode="json"),
            "position": list(recorded.position),
        },
    )
    _note(rows, _plan(decision.plan_id), request.approval_id)
    _note(rows, _incident(decision.incident_id), request.approval_id)


def _granted(rows: Rows, recorded: Recorded[ApprovalGranted]) -> None:
    granted = recorded.payload
    row = rows.get(granted.approval_id)
    if row is not None and granted.approver not in row["approvers"]:
        row["approvers"].append(granted.approver)
        rows.put(granted.approval_id, row)


def _answered(rows: Rows, recorded: Recorded[ApprovalRejected]) -> None:
    _drop(rows, recorded.payload.approval_id)


def _decided(rows: Rows, recorded: Recorded[Any]) -> None:
    _drop_noted(rows, _plan(recorded.payload.decision.plan_id))


def _ended(rows: Rows, recorded: Recorded[Any]) -> None:
    """Nobody need answer any more: the plan is withdrawn, or its execution turns back or has ended."""
    _drop_noted(rows, _plan(recorded.payload.plan_id))


def _closed(rows: Rows, recorded: Recorded[IncidentClosed]) -> None:
    _drop_noted(rows, _incident(recorded.payload.incident_id))


def _plan(plan_id: str) -> str:
    return f"{NOTE}plan/{plan_id}"


def _incident(incident_id: str) -> str:
    return f"{NOTE}incident/{incident_id}"


def _note(rows: Rows, key: str, approval_id: str) -> None:
    known = rows.get(key) or {"approvals": []}
    rows.put(key, {"approvals": sorted({*known["approvals"], approval_id})})


def _drop_noted(rows: Rows, key: str) -> None:
    for approval_id in (rows.get(key) or {"approvals": []})["approvals"]:
        _drop(rows, approval_id)


def _drop(rows: Rows, approval_id: str) -> None:
    row = rows.get(approval_id)
    if row is None:
        return
    rows.delete(approval_id)
    for key in (_plan(row["request"]["decision"]["plan_id"]), _incident(row["incident_id"])):
        left = [one for one in (rows.get(key) or {"approvals": []})["approvals"] if one != approval_id]
        if left:
            rows.put(key, {"approvals": left})
        else:
            rows.delete(key)


_HANDLERS: Mapping[type[Payload], Handler] = {
    ApprovalRequested: _requested,
    ApprovalGranted: _granted,
    ApprovalRejected: _answered,
    PlanAuthorized: _decided,
    PlanDenied: _decided,
    StepAuthorized: _decided,
    PlanWithdrawn: _ended,
    AuthorizationRevoked: _ended,
    RollbackStarted: _ended,
    ExecutionRolledBack: _ended,
    ExecutionFailed: _ended,
    IncidentClosed: _closed,
}
AWAITING_APPROVAL = Projection("awaiting_approval", 2, _HANDLERS)


def pending_approvals(events: Iterable[Recorded[Payload]]) -> list[PendingApproval]:
    """The waiting requests, oldest first. `events` must be in order within each partition."""
    return oldest_first(PendingApproval.model_validate(row) for row in folded(AWAITING_APPROVAL, events).shown())


def oldest_first(rows: Iterable[PendingApproval]) -> list[PendingApproval]:
    """The requests by the time of asking."""
    return sorted(rows, key=lambda row: (row.requested_at_ms, row.approval_id))
