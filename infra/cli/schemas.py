"""`autopilot schemas`: the contracts on disk. Files in sync with the models, releases frozen, compatibility checked.

Runs without the rest of the command line: `python -m autopilot.infra.cli.schemas check`. Exit codes: 0 all is well,
1 there are findings, 2 the command could not do what was asked.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

import autopilot.schemas
from autopilot.infra.cli.lifecycle_page import lifecycles_page
from autopilot.infra.cli.output import NO, AsJson, print_json, print_table, refuse
from autopilot.infra.cli.settings_page import settings_page
from autopilot.schemas import remedy_schema
from autopilot.schemas.avro_files import SUFFIX, as_text, current_schemas, differences, expected_files
from autopilot.schemas.catalogue import events_page
from autopilot.schemas.compatibility import Finding
from autopilot.schemas.compatibility import check as compatibility_findings
from autopilot.schemas.events import EVENT_TYPES
from autopilot.streams.trust import AUTHORITATIVE, SIGNS

app = typer.Typer(help="Contracts on disk: in sync, released, compatible.", no_args_is_help=True, add_completion=False)

CONTRACTS = Path(autopilot.schemas.__path__[0])
"""The folder of the contracts: `avro/` and `released/` stand in it."""

_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z]+(\.[0-9A-Za-z]+)*)?")
Folder = Annotated[Path, typer.Option("--folder", help="Folder that holds `avro/` and `released/`.")]


@app.command()
def check(folder: Folder = CONTRACTS, as_json: AsJson = False) -> None:
    """Are the files in sync, and is every contract FULL_TRANSITIVE-compatible with each release?

    Example: autopilot schemas check
    """
    stale, findings, releases = inspect(folder)
    if as_json:
        print_json({"out_of_sync": stale, "incompatible": findings})
    else:
        for line in stale:
            typer.echo(f"{line}; run `autopilot schemas generate`")
        for finding in findings:
            typer.echo(str(finding))
        if not stale and not findings:
            against = ", ".join(releases) or "no release yet"
            typer.echo(f"{len(EVENT_TYPES)} event types: files in sync, compatible with {against}")
    if stale or findings:
        raise typer.Exit(NO)


@app.command()
def generate(folder: Folder = CONTRACTS) -> None:
    """Write `avro/*.avsc` and the JSON Schema of remedy catalogues from the models; remove what belongs to no type.

    Example: autopilot schemas generate
    """
    target = folder / "avro"
    target.mkdir(parents=True, exist_ok=True)
    expected, found = expected_files(), avro_found(folder)
    for name in found.keys() - expected.keys():
        (target / name).unlink()
    changed = [name for name, content in expected.items() if found.get(name) != content]
    for name in changed:
        (target / name).write_text(expected[name], encoding="utf-8")
    (folder / remedy_schema.FILE_NAME).write_text(remedy_schema.schema_text(), encoding="utf-8")
    removed = len(found.keys() - expected.keys())
    typer.echo(f"{len(expected)} files in {target}: {len(changed)} written, {removed} removed")


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="Version to freeze, such as 0.1.0.")], folder: Folder = CONTRACTS
) -> None:
    """Freeze the current contracts as VERSION: from then on every change must be compatible with them.

    Example: autopilot schemas release 0.1.0
    """
    if not _VERSION.fullmatch(version):
        refuse(f"version is `{version}`, expected three numbers such as 1.2.0, or 1.2.0-rc.1 before it")
    target = folder / "released" / f"{version}.json"
    if target.exists():
        refuse(f"release `{version}` is frozen already; choose another version")
    stale, findings, _ = inspect(folder)
    if stale or findings:
        refuse("nothing frozen: `autopilot schemas check` has findings", NO)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(as_text(current_schemas()), encoding="utf-8")
    typer.echo(f"froze {len(EVENT_TYPES)} event types in {target}")


@app.command(name="list")
def list_types(folder: Folder = CONTRACTS, as_json: AsJson = False) -> None:
    """List the event types, their topic, and the first release that has each.

    Example: autopilot schemas list --json
    """
    releases = releases_found(folder)
    rows = [
        {
            "event_type": name,
            "family": model.__module__.rpartition(".")[2],
            "topic": str(model.topic),
            "broadcast": model.broadcast,
            "since": next((version for version, released in releases.items() if name in released), None),
        }
        for name, model in EVENT_TYPES.items()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("event type", "family", "topic", "since"),
        (
            (
                r["event_type"],
                r["family"],
                f"{r['topic']}{', broadcast' if r['broadcast'] else ''}",
                r["since"] or "unreleased",
            )
            for r in rows
        ),
        "",
    )


@app.command()
def docs(
    folder: Annotated[Path, typer.Option("--folder", help="Folder that the pages are written to.")] = Path("docs"),
) -> None:
    """Write the pages that are made from code: `events.md`, `lifecycles.md` and `settings.md`.

    Example: autopilot schemas docs
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in generated_pages().items():
        (folder / name).write_text(content, encoding="utf-8")
        typer.echo(f"wrote {folder / name}")


def generated_pages() -> dict[str, str]:
    """File name -> content of each page of `docs/` that is made from code."""
    said_by = {event_type: f"the {name}" for name, types in SIGNS.items() for event_type in types}
    return {
        "events.md": events_page(dict.fromkeys(AUTHORITATIVE, "a person") | said_by),
        "lifecycles.md": lifecycles_page(),
        "settings.md": settings_page(),
    }


def inspect(folder: Path) -> tuple[list[str], list[Finding], list[str]]:
    """Files out of sync, findings of compatibility, and the releases that were compared."""
    releases = releases_found(folder)
    stale = [*differences(avro_found(folder)), *_stale_catalogue_schema(folder)]
    return stale, compatibility_findings(current_schemas(), releases), list(releases)


def _stale_catalogue_schema(folder: Path) -> list[str]:
    file = folder / remedy_schema.FILE_NAME
    current = file.exists() and file.read_text(encoding="utf-8") == remedy_schema.schema_text()
    return [] if current else [f"{file.name}: not what the models say"]


def avro_found(folder: Path) -> dict[str, str]:
    """File name -> content of every schema file in `folder`."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((folder / "avro").glob(f"*{SUFFIX}"))}


def releases_found(folder: Path) -> dict[str, dict[str, Any]]:
    """Version -> event type -> schema, oldest version first."""
    paths = sorted((folder / "released").glob("*.json"), key=lambda path: _version_order(path.stem))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _version_order(version: str) -> list[tuple[int, int, str]]:
    """Numbers in order of size, and before words."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in version.split(".")]


if __name__ == "__main__":
    app()
