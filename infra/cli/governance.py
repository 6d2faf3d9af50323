"""What people decide about what rules: bundles through their life cycle, shadows, autonomy, budgets, break-glass."""

import time
from pathlib import Path
from typing import Annotated

import typer

from autopilot.agents.policy.autonomy import key_of
from autopilot.agents.policy.budgets import Balance, balance
from autopilot.agents.policy.catalogue import Catalogue, Entry
from autopilot.agents.policy.shadow import run_of
from autopilot.agents.policy.standing import remedies_of
from autopilot.infra.cli.output import NO, AsJson, AsPerson, announce_once, date_time, print_json, print_table, refuse
from autopilot.infra.cli.views import waiting
from autopilot.infra.composition import registry_of
from autopilot.infra.governance import Cluster, Said, address, broadcast, place_of, view_of
from autopilot.infra.keys import load_key
from autopilot.infra.settings import Settings, kafka_config
from autopilot.policies.bundle_file import BundleError, parse_bundle
from autopilot.projections.shadow import RULINGS, compare
from autopilot.schemas.configuration import document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.events.governance import (
    BreakGlass,
    BundleActivated,
    BundleRetired,
    BundleReviewed,
    BundleShadowed,
    BundleSubmitted,
    RemedyAutonomyChanged,
)
from autopilot.streams.reader import read

Title = Annotated[str, typer.Argument(help="`NAME@VERSION`.", metavar="BUNDLE")]
Comment = Annotated[str, typer.Option(help="Why.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]

shadows = typer.Typer(help="Candidate bundles beside the live ones.", no_args_is_help=True)
autonomies = typer.Typer(help="How far remedies may go.", no_args_is_help=True)


def cluster_of(settings: Settings) -> Cluster:
    """Where the settings' log is."""
    return Cluster(kafka_config(settings), registry_of(settings), settings.partitions, announce_once)


# -- bundles -----------------------------------------------------------------------------------------------------------


def submit(
    file: Annotated[Path, typer.Argument(help="A PolicyBundle in YAML.", exists=True, dir_okay=False)],
    person: AsPerson,
    comment: Comment = "",
) -> None:
    """Put a new version of a bundle up for review: a draft.

    Example: autopilot policy submit my-fleet/policy.yaml --as ada --comment "restarts at night as well"
    """
    try:
        bundle = parse_bundle(file.read_text(encoding="utf-8"), str(file)).compiled.bundle
    except BundleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NO) from None
    doc = document(bundle.model_dump(mode="json"))
    draft = BundleSubmitted(bundle=bundle.name, version=bundle.version, document=doc, author=person, comment=comment)
    _say(draft, person, f"{bundle.title} is a draft; another person than {person} reviews it")


def review(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Find that a draft may rule; must be another person than its author.

    Example: autopilot policy review shop@1.1.0 --as bea --comment "thresholds checked"
    """
    entry = _entry(title)
    said = BundleReviewed(**_named(entry), reviewer=person, comment=comment)
    _say(said, person, f"{title} is reviewed")


def activate(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Put a bundle that has run as a shadow into force, in the place of the version that rules under its name.

    Example: autopilot policy activate shop@1.1.0 --as ada --comment "no flips in a week"
    """
    catalogue = _catalogue()
    entry = _entry(title, catalogue)
    replaces = catalogue.active_version(entry.bundle)
    order = BundleActivated(**_named(entry), replaces=replaces, rollback=False, ordered_by=person, comment=comment)
    _say(order, person, f"{title} rules" + (f" in the place of {replaces}" if replaces else ""))


def rollback(
    bundle: Annotated[str, typer.Argument(help="Name of the bundle.")], person: AsPerson, comment: Comment = ""
) -> None:
    """Put the version that ruled before back into force, at once.

    Example: autopilot policy rollback shop --as carl --comment "denies everything"
    """
    catalogue = _catalogue()
    previous = catalogue.previous(bundle)
    if previous is None:
        refuse(f"no version of `{bundle}` ruled before; `autopilot policy list` shows what there is", NO)
    replaces = catalogue.active_version(bundle)
    order = BundleActivated(**_named(previous), replaces=replaces, rollback=True, ordered_by=person, comment=comment)
    _say(order, person, f"{previous.title} rules again")


def retire(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Take a bundle out: a draft or shadow for good, a ruling one (by an administrator) without a successor.

    Example: autopilot policy retire shop@1.1.0 --as ada --comment "superseded"
    """
    _say(BundleRetired(**_named(_entry(title)), ordered_by=person, comment=comment), person, f"{title} is retired")


def list_bundles(as_json: AsJson = False) -> None:
    """List every version of every bundle with how far it has come.

    Example: autopilot policy list
    """
    entries = sorted(_catalogue().entries.values(), key=lambda entry: (entry.bundle, entry.version))
    if as_json:
        print_json([{k: v for k, v in vars(entry).items() if k != "content"} for entry in entries])
        return
    print_table(
        ("bundle", "state", "author", "reviewer", "digest"),
        ((e.title, e.state, e.author, e.reviewer, e.digest[:19]) for e in entries),
        "no bundle; `autopilot apply` brings the first ones, `autopilot policy submit` every further one",
    )


# -- shadows -----------------------------------------------------------------------------------------------------------


@shadows.command()
def start(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Run a reviewed bundle beside the live one; `autopilot run shadow` is the process that does.

    Example: autopilot policy shadow start shop@1.1.0 --as ada
    """
    order = BundleShadowed(**_named(_entry(title)), ordered_by=person, comment=comment)
    _say(order, person, f"{title} is a shadow; what it decides is recorded under the run {run_of(title)}")


@shadows.command()
def stop(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """End a shadow that is not to rule: the version is retired.

    Example: autopilot policy shadow stop shop@1.1.0 --as ada --comment "denies too much"
    """
    retire(title, person, comment)


@shadows.command(name="compare")
def compare_shadow(title: Title, as_json: AsJson = False) -> None:
    """Show for which plans a shadow decided otherwise than the live policy. Exit code 1 when it has for any.

    Example: autopilot policy shadow compare shop@1.1.0
    """
    settings = Settings()
    events = read(kafka_config(settings), registry_of(settings), str(Topic.LOG), types=tuple(RULINGS))
    report = compare(events, run_of(title))
    if as_json:
        print_json(report)
    else:
        rows = (
            (line.plan_id, line.incident_id, line.service, line.live.ruling, line.shadow.ruling, line.shadow.reason)
            for line in report.lines
            if line.differs
        )
        print_table(("plan", "incident", "service", "live", "shadow", "why"), rows, "no plan is decided otherwise")
        typer.echo(f"{report.compared} plans compared, {report.differing} otherwise, {report.only_live} live only")
    if report.differing:
        raise typer.Exit(NO)


# -- autonomy ----------------------------------------------------------------------------------------------------------


@autonomies.command(name="list")
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


@autonomies.command(name="set")
def set_autonomy(
    remedy: Annotated[str, typer.Argument(help="Name of the remedy.")],
    service: Annotated[str, typer.Argument(help="The service.")],
    level: Annotated[str, typer.Argument(help="observe, recommend, approve, act_and_tell or act.")],
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
        autonomy=level,
        evidence=[str(one) for one in row["evidence"]] if isinstance(row["evidence"], list) else [],
        changed_by=person,
        reason=reason,
    )
    said = address(cluster_of(settings), load_key(settings.keys, person), change, str(row["domain"]), service)
    _tell(said, f"{remedy} on {service} is now {level}")


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


# -- budgets -----------------------------------------------------------------------------------------------------------


def budgets(as_json: AsJson = False) -> None:
    """Show what is left of each risk and failure budget, who spent it, and when it comes back.

    Example: autopilot budgets --json
    """
    rows = balances(cluster_of(Settings()))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("budget", "domain", "unit", "limit", "spent", "left", "refills (UTC)", "spent by"),
        (
            (
                row.budget,
                row.domain,
                row.unit,
                row.limit,
                row.spent,
                row.remaining,
                date_time(row.refills_at_us // 1_000) if row.refills_at_us else "",
                ", ".join(f"{each.service} {each.amount} ({each.cause})" for each in row.spenders),
            )
            for row in rows
        ),
        "no budget is in force; a document of kind RiskBudgets brings some",
    )


def balances(cluster: Cluster) -> list[Balance]:
    """Every budget in every domain that it covers, at the last second that the log has."""
    rows = []
    for partition in range(cluster.partitions):
        state = view_of(cluster, partition).state
        domains = {domain.name for fleet in state.configuration.fleets() for domain in fleet.domains}
        here = [name for name in domains if place_of(state.configuration, name, cluster.partitions) == partition]
        for domain in sorted(here):
            rows += [
                balance(budget, state.ledger, domain, state.now_us)
                for budget in state.configuration.budgets()
                if not budget.domains or domain in budget.domains
            ]
    return rows


# -- break-glass -------------------------------------------------------------------------------------------------------


def break_glass(
    person: AsPerson,
    reason: Reason,
    plan: Annotated[str, typer.Option(help="A plan that waits for approval.")] = "",
    service: Annotated[str, typer.Option(help="Every plan of this service, for a while.")] = "",
    minutes: Annotated[int, typer.Option(help="How long, with --service.", min=1, max=60)] = 15,
) -> None:
    """Overrule the policy bundles in an emergency: loud, recorded, and only with the role `break_glass`.

    Neither a halt nor an unknown service is overruled.
    Examples: autopilot break-glass --plan plan-3f0a --as gil --reason "shop is down, approver unreachable";
    autopilot break-glass --service checkout --minutes 10 --as gil --reason "freeze must wait"
    """
    settings = Settings()
    cluster = cluster_of(settings)
    if bool(plan) == bool(service):
        refuse("name either a plan that waits (--plan) or a service (--service)")
    if plan:
        found = [one for one in waiting(settings) if one.request.decision.plan_id.startswith(plan)]
        if not found:
            refuse(f"no plan `{plan}` waits for approval; `autopilot approvals` lists them", NO)
        decision = found[0].request.decision
        domain, service, named = found[0].domain, found[0].service, (decision.plan_id, decision.plan_hash, 0)
    else:
        domain, named = _domain_of(cluster, service), ("", "", time.time_ns() // 1_000 + minutes * 60_000_000)
    glass = BreakGlass(
        plan_id=named[0], plan_hash=named[1], service=service, until_us=named[2], invoked_by=person, reason=reason
    )
    said = address(cluster, load_key(settings.keys, person), glass, domain, service)
    _tell(said, f"the glass is broken for {named[0] or service}")


# -- inside ------------------------------------------------------------------------------------------------------------


def _catalogue() -> Catalogue:
    return view_of(cluster_of(Settings()), 0).state.catalogue


def _entry(title: str, catalogue: Catalogue | None = None) -> Entry:
    entry = (catalogue or _catalogue()).entries.get(title)
    if entry is None:
        refuse(f"there is no bundle `{title}`; `autopilot policy list` shows what there is", NO)
    return entry


def _named(entry: Entry) -> dict[str, str]:
    return {"bundle": entry.bundle, "version": entry.version, "digest": entry.digest}


def _domain_of(cluster: Cluster, service: str) -> str:
    configuration = view_of(cluster, 0).state.configuration
    known = {s.name: s.domain for fleet in configuration.fleets() for s in fleet.services}
    if service not in known:
        refuse(f"the fleet has no service `{service}`", NO)
    return known[service]


def _say(payload: Payload, person: str, done: str) -> None:
    settings = Settings()
    _tell(broadcast(cluster_of(settings), load_key(settings.keys, person), payload), done)


def _tell(said: Said, done: str) -> None:
    if said.refused:
        refuse(f"refused: {said.refused} (event {said.event_id})", NO)
    places = ", ".join(f"{partition}@{offset}" for partition, offset in sorted(said.offsets.items()))
    typer.echo(f"{done}; event {said.event_id}, in force from {places} on")
