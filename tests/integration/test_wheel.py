"""The wheel: it builds, brings nothing but `autopilot` to the top level, and its command runs on its own."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what git would give to someone else, with the locked setuptools."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel in it, which sees our installed dependencies but not our sources."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=home)
    (site,) = (home / "lib").glob("python*/site-packages")
    (ours,) = (Path(sys.prefix) / "lib").glob("python*/site-packages")
    # A path of its own: our editable install hooks in by a .pth file, and those are read in site folders only.
    (site / "dependencies.pth").write_text(f"{ours}\n")
    return home / "bin"


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_installs_nothing_at_the_top_but_autopilot(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"autopilot"}


def test_it_brings_schemas_licence_and_type_markers_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "autopilot/schemas/avro/PlanProposed.avsc" in names
    assert all(f"autopilot/{room}/py.typed" in names for room in ("agents", "infra", "policies", "schemas", "streams"))
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "autopilot/__init__.py" not in names
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest")) or "/tests/" in name]


def test_its_command_runs_away_from_the_sources(scripts: Path, tmp_path: Path) -> None:
    where = run(str(scripts / "python"), "-c", "import autopilot.schemas as s; print(s.__path__[0])", cwd=tmp_path)
    assert where.startswith(str(scripts.parent)), where
    assert "Usage" in run(str(scripts / "autopilot"), "--help", cwd=tmp_path)


def test_its_schemas_are_in_sync(scripts: Path, tmp_path: Path) -> None:
    assert "files in sync" in run(str(scripts / "autopilot"), "schemas", "check", cwd=tmp_path)
