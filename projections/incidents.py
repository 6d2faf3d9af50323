"""`incidents`: each incident with the stage that it has reached and how long it took to get there."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection, folded
from autopilot.projections.rows import Rows
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StageReached,
    StepHeld,
)
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened, NoPlanFound, PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, PlanDenied, StepAuthorized
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified


class IncidentRow(BaseModel):
    """One incident. Times are Kafka's record times, milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    incident_id: str
    domain: str
    service: str
    severity: str = Field(description="`page`, `ticket` or `info`")
    title: str
    stage: str = Field(description="how far it has come; the resolution once it is closed")
    opened_at_ms: int
    changed_at_ms: int
    closed: bool = False
    plans: int = Field(default=0, description="plans proposed so far")
    remedy: str = Field(default="", description="remedy of the last plan; empty while there is none")
    after_ms: dict[str, int] = Field(
        default={}, description="from its opening to the first of each: `planned`, `decided`, `executing`, `closed`"
    )


STAGES: Mapping[type[Payload], str] = {
    PlanProposed: "planned",
    PlanWithdrawn: "plan withdrawn",
    NoPlanFound: "needs a person",
    ApprovalRequested: "waits for approval",
    PlanAuthorized: "authorised",
    PlanDenied: "denied",
    ExecutionStarted: "executing",
    StageReached: "verifying a stage",
    StepHeld: "held before a step",
    StepAuthorized: "executing",
    ExecutionCompleted: "verifying",
    ExecutionFailed: "failed",
    RollbackStarted: "rolling back",
    ExecutionRolledBack: "rolled back",
    OutcomeVerified: "verified",
    OutcomeRejected: "rejected",
    OutcomeInconclusive: "inconclusive",
}
"""The events that move an open incident, and the stage that each brings."""

_MARKS: Mapping[type[Payload], str] = {
    PlanProposed: "planned",
    NoPlanFound: "planned",
    PlanAuthorized: "decided",
    PlanDenied: "decided",
    ExecutionStarted: "executing",
    IncidentClosed: "closed",
}


def _opened(rows: Rows, recorded: Recorded[IncidentOpened]) -> None:
    opened = recorded.payload
    rows.put(
        opened.incident_id,
        {
            "incident_id": opened.incident_id,
            "domain": recorded.envelope.domain,
            "service": recorded.envelope.service,
            "severity": opened.severity,
            "title": opened.title,
            "stage": "open",
            "opened_at_ms": recorded.recorded_at_ms,
            "changed_at_ms": recorded.recorded_at_ms,
            "closed": False,
            "plans": 0,
            "remedy": "",
            "after_ms": {},
        },
    )


def _moved(rows: Rows, recorded: Recorded[Any]) -> None:
    row = rows.get(recorded.envelope.correlation_id)
    if row is None or row["closed"]:
        return
    payload = recorded.payload
    if isinstance(payload, PlanProposed):
        row["plans"] += 1
        row["remedy"] = payload.remedy
    if isinstance(payload, IncidentClosed):
        row["closed"] = True
        row["stage"] = payload.resolution
    else:
        row["stage"] = _stage(payload)
    mark = _MARKS.get(type(payload))
    if mark is not None:
        row["after_ms"].setdefault(mark, recorded.recorded_at_ms - row["opened_at_ms"])
    row["changed_at_ms"] = recorded.recorded_at_ms
    rows.put(row["incident_id"], row)


def _stage(payload: Payload) -> str:
    if isinstance(payload, OutcomeVerified) and payload.outcome.phase == "stage":
        return STAGES[ExecutionStarted]  # one stage is verified, and the execution goes on
    return STAGES[type(payload)]


_HANDLERS: Mapping[type[Payload], Handler] = {
    IncidentOpened: _opened,
    IncidentClosed: _moved,
    **dict.fromkeys(STAGES, _moved),
}
INCIDENTS = Projection("incidents", 1, _HANDLERS)


def incidents(events: Iterable[Recorded[Payload]]) -> list[IncidentRow]:
    """Every incident, oldest first. `events` must be in order within each partition."""
    return oldest_first(IncidentRow.model_validate(row) for row in folded(INCIDENTS, events).shown())


def oldest_first(rows: Iterable[IncidentRow]) -> list[IncidentRow]:
    """The rows by the time of opening."""
    return sorted(rows, key=lambda row: (row.opened_at_ms, row.incident_id))
