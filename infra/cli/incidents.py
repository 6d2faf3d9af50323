"""`autopilot incidents` and `autopilot timeline`: what is going on, and how it came to pass."""

from collections.abc import Iterable
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, clock_time, date_time, duration, print_json, print_table, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.settings import Settings, kafka_config
from autopilot.projections.incidents import incidents as incident_rows
from autopilot.projections.timeline import Timeline
from autopilot.projections.timeline import timeline as timeline_of
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.streams.reader import read


def log_of(settings: Settings) -> Iterable[Recorded[Payload]]:
    """Every event of this run on the log, each partition in order: what shadows would have said is left out."""
    events = read(kafka_config(settings), registry_of(settings), str(Topic.LOG))
    return (recorded for recorded in events if recorded.envelope.run == settings.run)


def incidents(
    as_json: AsJson = False, only_open: Annotated[bool, typer.Option("--open", help="Only those not closed.")] = False
) -> None:
    """List the incidents, oldest first, with the stage that each has reached.

    Examples: autopilot incidents --open; autopilot incidents --json
    """
    rows = [row for row in incident_rows(log_of(Settings())) if not (only_open and row.closed)]
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
    events = list(log_of(Settings()))
    known = [row.incident_id for row in incident_rows(events)]
    matching = [name for name in known if name.startswith(incident)]
    if len(matching) > 1 and incident not in matching:
        refuse(f"`{incident}` is the beginning of {', '.join(matching)}: say more of it")
    found = timeline_of(events, incident if incident in matching else matching[0]) if matching else None
    if found is None:
        refuse(f"no incident `{incident}` is in the log; `autopilot incidents` lists them", NO)
    if as_json:
        print_json(found)
    else:
        print_timeline(found)


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
