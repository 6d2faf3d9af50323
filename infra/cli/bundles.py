"""`autopilot policy`: bundles through their life cycle, from a draft to the rule, and their shadows."""

from pathlib import Path
from typing import Annotated

import typer

from autopilot.agents.policy.catalogue import BundleState, Catalogue, Entry
from autopilot.agents.policy.shadow import run_of
from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, AsPerson, announce, print_json, print_table, refuse
from autopilot.infra.cli.saying import Comment, cluster_of, say
from autopilot.infra.composition import registry_of
from autopilot.infra.governance import view_of
from autopilot.infra.settings import Settings
from autopilot.policies.bundle_file import BundleError, parse_bundle
from autopilot.projections.shadow import RULINGS, compare
from autopilot.schemas.configuration import document
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.governance import (
    BundleActivated,
    BundleRetired,
    BundleReviewed,
    BundleShadowed,
    BundleSubmitted,
)
from autopilot.streams.reader import read

Title = Annotated[str, typer.Argument(help="`NAME@VERSION`.", metavar="BUNDLE")]

shadows = typer.Typer(help="Candidate bundles beside the live ones.", no_args_is_help=True)


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
    say(draft, person, f"{bundle.title} is a draft; another person than {person} reviews it")


def review(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Find that a draft may rule; must be another person than its author.

    Example: autopilot policy review shop@1.1.0 --as bea --comment "thresholds checked"
    """
    entry = _entry(title)
    said = BundleReviewed(**_named(entry), reviewer=person, comment=comment)
    say(said, person, f"{title} is reviewed")


def activate(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Put a bundle that has run as a shadow into force, in the place of the version that rules under its name.

    Example: autopilot policy activate shop@1.1.0 --as ada --comment "no flips in a week"
    """
    catalogue = _catalogue()
    entry = _entry(title, catalogue)
    replaces = catalogue.active_version(entry.bundle)
    order = BundleActivated(**_named(entry), replaces=replaces, rollback=False, ordered_by=person, comment=comment)
    say(order, person, f"{title} rules" + (f" in the place of {replaces}" if replaces else ""))


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
    say(order, person, f"{previous.title} rules again")


def retire(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Take a bundle out: a draft or shadow for good, a ruling one (by an administrator) without a successor.

    Example: autopilot policy retire shop@1.1.0 --as ada --comment "superseded"
    """
    catalogue = _catalogue()
    entry = _entry(title, catalogue)
    say(BundleRetired(**_named(entry), ordered_by=person, comment=comment), person, f"{title} is retired")
    if [one.title for one in catalogue.entries.values() if one.state is BundleState.ACTIVE] == [title]:
        back = f"`autopilot policy rollback {entry.bundle}` has it rule again"
        announce(f"no bundle rules now, so every plan is denied (`builtin:no-bundle`); {back}")


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


def _catalogue() -> Catalogue:
    return view_of(cluster_of(Settings()), 0).state.catalogue


def _entry(title: str, catalogue: Catalogue | None = None) -> Entry:
    entry = (catalogue or _catalogue()).entries.get(title)
    if entry is None:
        refuse(f"there is no bundle `{title}`; `autopilot policy list` shows what there is", NO)
    return entry


def _named(entry: Entry) -> dict[str, str]:
    return {"bundle": entry.bundle, "version": entry.version, "digest": entry.digest}


# -- shadows -----------------------------------------------------------------------------------------------------------


@shadows.command()
def start(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """Run a reviewed bundle beside the live one; `autopilot run shadow` is the process that does.

    Example: autopilot policy shadow start shop@1.1.0 --as ada
    """
    order = BundleShadowed(**_named(_entry(title)), ordered_by=person, comment=comment)
    say(order, person, f"{title} is a shadow; what it decides is recorded under the run {run_of(title)}")


@shadows.command()
def stop(title: Title, person: AsPerson, comment: Comment = "") -> None:
    """End a shadow that is not to rule: the version is retired.

    Example: autopilot policy shadow stop shop@1.1.0 --as ada --comment "denies too much"
    """
    retire(title, person, comment)


@shadows.command(name="compare")
def compare_shadow(title: Title, as_json: AsJson = False) -> None:
    """Show for which plans a shadow decided otherwise than the live policy.

    Exit code 1 when it has for any, and when there is no plan that both have decided.
    Example: autopilot policy shadow compare shop@1.1.0
    """
    settings = Settings()
    events = read(answering_kafka(settings), registry_of(settings), str(Topic.LOG), types=tuple(RULINGS))
    report = compare(events, run_of(title))
    if as_json:
        print_json(report)
    else:
        rows = (
            (line.plan_id, line.incident_id, line.service, line.live.ruling, line.shadow.ruling, line.shadow.reason)
            for line in report.lines
            if line.differs
        )
        columns = ("plan", "incident", "service", "live", "shadow", "why")
        print_table(columns, rows, "no plan is decided otherwise" if report.compared else "no plan to compare")
        typer.echo(f"{report.compared} plans compared, {report.differing} otherwise, {report.only_live} live only")
    if not report.compared:
        refuse(
            f"`{title}` has decided nothing beside the live policy: it must be a shadow (`autopilot policy shadow "
            "start`), `autopilot run shadow` must run, and plans must have come since",
            NO,
        )
    if report.differing:
        raise typer.Exit(NO)
