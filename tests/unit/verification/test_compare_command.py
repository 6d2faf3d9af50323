"""`autopilot verify compare`: verdicts, exit codes, and what it says about a file that it cannot judge."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from autopilot.infra.cli.main import application

GOOD: dict[str, Any] = {"control": [1, 2, 3, 4, 5, 6, 7], "experiment": [2, 1, 4, 3, 6, 5, 8]}
BAD: dict[str, Any] = {"name": "p99", "control": [1, 2, 3, 4, 5, 6], "experiment": [11, 12, None, 13, 14, 15]}


def compare(folder: Path, content: Any, *more: str) -> Result:
    file = folder / "metrics.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return CliRunner().invoke(application("verify"), ["verify", "compare", str(file), *more])


def test_every_metric_must_pass(tmp_path: Path) -> None:
    assert compare(tmp_path, GOOD).exit_code == 0
    both = compare(tmp_path, [GOOD, BAD], "--json")
    assert both.exit_code == 1
    told = json.loads(both.stdout)
    assert told["verdict"] == "fail"
    assert [(one["name"], one["classification"]) for one in told["metrics"]] == [("metric 1", "Pass"), ("p99", "High")]
    assert told["metrics"][1]["experiment_samples"] == 5


def test_a_metric_without_data_does_not_pass(tmp_path: Path) -> None:
    found = compare(tmp_path, {"control": [None], "experiment": [1.0], "mustHaveData": True})
    assert found.exit_code == 1
    assert "NodataFailMetric" in found.stdout


def test_an_effect_that_cannot_be_told_is_null(tmp_path: Path) -> None:
    found = compare(tmp_path, {"control": [0] * 6, "experiment": [5, 6, 7, 8, 9, 10]}, "--json")
    assert json.loads(found.stdout)["metrics"][0]["deviation"] is None


def test_thresholds_and_classifier_are_read(tmp_path: Path) -> None:
    gentle = {**BAD, "effectSize": {"measure": "meanRatio", "allowedIncrease": 9}}
    assert compare(tmp_path, gentle).exit_code == 0
    assert compare(tmp_path, {**GOOD, "classifier": "meanInequality"}).exit_code == 1
    assert compare(tmp_path, {**GOOD, "nan_strategy": "replace", "direction": "decrease"}).exit_code == 0


def test_standard_input_is_read() -> None:
    found = CliRunner().invoke(application("verify"), ["verify", "compare", "-"], input=json.dumps(BAD))
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "line 1 column 2: Expecting property name"),
        ("3", "metrics.json`: the whole is 3: input should be"),
        ([], "metrics.json`: the whole is []: list should have at least 1 item"),
        ({"control": [1]}, '`experiment` is missing in {"control": [1]}'),
        ({**GOOD, "control": [1, "2"]}, '`control[1]` is "2": input should be a valid number'),
        ({**GOOD, "control": [True]}, "`control[0]` is true: input should be a valid number"),
        ({**GOOD, "direction": "up"}, "`direction` is \"up\": input should be 'increase', 'decrease' or 'either'"),
        ({**GOOD, "confidence": 2}, "`confidence` is 2: input should be less than or equal to 0.999999"),
        ({**GOOD, "tolerance": -1}, "`tolerance` is -1: input should be greater than or equal to 0"),
        ({**GOOD, "tolerence": 1}, "there is no field `tolerence`; `autopilot verify compare --help`"),
        ([GOOD, {**GOOD, "effectSize": {"measure": "d"}}], '`[1].effectSize.measure` is "d"'),
        ({"control": [*range(5_001)], "experiment": [*range(1, 5_001)]}, "at most 25000000 pairs"),
    ],
)
def test_a_file_that_cannot_be_judged_is_refused_by_field(tmp_path: Path, content: Any, said: str) -> None:
    found = compare(tmp_path, content)
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    found = CliRunner().invoke(application("verify"), ["verify", "compare", str(tmp_path / "none.json")])
    assert found.exit_code == 2
    assert "cannot be read" in found.stderr
