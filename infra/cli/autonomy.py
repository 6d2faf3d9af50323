"""`autopilot autonomy`: how far each remedy may go on each service."""

from typing import Annotated

import typer

from autopilot.agents.policy.autonomy import key_of
from autopilot.agents.policy.standing import remedies_of
from autopilot.infra.cli.output import NO, AsJson, AsPerson, print_json, print_table, refuse
from autopilot.infra.cli.saying import Reason, cluster_of, tell
from autopilot.infra.governance import address, place_of, view_of
from autopilot.infra.keys import load_key
from autopilot.infra.settings import Settings
from autopilot.schemas.events.governance import RemedyAutonomyChanged
from autopilot.schemas.written import Autonomy

app = typer.Typer(help="How far remedies may go.", no_args_is_help=True)


@app.command(name="list")
def list_autonomy(as_json: AsJson = False) -> None:
    """List how far each remedy may go on each service, with its outcomes there.

    Example: autopilot autonomy list
    """
    rows = _autonomies()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("remedy", "service", "autonomy", "by", "verified", "rejected"),
        ((r["remedy"], r["service"], r["autonomy"], r["by"], r["verified"], r["rejected"]) for r in rows),
        "no remedy is in force",
    )


@app.command(name="set")
def set_autonomy(
    remedy: Annotated[str, typer.Argument(help="Name of the remedy.")],
    service: Annotated[str, typer.Argument(help="The service.")],
    level: Annotated[Autonomy, typer.Argument(help="How far it may go.")],
    person: AsPerson,
    reason: Reason,
) -> None:
    """Change how far a remedy may go on a service; verified outcomes there are cited as evidence.

    Example: autopilot autonomy set restart checkout act_and_tell --as ada --reason "five verified in a month"
    """
    settings = Settings()
    row = next((r for r in _autonomies() if (r["remedy"], r["service"]) == (remedy, service)), None)
    if row is None:
        refuse(f"no remedy `{remedy}` on `{service}`; `autopilot autonomy list` shows what there is", NO)
    change = RemedyAutonomyChanged(
        remedy=remedy,
        remedy_digest=str(row["digest"]),
        service=service,
        autonomy=level.value,
        evidence=[str(one) for one in row["evidence"]] if isinstance(row["evidence"], list) else [],
        changed_by=person,
        reason=reason,
    )
    said = address(cluster_of(settings), load_key(settings.keys, person), change, str(row["domain"]), service)
    tell(said, f"{remedy} on {service} is now {level.value}")


def _autonomies() -> list[dict[str, object]]:
    settings = Settings()
    cluster, rows = cluster_of(settings), []
    for partition in range(settings.partitions):
        state = view_of(cluster, partition).state
        remedies = remedies_of(state.configuration.remedies())
        for service in [s for fleet in state.configuration.fleets() for s in fleet.services]:
            if place_of(state.configuration, service.domain, cluster.partitions) != partition:
                continue
            for name, (remedy, digest) in sorted(remedies.items()):
                grant = state.autonomies.grants.get(key_of(name, service.name))
                holds = grant is not None and grant.remedy_digest == digest
                seen = state.autonomies.outcomes.get(key_of(name, service.name), [])
                mine = [one for one in seen if one.remedy_digest == digest]
                rows.append(
                    {
                        "remedy": name,
                        "service": service.name,
                        "domain": service.domain,
                        "autonomy": grant.autonomy if grant and holds else remedy.autonomy.value,
                        "by": grant.changed_by if grant and holds else "catalogue",
                        "verified": sum(one.verified for one in mine),
                        "rejected": sum(not one.verified for one in mine),
                        "digest": digest,
                        "evidence": [one.outcome_id for one in mine if one.verified],
                    }
                )
    return rows
