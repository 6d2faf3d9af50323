"""`autopilot incidents` and `autopilot timeline`: what is going on, and how it came to pass."""

from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, clock_time, date_time, duration, print_json, print_table, refuse
from autopilot.infra.cli.views import from_views, log_of
from autopilot.infra.settings import Settings
from autopilot.projections.client import Client
from autopilot.projections.incidents import incidents as incident_rows
from autopilot.projections.timeline import Timeline
from autopilot.projections.timeline import timeline as timeline_of


def incidents(
    as_json: AsJson = False, only_open: Annotated[bool, typer.Option("--open", help="Only those not closed.")] = False
) -> None:
    """List the incidents, oldest first, with the stage that each has reached.

    Examples: autopilot incidents --open; autopilot incidents --json
    """
    settings = Settings()
    known = from_views(settings, lambda client: client.incidents().incidents, lambda: incident_rows(log_of(settings)))
    rows = [row for row in known if not (only_open and row.closed)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("incident", "opened (UTC)", "domain", "service", "severity", "stage", "title"),
        ((r.incident_id, date_time(r.opened_at_ms), r.domain, r.service, r.severity, r.stage, r.title) for r in rows),
        "no incident",
    )


def timeline(
    incident: Annotated[str, typer.Argument(help="Incident id, or the beginning of one.")], as_json: AsJson = False
) -> None:
    """Print an incident from its first signal to its end: time, who, what, why, ids, and latencies between stages.

    Times are Kafka's record times in UTC. Exit code 1 when there is no such incident.
    Examples: autopilot timeline inc-3f0a9c2b71d4e6a8; autopilot timeline inc-3f --json
    """
    settings = Settings()
    found = from_views(settings, lambda client: _served(client, incident), lambda: _folded(settings, incident))
    if found is None:
        refuse(f"no incident `{incident}` is in the log; `autopilot incidents` lists them", NO)
    if as_json:
        print_json(found)
    else:
        print_timeline(found)


def _served(client: Client, beginning: str) -> Timeline | None:
    name = _matching([row.incident_id for row in client.incidents().incidents], beginning)
    return client.incident(name).timeline if name else None


def _folded(settings: Settings, beginning: str) -> Timeline | None:
    events = list(log_of(settings))
    name = _matching([row.incident_id for row in incident_rows(events)], beginning)
    return timeline_of(events, name) if name else None


def _matching(known: list[str], beginning: str) -> str:
    """The one id that begins so, or empty for none. Ends the command when there are several."""
    matching = [name for name in known if name.startswith(beginning)]
    if len(matching) > 1 and beginning not in matching:
        refuse(f"`{beginning}` is the beginning of {', '.join(matching)}: say more of it")
    return beginning if beginning in matching else next(iter(matching), "")


def print_timeline(course: Timeline) -> None:
    """Prints a timeline for people."""
    typer.secho(f"{course.incident_id}  {course.title}", bold=True)
    typer.echo(f"domain {course.domain}, service {course.service}: {course.resolution or 'open'}\n")
    print_table(
        ("time (UTC)", "after", "who", "event", "why", "event id", "ids"),
        (
            (
                clock_time(line.at_ms),
                f"+{duration(line.after_ms)}",
                line.producer,
                line.event,
                line.why,
                line.event_id[:8],
                _ids(line.ids),
            )
            for line in course.lines
        ),
        "",
    )
    typer.echo("")
    print_table(("stage", "took"), ((stage.name, duration(stage.took_ms)) for stage in course.stages), "")


def _ids(ids: dict[str, str]) -> str:
    return " ".join(ids.values())
