"""`autopilot security` without Kafka: what it shows, what it makes, what it refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autopilot.infra.cli.main import application
from autopilot.infra.security.principals import GRANTS, table
from autopilot.infra.settings import Settings

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no variables of ours but that."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"AUTOPILOT_{name.upper()}", raising=False)
    monkeypatch.setenv("AUTOPILOT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def autopilot(*arguments: str, code: int = 0) -> str:
    result = RUNNER.invoke(application(), list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_the_grants_are_shown_in_three_forms() -> None:
    assert autopilot("security", "grants", "--markdown") == table()
    assert set(json.loads(autopilot("security", "grants", "--json"))) == set(GRANTS)
    rows = autopilot("security", "grants").splitlines()
    assert next(row for row in rows if row.startswith("otlp")).split() == ["otlp", "autopilot.telemetry"]


@pytest.mark.parametrize("command", [("list",), ("rotate", "planner"), ("provision",)], ids=lambda words: words[0])
def test_a_home_that_is_not_secure_is_named(command: tuple[str, ...]) -> None:
    assert "is not secure; `autopilot up --secure`" in autopilot("security", *command, code=2)


def test_what_is_made_is_listed(home: Path) -> None:
    assert str(home / "security") in autopilot("security", "init", "--host", "kafka")
    rows = {row["name"]: row for row in json.loads(autopilot("security", "list", "--json"))}
    assert all(row["since"] for row in rows.values())
    assert rows["planner"]["file"] == str(home / "security" / "credentials" / "planner")
    assert Settings().ground.hosts() == ["kafka"]


def test_the_option_is_for_the_embedded_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPILOT_KAFKA", "broker:9092")
    assert "is for the embedded Kafka" in autopilot("up", "--secure", code=2)
