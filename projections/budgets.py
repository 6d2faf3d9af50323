"""`risk_budgets`: what was authorised in each domain in the last hour, as the policy counts it.

An authorisation spends, one that is revoked before anything began is refunded. Entries are kept for an hour before the
domain's newest one; whoever reads says which hour they mean.
"""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection
from autopilot.projections.rows import NOTE, Row, Rows
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized, PlanDenied

HOUR_US = 3_600_000_000


class Spending(BaseModel):
    """One authorised plan."""

    model_config = ConfigDict(frozen=True)

    at_us: int = Field(description="time of the authorisation, microseconds since the epoch")
    decision_id: str
    plan_id: str
    incident_id: str
    service: str
    risk_class: str


class BudgetRow(BaseModel):
    """One domain."""

    model_config = ConfigDict(frozen=True)

    domain: str
    authorised: int = Field(description="plans ever authorised")
    refunded: int = Field(description="of these, revoked before anything began")
    spendings: list[Spending] = Field(description="of the hour up to the newest one, oldest first")

    def last_hour(self, now_us: int) -> list[Spending]:
        """What counts against the domain's hourly budget at a time."""
        return [one for one in self.spendings if now_us - HOUR_US < one.at_us <= now_us]


def _proposed(rows: Rows, recorded: Recorded[PlanProposed]) -> None:
    rows.put(_plan(recorded.payload.plan_id), {"risk_class": recorded.payload.risk_class.value})


def _authorised(rows: Rows, recorded: Recorded[PlanAuthorized]) -> None:
    decision, envelope = recorded.payload.decision, recorded.envelope
    plan = rows.get(_plan(decision.plan_id)) or {"risk_class": ""}
    rows.delete(_plan(decision.plan_id))
    row = rows.get(envelope.domain) or _row(envelope.domain)
    at_us = envelope.occurred_at_us
    row["authorised"] += 1
    while row["spendings"] and row["spendings"][0]["at_us"] <= at_us - HOUR_US:
        del row["spendings"][0]
    row["spendings"].append(
        {
            "at_us": at_us,
            "decision_id": decision.decision_id,
            "plan_id": decision.plan_id,
            "incident_id": decision.incident_id,
            "service": envelope.service,
            "risk_class": plan["risk_class"],
        }
    )
    rows.put(envelope.domain, row)


def _revoked(rows: Rows, recorded: Recorded[AuthorizationRevoked]) -> None:
    row = rows.get(recorded.envelope.domain)
    begun = recorded.payload.step_id  # what has reached a held step was begun, and stays spent
    if row is not None and not begun:
        row["refunded"] += 1
        row["spendings"] = [one for one in row["spendings"] if one["decision_id"] != recorded.payload.decision_id]
        rows.put(row["domain"], row)


def _denied(rows: Rows, recorded: Recorded[PlanDenied]) -> None:
    rows.delete(_plan(recorded.payload.decision.plan_id))


def _withdrawn(rows: Rows, recorded: Recorded[PlanWithdrawn]) -> None:
    rows.delete(_plan(recorded.payload.plan_id))


def _row(domain: str) -> Row:
    return {"domain": domain, "authorised": 0, "refunded": 0, "spendings": []}


def _plan(plan_id: str) -> str:
    return f"{NOTE}plan/{plan_id}"


_HANDLERS: Mapping[type[Payload], Handler] = {
    PlanProposed: _proposed,
    PlanAuthorized: _authorised,
    AuthorizationRevoked: _revoked,
    PlanDenied: _denied,
    PlanWithdrawn: _withdrawn,
}
RISK_BUDGETS = Projection("risk_budgets", 1, _HANDLERS)
