"""Bundles and their cases on disk, for every command about policies."""

from collections.abc import Sequence
from pathlib import Path

import typer

from autopilot.infra.cli.output import NO, refuse
from autopilot.policies.bundle import Case
from autopilot.policies.bundle_file import BundleError, BundleFile, parse_bundle
from autopilot.policies.case_file import SUFFIX, parse_cases
from autopilot.policies.engine import PolicySet


def bundle_of(path: Path) -> BundleFile:
    """The bundle in a file. Ends the command with every problem when it cannot be used."""
    try:
        return parse_bundle(_text(path), str(path))
    except BundleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NO) from None


def policies_of(paths: Sequence[Path]) -> PolicySet:
    """Those bundles, in force together. Ends the command when one cannot be used."""
    files = [bundle_of(path).compiled for path in paths]
    names = [each.bundle.name for each in files]
    if len(set(names)) < len(names):
        refuse(f"two of the bundles have one name: {', '.join(sorted(names))}")
    return PolicySet(tuple(sorted(files, key=lambda each: each.bundle.name)))


def cases_beside(path: Path, folder: Path | None, name: str) -> list[Case]:
    """The cases in `*_test.yaml` files for the bundle `name`, in `folder` or beside the bundle."""
    found: list[Case] = []
    for file in sorted((folder or path.parent).glob(f"*{SUFFIX}")):
        try:
            tests = parse_cases(_text(file), str(file))
        except BundleError as error:
            refuse(str(error), NO)
        found += tests.tests if tests.bundle == name else []
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"`{path}` cannot be read: {error}")
