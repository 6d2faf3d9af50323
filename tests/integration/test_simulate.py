"""`autopilot simulate` as people run it, on the real day that ships with the project."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.streams.audit.audit import Audit, AuditOptions

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parents[2]
DAY = ROOT / "examples" / "historical" / "online-boutique"


def simulate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autopilot.infra.cli.main", "simulate", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def of_the_day(out: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return simulate(
        "--telemetry", DAY / "telemetry.parquet", "--config", DAY / "config", "--labels", DAY / "labels.csv",
        "--name", "day", "--out", out, *more,
    )  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "first"
    done = of_the_day(out, "--effects", DAY / "effects.yaml", "--seed", "3")
    assert done.returncode == 0, done.stderr
    return out


def test_the_same_seed_gives_the_same_bytes_in_every_file(first: Path, tmp_path: Path) -> None:
    assert of_the_day(tmp_path / "again", "--effects", DAY / "effects.yaml", "--seed", "3").returncode == 0
    made, again = content(first), content(tmp_path / "again")
    assert made.keys() == again.keys()
    assert [name for name in made if made[name] != again[name]] == []


def test_real_faults_are_found_and_each_incident_is_plotted(first: Path) -> None:
    report = json.loads((first / "report.json").read_text())
    found = report["against_labels"]
    assert found["labels"] == 24
    assert found["detected"] + found["missed"] == 24
    assert found["detected"] >= 15
    assert report["level"] == "closed loop"
    plots = {path.name for path in (first / "plots").iterdir()}
    assert plots == {f"{incident['incident_id']}.svg" for incident in report["incidents"]}
    for page in ("report.md", "report.html"):
        text = (first / page).read_text()
        assert all(name in text for name in plots)
        assert "closed loop" in text


def test_its_log_is_an_archive_that_verifies(first: Path) -> None:
    archive = ArchiveFolder(first / "log")
    audited = Audit(archive, archive.schemas, AuditOptions(run="simulation:day"), lambda _: None).run()
    assert audited.violations == []
    assert audited.seals == 1


def test_a_simulated_log_can_be_simulated_again(first: Path, tmp_path: Path) -> None:
    done = simulate("--telemetry", first / "log", "--config", DAY / "config", "--out", tmp_path / "next", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["incidents"] > 0


def test_bad_input_ends_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("service,metric,timestamp,value\ncart,m,1661169600,fast\n")
    done = simulate("--telemetry", broken, "--config", DAY / "config", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"{broken}, row 1: `value` is 'fast', expected a number" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_of_someone_elses_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    done = of_the_day(tmp_path)
    assert done.returncode == 2
    assert "expected a new or empty folder" in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"
