"""`autopilot remedies check`: is a remedy catalogue sound, before anyone puts it in force."""

from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, print_json
from autopilot.infra.configuration_files import Finding, Loaded, check_together, read_file, read_folder
from autopilot.schemas.configuration import Configuration, RemedyCatalogue

_PARTITIONS = 1


def check(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A YAML file, or a folder of them.", exists=True)],
    as_json: AsJson = False,
) -> None:
    """Check every remedy catalogue: expressions, variables, effects, goals, gates, verbs, and what has no use.

    Roles of targets and windows of guards are checked against the fleet where one is there too. Nothing is contacted
    and nothing written.
    Exit code 1 when there are findings. Example: autopilot remedies check examples/shop/remedies.yaml
    """
    loaded, findings = read_folder(path) if path.is_dir() else read_file(path, str(path))
    catalogues = [item for item in loaded if isinstance(item.model, RemedyCatalogue)]
    findings += _of_catalogues(loaded, catalogues)
    if not catalogues and not findings:
        findings = [Finding(str(path), 0, "", "", "no document of kind RemedyCatalogue is here")]
    if as_json:
        print_json({"catalogues": [item.name for item in catalogues], "findings": findings})
    else:
        _print(catalogues, findings)
    if findings:
        raise typer.Exit(NO)


def _of_catalogues(loaded: list[Loaded], catalogues: list[Loaded]) -> list[Finding]:
    """What is wrong with the catalogues, given all that stands beside them."""
    others = [item for item in loaded if item.kind == "Fleet"]
    in_force = Configuration().with_activated(item.document() for item in others)
    return check_together(catalogues, in_force, _PARTITIONS)


def _print(catalogues: list[Loaded], findings: list[Finding]) -> None:
    for finding in findings:
        typer.echo(str(finding), err=True)
    if findings:
        typer.echo(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}", err=True)
        return
    for item in catalogues:
        assert isinstance(item.model, RemedyCatalogue)
        goals = sum(bool(remedy.goal) for remedy in item.model.remedies)
        typer.echo(f"{item.file}: {len(item.model.remedies)} remedies of `{item.name}`, {goals} with a goal: all sound")
