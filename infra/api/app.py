"""The query API: every view over HTTP, read-only. `/openapi.json` describes it, `/` shows it to people.

It answers what the views hold and nothing else: it has no way to the log, and cannot write anything.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from autopilot.infra.api.changes import Feed, MalformedIdError, marks_of
from autopilot.projections import answers
from autopilot.projections.agents import AgentRow
from autopilot.projections.approvals import PendingApproval
from autopilot.projections.approvals import oldest_first as requests_oldest_first
from autopilot.projections.budgets import BudgetRow
from autopilot.projections.incidents import IncidentRow, oldest_first
from autopilot.projections.projection import Projection
from autopilot.projections.projector import View
from autopilot.projections.remedies import RemedyRow, by_remedy
from autopilot.projections.scoreboard import PolicyRow
from autopilot.projections.services import ServiceRow
from autopilot.projections.timeline import lines_prefix, timeline_of

PAGE: Final = Path(__file__).with_name("page")
ASSETS: Final = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "render.js": "text/javascript",
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Source:
    """What the app reads: the views, and how far the log goes. `closing` ends the feeds of changes."""

    def __init__(
        self,
        projections: Mapping[str, Projection],
        views: Mapping[str, View],
        ends: Mapping[int, int],
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        self.projections = projections
        self.views = views
        self.ends = ends
        self.now_us = now_us
        self.closing = closing


def create_app(source: Source) -> FastAPI:
    """The application over a source. It may be served by any ASGI server."""
    app = FastAPI(
        title="Autopilot",
        version="1",
        description="What the log says, as views. Every answer says up to which offsets it is current.",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_incidents(source))
    app.include_router(_governance(source))
    app.include_router(_feeds(source))
    app.include_router(_page())
    return app


def _incidents(source: Source) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["incidents"])
    views = source.views

    @router.get("/incidents")
    def incidents(
        only_open: Annotated[bool, Query(alias="open", description="only those not closed")] = False,
        domain: Annotated[str, Query(description="only this domain's")] = "",
        service: Annotated[str, Query(description="only this service's")] = "",
    ) -> answers.Incidents:
        """Incidents, oldest first, with the stage that each has reached."""
        content = views["incidents"].content()
        rows = (IncidentRow.model_validate(row) for row in content.rows)
        chosen = [
            row
            for row in rows
            if not (only_open and row.closed) and domain in ("", row.domain) and service in ("", row.service)
        ]
        return answers.Incidents(as_of=content.as_of, incidents=oldest_first(chosen))

    @router.get("/incidents/{incident_id}", responses={404: {"description": "There is no such incident."}})
    def incident(incident_id: str) -> answers.Incident:
        """One incident from its first signal to its end: time, who, what, why, ids, and latencies between stages."""
        row, as_of = views["incidents"].row(incident_id)
        header, _ = views["timelines"].row(incident_id)
        if row is None or header is None:
            raise HTTPException(404, f"no incident `{incident_id}`")
        lines = views["timelines"].content(lines_prefix(incident_id))
        least = {p: min(n, lines.as_of.get(p, 0)) for p, n in as_of.items()}
        course = timeline_of(header, lines.rows)
        return answers.Incident(as_of=least, incident=IncidentRow.model_validate(row), timeline=course)

    @router.get("/services")
    def services() -> answers.Services:
        """Services with telemetry quality, open signals and incidents, and targets as last observed."""
        content = views["services"].content()
        return answers.Services(as_of=content.as_of, services=[ServiceRow.model_validate(row) for row in content.rows])

    return router


def _governance(source: Source) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["governance"])
    views = source.views

    @router.get("/approvals")
    def approvals() -> answers.Approvals:
        """Plans that wait for people, oldest first, each with the hash and the facts that an approval is bound to."""
        content = views["awaiting_approval"].content()
        waiting = requests_oldest_first(PendingApproval.model_validate(row) for row in content.rows)
        return answers.Approvals(as_of=content.as_of, approvals=waiting)

    @router.get("/policies/scoreboard")
    def scoreboard() -> answers.Scoreboard:
        """For each version of the policy: what it decided, how fast, and what came of what it allowed."""
        content = views["policy_scoreboard"].content()
        versions = sorted((PolicyRow.model_validate(row) for row in content.rows), key=lambda row: row.bundle)
        return answers.Scoreboard(as_of=content.as_of, versions=versions)

    @router.get("/budgets")
    def budgets() -> answers.Budgets:
        """What was authorised in each domain in the last hour, as the policy counts it."""
        content, now_us = views["risk_budgets"].content(), source.now_us()
        rows = [BudgetRow.model_validate(row) for row in content.rows]
        counted = [answers.Budget(budget=row, last_hour=len(row.last_hour(now_us))) for row in rows]
        return answers.Budgets(as_of=content.as_of, now_us=now_us, budgets=counted)

    @router.get("/remedies")
    def remedies() -> answers.Remedies:
        """For each remedy and context: what came of it, the posterior, calibration, and the autonomy in force."""
        content = views["remedies"].content()
        rows = by_remedy(RemedyRow.model_validate(row) for row in content.rows)
        return answers.Remedies(as_of=content.as_of, remedies=rows)

    @router.get("/agents")
    def agents() -> answers.Agents:
        """For each agent and partition: code at work, last event said, faults and parked domains."""
        content = views["agents"].content()
        return answers.Agents(as_of=content.as_of, agents=[AgentRow.model_validate(row) for row in content.rows])

    return router


def _feeds(source: Source) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get(
        "/v1/changes",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Events `change` and `reset`."},
            400: {"description": "The id is malformed."},
        },
    )
    async def changes(
        last_event_id: Annotated[str, Header(description="resume after this event")] = "",
        since: Annotated[str, Query(description="as `Last-Event-ID`, where a header cannot be set")] = "",
        projection: Annotated[str, Query(description="only these views, by name, separated by commas")] = "",
    ) -> StreamingResponse:
        """Server-sent events: each row that changes, in any view; resumable by `Last-Event-ID`."""
        names = projection.split(",") if projection else list(source.views)
        unknown = [name for name in names if name not in source.views]
        if unknown:
            raise HTTPException(404, f"no view `{unknown[0]}`")
        try:
            marks = marks_of(last_event_id or since)
        except MalformedIdError as error:
            raise HTTPException(400, str(error)) from None
        feed = Feed({name: source.views[name] for name in names}, marks, source.closing)
        return StreamingResponse(feed.events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @router.get("/v1/projections")
    def projections() -> answers.Projections:
        """Each view with its version, generation, offsets and digest."""
        return answers.Projections(projections=[_state(source, name) for name in source.views])

    @router.get("/healthz", responses={503: {"model": answers.Health}})
    def healthz(response: Response) -> answers.Health:
        """Whether the views follow the log, and how far behind they are."""
        lag = {
            partition: max(end - min(view.store.offsets.get(partition, 0) for view in source.views.values()), 0)
            for partition, end in sorted(source.ends.items())
        }
        status = "stopped" if source.closing() else "ok" if lag else "starting"
        response.status_code = 200 if status == "ok" else 503
        return answers.Health(status=status, lag=lag)

    return router


def _state(source: Source, name: str) -> answers.ProjectionState:
    view = source.views[name]
    generation, last_change = view.mark
    digest, as_of = view.digest()
    return answers.ProjectionState(
        projection=name,
        version=source.projections[name].version,
        generation=generation,
        last_change=last_change,
        digest=digest,
        as_of=as_of,
    )


def _page() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def index() -> FileResponse:
        return _asset("index.html")

    @router.get("/page/{name}")
    def asset(name: str) -> FileResponse:
        if name not in ASSETS:
            raise HTTPException(404, f"no file `{name}`")
        return _asset(name)

    return router


def _asset(name: str) -> FileResponse:
    return FileResponse(PAGE / name, media_type=ASSETS[name], headers=_HEADERS)
