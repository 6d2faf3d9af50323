"""`autopilot schemas`: what it writes, what it finds, and its exit codes. Files go to a temporary folder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autopilot.infra.cli.schemas import app, releases_found
from autopilot.schemas.avro_files import as_text, current_schemas, differences, expected_files
from autopilot.schemas.events import EVENT_TYPES

RUNNER = CliRunner()


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, [*arguments, "--folder", str(folder)])
    return result.exit_code, result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run(tmp_path, "generate")[0] == 0
    return tmp_path


def test_the_committed_files_are_in_sync_and_compatible() -> None:
    result = RUNNER.invoke(app, ["check"])
    assert result.exit_code == 0, result.output
    assert "files in sync" in result.output


def test_generated_files_are_what_check_expects(folder: Path) -> None:
    assert run(folder, "check") == (
        0,
        f"{len(EVENT_TYPES)} event types: files in sync, compatible with no release yet\n",
    )
    tick = json.loads((folder / "avro" / "Tick.avsc").read_text())
    assert (tick["name"], tick["namespace"]) == ("Tick", "autopilot.events")


def test_generating_again_writes_nothing(folder: Path) -> None:
    assert "0 written, 0 removed" in run(folder, "generate")[1]


def test_check_names_each_file_that_is_stale_missing_or_surplus(folder: Path) -> None:
    (folder / "avro" / "Tick.avsc").write_text("{}")
    (folder / "avro" / "Halt.avsc").unlink()
    (folder / "avro" / "Odd.avsc").write_text("{}")
    code, output = run(folder, "check")
    assert code == 1
    assert "avro/Tick.avsc differs from its model" in output
    assert "avro/Halt.avsc is missing" in output
    assert "avro/Odd.avsc belongs to no event type" in output
    assert run(folder, "generate")[1].endswith("2 written, 1 removed\n")
    assert run(folder, "check")[0] == 0


def test_a_release_freezes_the_contracts_once(folder: Path) -> None:
    assert run(folder, "release", "0.9.0")[0] == 0
    assert json.loads((folder / "released" / "0.9.0.json").read_text()) == current_schemas()
    assert run(folder, "check") == (0, f"{len(EVENT_TYPES)} event types: files in sync, compatible with 0.9.0\n")
    code, output = run(folder, "release", "0.9.0")
    assert (code, "frozen already" in output) == (2, True)


@pytest.mark.parametrize("version", ["1.x", "1.2", "latest", "../1.2.0", "01.2.0", "1.2.0-"])
def test_a_release_is_named_by_three_numbers(folder: Path, version: str) -> None:
    code, output = run(folder, "release", version)
    assert (code, f"version is `{version}`, expected three numbers such as 1.2.0" in output) == (2, True)
    assert not (folder / "released").exists()
    assert run(folder, "release", "1.2.0-rc.1")[0] == 0


def test_check_and_release_refuse_what_a_release_could_not_read(folder: Path) -> None:
    released = current_schemas()
    released["Tick"] = {**released["Tick"], "fields": [*released["Tick"]["fields"], {"name": "zone", "type": "string"}]}
    released["Gone"] = released["Tick"]
    (folder / "released").mkdir()
    (folder / "released" / "0.1.0.json").write_text(as_text(released))
    code, output = run(folder, "check", "--json")
    found = {(f["event_type"], f["path"]) for f in json.loads(output)["incompatible"]}
    assert (code, found) == (1, {("Tick", "zone"), ("Gone", "")})
    assert run(folder, "release", "0.2.0")[0] == 1
    assert not (folder / "released" / "0.2.0.json").exists()


def test_releases_are_read_oldest_first(tmp_path: Path) -> None:
    (tmp_path / "released").mkdir()
    for version in ("0.10.0", "0.9.0", "1.0.0-rc1"):
        (tmp_path / "released" / f"{version}.json").write_text("{}")
    assert list(releases_found(tmp_path)) == ["0.9.0", "0.10.0", "1.0.0-rc1"]


def test_list_says_since_when_each_type_is_there(folder: Path) -> None:
    assert run(folder, "release", "0.9.0")[0] == 0
    rows = {row["event_type"]: row for row in json.loads(run(folder, "list", "--json")[1])}
    assert set(rows) == set(EVENT_TYPES)
    assert rows["Tick"] == {
        "event_type": "Tick", "family": "runtime", "topic": "autopilot.log", "broadcast": True, "since": "0.9.0",
    }  # fmt: skip


def test_differences_are_sorted_and_empty_in_sync() -> None:
    assert differences(expected_files()) == []
    assert differences({}) == sorted(f"avro/{name} is missing" for name in expected_files())
