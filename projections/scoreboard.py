"""`policy_scoreboard`: for each version of the policy, what it decided, how fast, and what came of what it allowed.

Rows are sums, so that any partition may add to them. A plan's own note says when it was proposed and who allowed it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.latency import Latency, observed
from autopilot.projections.projection import Handler, Projection
from autopilot.projections.rows import NOTE, Row, Rows
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified


class PolicyRow(BaseModel):
    """One version of the policy."""

    model_config = ConfigDict(frozen=True)

    bundle: str = Field(description="names and versions; empty for the decisions made without a bundle")
    bundle_digest: str
    allowed: int = Field(description="plans authorised")
    denied: int = Field(description="plans denied")
    held: int = Field(description="requests for approval of plans or steps, whatever came of them")
    revoked: int = Field(description="authorisations revoked before anything began")
    steps_allowed: int = Field(description="held steps authorised as they were reached")
    steps_refused: int = Field(description="plans turned back at a held step")
    verified: int = Field(description="allowed plans that were seen to help")
    rejected: int = Field(description="allowed plans that were seen not to help, or to harm")
    inconclusive: int = Field(description="allowed plans of which it cannot be said")
    rollbacks_verified: int
    rollbacks_rejected: int
    rollbacks_inconclusive: int
    rules: dict[str, int] = Field(description="how often each rule fired in a final decision")
    verdict: Latency = Field(description="from the proposal to the first verdict: allowed, denied or held")
    approval: Latency = Field(description="from the request for approval to the decision on the plan or the step")

    @property
    def decisions(self) -> int:
        """Final decisions."""
        return self.allowed + self.denied


_COUNTERS = (
    "allowed",
    "denied",
    "held",
    "revoked",
    "steps_allowed",
    "steps_refused",
    "verified",
    "rejected",
    "inconclusive",
    "rollbacks_verified",
    "rollbacks_rejected",
    "rollbacks_inconclusive",
)
_VERDICTS: Mapping[type[Payload], str] = {
    OutcomeVerified: "verified",
    OutcomeRejected: "rejected",
    OutcomeInconclusive: "inconclusive",
}


def _proposed(rows: Rows, recorded: Recorded[PlanProposed]) -> None:
    rows.put(_plan(recorded.payload.plan_id), {"proposed_at_ms": recorded.recorded_at_ms})


def _held(rows: Rows, recorded: Recorded[ApprovalRequested]) -> None:
    decision = recorded.payload.decision
    row, plan = _row_of(rows, decision), rows.get(_plan(decision.plan_id)) or {}
    row["held"] += 1
    if not recorded.payload.execution_id:
        _measure(row, "verdict", plan.get("proposed_at_ms"), recorded.recorded_at_ms)
    rows.put(_plan(decision.plan_id), {**plan, "held_at_ms": recorded.recorded_at_ms})
    rows.put(row["bundle_digest"], row)


def _decided(rows: Rows, recorded: Recorded[Any]) -> None:
    decision: Decision = recorded.payload.decision
    row, plan = _row_of(rows, decision), rows.get(_plan(decision.plan_id)) or {}
    allowed = isinstance(recorded.payload, PlanAuthorized)
    row["allowed" if allowed else "denied"] += 1
    for rule in decision.rules:
        row["rules"][rule.rule] = row["rules"].get(rule.rule, 0) + 1
    if "held_at_ms" in plan:
        _measure(row, "approval", plan["held_at_ms"], recorded.recorded_at_ms)
    else:
        _measure(row, "verdict", plan.get("proposed_at_ms"), recorded.recorded_at_ms)
    if allowed:
        rows.put(_plan(decision.plan_id), {"allowed_by": decision.bundle_digest})
    else:
        rows.delete(_plan(decision.plan_id))
    rows.put(row["bundle_digest"], row)


def _step_allowed(rows: Rows, recorded: Recorded[StepAuthorized]) -> None:
    decision = recorded.payload.decision
    row, plan = _row_of(rows, decision), rows.get(_plan(decision.plan_id)) or {}
    row["steps_allowed"] += 1
    _measure(row, "approval", plan.pop("held_at_ms", None), recorded.recorded_at_ms)
    rows.put(_plan(decision.plan_id), plan)
    rows.put(row["bundle_digest"], row)


def _revoked(rows: Rows, recorded: Recorded[AuthorizationRevoked]) -> None:
    _count(rows, recorded.payload.plan_id, "steps_refused" if recorded.payload.step_id else "revoked")


def _judged(rows: Rows, recorded: Recorded[Any]) -> None:
    outcome, verdict = recorded.payload.outcome, _VERDICTS[type(recorded.payload)]
    if outcome.phase == "stage":
        return  # the whole is judged once more, or its rollback is
    _count(rows, outcome.plan_id, f"rollbacks_{verdict}" if outcome.phase == "rollback" else verdict)


def _count(rows: Rows, plan_id: str, counter: str) -> None:
    """Counts for the version that allowed the plan; what no decision allowed is nobody's."""
    plan = rows.get(_plan(plan_id)) or {}
    row = rows.get(plan["allowed_by"]) if "allowed_by" in plan else None
    if row is not None:
        row[counter] += 1
        rows.put(row["bundle_digest"], row)


def _row_of(rows: Rows, decision: Decision) -> Row:
    found = rows.get(decision.bundle_digest)
    if found is not None:
        return found
    return {
        "bundle": decision.bundle,
        "bundle_digest": decision.bundle_digest,
        **dict.fromkeys(_COUNTERS, 0),
        "rules": {},
        "verdict": {},
        "approval": {},
    }


def _measure(row: Row, name: str, since_ms: int | None, at_ms: int) -> None:
    if since_ms is not None:
        row[name] = observed(row[name], at_ms - since_ms)


def _plan(plan_id: str) -> str:
    return f"{NOTE}plan/{plan_id}"


_HANDLERS: Mapping[type[Payload], Handler] = {
    PlanProposed: _proposed,
    ApprovalRequested: _held,
    PlanAuthorized: _decided,
    PlanDenied: _decided,
    StepAuthorized: _step_allowed,
    AuthorizationRevoked: _revoked,
    **dict.fromkeys(_VERDICTS, _judged),
}
POLICY_SCOREBOARD = Projection("policy_scoreboard", 2, _HANDLERS)
