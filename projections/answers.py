"""What the query API answers: shared by the server and the client, and described by its OpenAPI.

Every answer says up to where it is current: `as_of` is the first offset of each partition of the log that is not in it.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.agents import AgentRow
from autopilot.projections.approvals import PendingApproval
from autopilot.projections.budgets import BudgetRow
from autopilot.projections.incidents import IncidentRow
from autopilot.projections.remedies import RemedyRow
from autopilot.projections.scoreboard import PolicyRow
from autopilot.projections.services import ServiceRow
from autopilot.projections.timeline import Timeline


class Answer(BaseModel):
    """What every answer has."""

    model_config = ConfigDict(frozen=True)

    as_of: dict[int, int] = Field(description="first offset of each partition of the log that is not in the answer")


class Incidents(Answer):
    """Incidents, oldest first."""

    incidents: list[IncidentRow]


class Incident(Answer):
    """One incident with its course. The course may be a moment older or newer than the row."""

    incident: IncidentRow
    timeline: Timeline


class Services(Answer):
    """Services, by name."""

    services: list[ServiceRow]


class Approvals(Answer):
    """Requests that wait for people, oldest first."""

    approvals: list[PendingApproval]


class Scoreboard(Answer):
    """Versions of the policy, by name."""

    versions: list[PolicyRow]


class Budget(BaseModel):
    """A domain's budget at the time of the answer."""

    model_config = ConfigDict(frozen=True)

    budget: BudgetRow
    last_hour: int = Field(description="authorisations that count against the hour up to `now_us`")


class Budgets(Answer):
    """Budgets, by domain."""

    now_us: int = Field(description="the time that the last hour is counted back from, microseconds since the epoch")
    budgets: list[Budget]


class Agents(Answer):
    """Agents, by name and partition."""

    agents: list[AgentRow]


class Remedies(Answer):
    """Remedies in their contexts, by name."""

    remedies: list[RemedyRow]


class ProjectionState(Answer):
    """One view: which generation is served, up to where, and what it is known by."""

    projection: str
    version: int
    generation: int
    last_change: int
    digest: str = Field(description="over all rows: equal digests at equal offsets are equal views")


class Projections(BaseModel):
    """All views."""

    projections: list[ProjectionState]


class Health(BaseModel):
    """Whether the views follow the log."""

    status: str = Field(description="`ok`; `starting` while the log has not been read yet; `stopped`")
    lag: dict[int, int] = Field(description="records of each partition that are committed and not in every view yet")


class RowChange(Answer):
    """A row that changed. The id resumes a feed after it."""

    id: str
    projection: str
    key: str
    row: dict[str, Any] | None = Field(description="null when the row is gone")


class Reset(BaseModel):
    """The feed cannot go on from the id that was given: read the projection whole, then go on from this id."""

    model_config = ConfigDict(frozen=True)

    id: str
    projection: str
