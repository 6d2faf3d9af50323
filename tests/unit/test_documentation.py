"""The documentation and the command line agree: what is written exists, and what exists is written about."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from autopilot.infra.cli.main import application
from autopilot.infra.settings import PREFIX, Settings

APP = application()
ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
GUIDE = ROOT / "docs" / "operations.md"
COMMAND_LINE = typer.main.get_command(APP)


def subcommands(command: Any) -> dict[str, Any]:
    """The commands of a group by name; empty for a command that is none."""
    return dict(getattr(command, "commands", {}))


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that can be typed, as words after `autopilot`."""
    if not subcommands(group):
        yield path
    for name, command in subcommands(group).items():
        yield from commands(command, (*path, name))


def typed(page: Path) -> Iterator[list[str]]:
    """Every `autopilot ...` in the page's code, as words after `autopilot`."""
    for line in re.findall(r"(?:`|\$ |bin/)autopilot( [^`\n]+)", page.read_text()):
        yield shlex.split(line, comments=True)


def command_of(words: list[str]) -> Any:
    """The command that the words begin with; None when there is none."""
    command = COMMAND_LINE
    for word in words:
        known = subcommands(command)
        if not known or word.startswith("-") or word.isupper():  # `autopilot --help`, `autopilot COMMAND`
            break
        if word not in known:
            return None
        command = known[word]
    return command


def test_every_command_that_a_page_shows_exists_and_knows_its_options() -> None:
    wrong = []
    for page in PAGES:
        for words in typed(page):
            command = command_of(words)
            known = {"--help"} | {name for p in command.params for name in p.opts} if command else set()
            wrong += [
                f"{page.name}: autopilot {' '.join(words)}" for w in words if w.startswith("-") and w not in known
            ]
            if command is None:
                wrong.append(f"{page.name}: autopilot {' '.join(words)}")
    assert wrong == []


def test_the_operators_guide_tells_of_every_command() -> None:
    text = GUIDE.read_text()
    untold = [" ".join(path) for path in commands(COMMAND_LINE) if f"autopilot {' '.join(path)}" not in text]
    assert untold == []


def test_every_command_has_a_help_with_an_example() -> None:
    for path in commands(COMMAND_LINE):
        command = command_of(list(path))
        assert command is not None
        assert re.search(rf"Examples?: .*autopilot {' '.join(path)}", command.help or "", re.DOTALL), path


CACHE_OF_TARGETS = f"{PREFIX}CACHE"
"""Read by the scripts under `infra/targets` alone: where they keep what they build."""


def test_every_setting_that_a_page_names_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CACHE_OF_TARGETS}
    named = {name for page in PAGES for name in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", page.read_text())}
    assert named <= known


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z0-9-]+)", page.read_text())}
    assert named
    assert named <= targets


def test_every_path_that_a_page_names_exists() -> None:
    rooms = "agents|bench|docs|examples|infra|policies|projections|schemas|streams|tests"
    named = {(page.name, path) for page in PAGES for path in re.findall(rf"`((?:{rooms})/[\w./-]*)`", page.read_text())}
    assert [(page, path) for page, path in sorted(named) if not is_there(path)] == []


def is_there(path: str) -> bool:
    """Whether a path exists; words in capitals, as in `agents/NAME/`, stand for any name."""
    return any(ROOT.glob(re.sub(r"\b[A-Z]+\b", "*", path.rstrip("/"))))
