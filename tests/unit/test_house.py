"""The house rules that no linter knows: packages, locks, sizes, docstrings, links, and nothing of one machine.

Sources are taken from git, so that what is ignored is not judged.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from packaging.requirements import Requirement

from autopilot.infra.cli.schemas import generated_pages

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agents", "infra", "policies", "projections", "schemas", "streams")
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
TYPICAL_FUNCTION_LINES = 15
MIN_LICENCE_BYTES = 10_000


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository that git knows and that is there, links left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / line for line in listed.stdout.splitlines())
    return tuple(sorted(path for path in paths if path.is_file() and not path.is_symlink()))


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_files(*folders: str) -> list[Path]:
    wanted = folders or (*ROOMS, "bench", "examples", "tests")
    return [p for p in tracked() if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in wanted]


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function, its docstring left out."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node) is not None
            docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
            yield f"{shown(path)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


# -- packages --------------------------------------------------------------------------------------------------------


def test_the_packages_to_install_are_the_package_folders_on_disk() -> None:
    folders = {p.parent.relative_to(ROOT) for p in python_files(*ROOMS) if p.name == "__init__.py"}
    assert sorted(project()["tool"]["setuptools"]["packages"]) == sorted(
        "autopilot." + str(f).replace("/", ".") for f in folders
    )


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {p.parent for p in python_files(*ROOMS)}
    assert [shown(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_type_checkers_find_each_room_by_its_link_and_it_is_typed(room: str) -> None:
    link = ROOT / "infra" / "pythonpath" / "autopilot" / room
    assert link.is_symlink()
    assert link.resolve() == ROOT / room
    assert (ROOT / room / "py.typed").exists()
    assert project()["tool"]["setuptools"]["package-dir"][f"autopilot.{room}"] == room


def test_the_namespace_itself_is_no_package() -> None:
    assert not (ROOT / "infra" / "pythonpath" / "autopilot" / "__init__.py").exists()


# -- locks -----------------------------------------------------------------------------------------------------------


def locked(name: str) -> dict[str, str]:
    pins = re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / name).read_text(), flags=re.MULTILINE)
    return dict(pins)


@pytest.mark.parametrize(
    ("lock", "groups"), [("requirements.lock", []), ("requirements-dev.lock", ["dev"])], ids=["runtime", "development"]
)
def test_a_lock_pins_what_the_project_asks_for(lock: str, groups: list[str]) -> None:
    pins = locked(lock)
    asked = [*project()["project"]["dependencies"], *(r for g in groups for r in project()["dependency-groups"][g])]
    for requirement in map(Requirement, asked):
        pinned = pins.get(requirement.name)
        assert pinned is not None, f"{requirement.name} is not in {lock}: make lock"
        assert requirement.specifier.contains(pinned, prereleases=True), (
            f"{requirement} but {pinned} in {lock}: make lock"
        )


def test_the_development_lock_has_the_runtime_versions() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-uv.lock"])
def test_every_pin_has_hashes_and_no_lock_says_where_from(lock: str) -> None:
    text = (ROOT / lock).read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert not re.search(r"://|--find-links|--index-url|--extra-index-url|--trusted-host|file:", text)


# -- texts -----------------------------------------------------------------------------------------------------------

REGISTRY_HOSTS = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"), ("pythonhosted", "org"), ("repo1", "maven", "org"), ("repo", "maven", "apache", "org"),
            ("npmjs", "org"), ("npmjs", "com"), ("proxy", "golang", "org"), ("crates", "io"), ("rubygems", "org"),
        )
    )
)  # fmt: skip
MACHINE_PATHS = re.compile("|".join(("/" + "work/", "/" + "root/", "/" + "opt/wheels", re.escape(f"{ROOT}/"))))


def test_nothing_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for pattern in (REGISTRY_HOSTS, MACHINE_PATHS):
            found += [f"{shown(path)}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


def test_every_relative_link_of_the_documentation_leads_somewhere() -> None:
    broken = []
    for page in (p for p in tracked() if p.suffix == ".md"):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (page.parent / file).resolve() if file else page
            if not there.exists():
                broken.append(f"{shown(page)} -> {target}")
            elif anchor and there.suffix == ".md" and anchor not in anchors(there):
                broken.append(f"{shown(page)} -> {target} (no such heading)")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_pages_that_are_made_from_code_are_in_sync() -> None:
    for name, content in generated_pages().items():
        assert (ROOT / "docs" / name).read_text() == content, f"docs/{name} differs from the code: make generate"


def test_decisions_are_numbered_without_gaps_and_have_the_same_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        headings = re.findall(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
        assert headings == ["Context", "Choice", "Evidence", "What would change our mind"], page.name


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## \[Unreleased\]$", text, flags=re.MULTILINE)


def test_the_licence_is_whole_and_names_nobody_else() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert len(text) > MIN_LICENCE_BYTES
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert "Copyright [yyyy] [name of copyright owner]" in text


# -- sources ---------------------------------------------------------------------------------------------------------


def test_no_module_is_too_long() -> None:
    long = {shown(p): n for p in python_files() if (n := len(p.read_text().splitlines())) > MAX_MODULE_LINES}
    assert long == {}


def test_no_function_is_too_long_and_most_are_short() -> None:
    lengths = dict(found for path in python_files(*ROOMS, "bench", "examples") for found in functions(path))
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}
    assert median(lengths.values()) <= TYPICAL_FUNCTION_LINES


def test_every_module_says_what_it_is() -> None:
    silent = [shown(p) for p in python_files() if not ast.get_docstring(syntax(p))]
    assert [name for name in silent if not name.endswith("__init__.py")] == []


def test_every_public_thing_of_the_rooms_says_what_it_promises() -> None:
    silent = []
    for path in python_files(*ROOMS):
        for node in syntax(path).body:
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if named and not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{shown(path)}:{node.name}")
    assert silent == []


def test_no_import_is_relative() -> None:
    found = [
        f"{shown(path)}:{node.lineno}"
        for path in python_files()
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def test_nothing_is_named_after_a_pattern() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
    assert [shown(p) for p in python_files() if p.stem in vague or p.parent.name in vague] == []


def test_no_check_is_silenced_without_a_reason() -> None:
    marks = re.compile(
        r"#\s*(type: ignore|noqa|pragma: no cover)(?P<rest>.*)|@pytest\.mark\.(skip|xfail)|pytest\.skip\("
    )
    found = [
        f"{shown(path)}:{number}"
        for path in python_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (match := marks.search(line)) and " - " not in (match.group("rest") or "")
    ]
    assert found == []
