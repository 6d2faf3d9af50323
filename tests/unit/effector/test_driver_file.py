"""What is wrong with a targets file is told by file, entry, field and what was expected; no secret is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from autopilot.infra.effector.driver_file import TargetsFileError, read_drivers
from autopilot.infra.effector.port import DeniedError

RACK = {"driver": "supervisord", "url": "http://127.0.0.1:9001"}
EDGE = {"driver": "haproxy", "url": "unix:///run/haproxy.sock", "backends": ["be_web"]}
CLUSTER = {"driver": "kubernetes", "namespaces": ["shop"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "targets.yaml"


def told(path: Path, *entries: Any) -> str:
    """What a file with these entries is refused with."""
    path.write_text(yaml.safe_dump({"drivers": list(entries)}))
    with pytest.raises(TargetsFileError) as raised:
        read_drivers(path)
    return str(raised.value).removeprefix(f"{path}: drivers")


def test_drivers_are_known_by_name_or_kind(path: Path) -> None:
    path.write_text(yaml.safe_dump({"drivers": [RACK, {**RACK, "name": "rack-2"}, EDGE, CLUSTER]}))
    assert list(read_drivers(path)) == ["supervisord", "rack-2", "haproxy", "kubernetes"]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"driver": "nagios"}, "[0].driver is 'nagios', expected one of aws_ecs, command, haproxy"),
        ("supervisord", "[0].driver is 'supervisord', expected one of"),
        ({"driver": "supervisord"}, "[0].url is missing, and is needed"),
        ({**RACK, "url": "localhost:9001"}, "[0].url is 'localhost:9001': String should match pattern"),
        ({**EDGE, "url": "http://localhost"}, "[0].url is 'http://localhost': String should match pattern"),
        ({**EDGE, "url": "tcp://localhost:99999"}, "[0]: driver `haproxy` cannot be made: Port out of range"),
        ({**EDGE, "networks": ["here"]}, "[0].networks is ['here']: Value error, 'here' does not appear to be"),
        ({**CLUSTER, "min_replicas": 11}, "`min_replicas` is 11, expected at most 10, the most of `max_replicas`"),
        ({**CLUSTER, "min_replicas": 3, "max_replicas_of": {"shop/web": 2}}, "at most 2, the most of `shop/web`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(path: Path, entry: Any, complaint: str) -> None:
    assert complaint in told(path, entry)


def test_a_name_is_given_once(path: Path) -> None:
    assert told(path, RACK, RACK) == "[1].name is `supervisord`, expected one that is not taken"


def test_a_secret_in_the_wrong_place_is_not_told(path: Path) -> None:
    for entry in ({"driver": "supervisord", "password": "hunter2"}, {**EDGE, "password": "hunter2"}):
        assert "hunter2" not in told(path, entry)


def test_a_password_file_is_read_when_it_is_needed(path: Path) -> None:
    password = path.with_name("password")
    path.write_text(yaml.safe_dump({"drivers": [{**RACK, "username": "effector", "password_file": str(password)}]}))
    driver = read_drivers(path)["supervisord"]
    with pytest.raises(DeniedError, match="`password_file` cannot be read"):
        driver.observe("web")
