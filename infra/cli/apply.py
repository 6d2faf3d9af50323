"""`autopilot apply`: a folder of YAML documents becomes the configuration in force."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.activation import activation, changes, check_author, configuration_in_force
from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, print_json
from autopilot.infra.cli.saying import cluster_of
from autopilot.infra.composition import registry_of
from autopilot.infra.configuration_files import Finding, Loaded, check_together, read_folder
from autopilot.infra.governance import broadcast_in_turn, view_of
from autopilot.infra.keys import load_key
from autopilot.infra.pins import advice, not_pinned, pinned_administrators
from autopilot.infra.settings import Settings
from autopilot.infra.signers import ADMINISTRATOR, ensure_first_principals, signers_of
from autopilot.schemas.configuration import Configuration, document
from autopilot.schemas.events.people import Document
from autopilot.schemas.signing import SigningKey


def apply(
    folder: Annotated[Path, typer.Argument(help="Folder of YAML documents.", exists=True, file_okay=False)],
    author: Annotated[str, typer.Option("--as", metavar="NAME", help="Sign with this person's key.")] = ADMINISTRATOR,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, say what would change, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every document of FOLDER and put them in force, in one transaction, in every partition.

    Kinds: Fleet, ServiceLevelObjectives, RemedyCatalogue, PolicyBundle, RiskBudgets, Calendar, Signers. They replace
    all documents of the kinds that are there. Without a Signers document the first apply makes one of this home's keys.
    It is noted when the effector of this home would refuse to act under an administrator of the new signer list.
    Exit code 1 when something is wrong with the documents: nothing is written then.
    Examples: autopilot apply examples/shop --dry-run; autopilot apply config --as ada --comment "raise tier"
    """
    settings = Settings()
    ensure_first_principals(settings.keys)
    key = load_key(settings.keys, author)
    in_force = configuration_in_force(answering_kafka(settings), registry_of(settings))
    ruling = view_of(cluster_of(settings), 0).state.catalogue.active()
    documents, findings = checked(folder, in_force, settings, key, ruling)
    planned = changes(in_force, documents)
    pinned = pinned_administrators(settings)
    notes = [advice(one, pinned) for one in not_pinned(in_force.with_activated(documents), pinned)]
    event_id = ""
    if not findings and planned and not dry_run:
        event_id = _activate(settings, key, documents, comment)
    if as_json:
        print_json({"findings": findings, "changes": planned, "event_id": event_id, "notes": notes})
    else:
        _print(findings, planned, event_id)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
    if findings:
        raise typer.Exit(NO)


def checked(
    folder: Path, in_force: Configuration, settings: Settings, key: SigningKey, ruling: Sequence[Document] = ()
) -> tuple[list[Document], list[Finding]]:
    """The documents of `folder` for the log, and everything that stands in their way.

    Bundles that rule already (`ruling`) are left out; others are findings once the log has had its first ones.
    """
    loaded, findings = read_folder(folder)
    findings += check_together(loaded, in_force, settings.partitions, whole=not findings)
    documents = [item.document() for item in loaded]
    if in_force.of_kind("PolicyBundle"):
        findings += bundle_findings(loaded, ruling)
        documents = [doc for doc in documents if doc.kind != "PolicyBundle"]
    if not in_force.signers() and not any(item.kind == "Signers" for item in loaded):
        signers = signers_of(settings.keys, administrator=key.principal)
        documents.append(document(signers.model_dump(mode="json")))
    if not findings:
        findings = check_author(in_force, documents, key)
    return documents, findings


def bundle_findings(loaded: Sequence[Loaded], ruling: Sequence[Document]) -> list[Finding]:
    """The bundles of a folder that do not rule: they change through their life cycle, not by `apply`."""
    known = {(doc.name, doc.digest) for doc in ruling}
    expected = "one that rules: put it through `autopilot policy submit`, `review`, `shadow start` and `activate`"
    return [
        item.finding(["version"], f"{item.name}@{getattr(item.model, 'version', '')}", expected)
        for item in loaded
        if item.kind == "PolicyBundle" and (item.name, item.document().digest) not in known
    ]


def _activate(settings: Settings, key: SigningKey, documents: list[Document], comment: str) -> str:
    return broadcast_in_turn(cluster_of(settings), key, activation(documents, key.principal, comment))


def _print(findings: list[Finding], planned: list[str], event_id: str) -> None:
    for finding in findings:
        typer.echo(str(finding), err=True)
    if findings:
        typer.echo(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}; nothing was activated", err=True)
        return
    for line in planned:
        typer.echo(line)
    if not planned:
        typer.echo("nothing to change: all of it is in force already")
    elif event_id:
        typer.echo(f"in force: event {event_id}")
    else:
        typer.echo("nothing was activated (--dry-run)")
