"""Settings come from the environment before the file before the defaults, and say so."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from autopilot.infra.composition import AGENTS, BUILDERS, PROCESSES, environment_of, registry_url
from autopilot.infra.keys import ensure_key, new_key_beside, take_over
from autopilot.infra.platform.ports import PortBook, free_port
from autopilot.infra.process_settings import COMMON, OWN, SAID_AS, SIGNERS
from autopilot.infra.settings import NotUpError, Settings, SettingsFileError, kafka_config, sources_of
from autopilot.infra.signers import ensure_first_principals
from autopilot.schemas.signing import SigningKey


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without `autopilot.toml`, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"AUTOPILOT_{name.upper()}", raising=False)
    return tmp_path


def test_each_value_says_where_it_came_from(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / "autopilot.toml").write_text('partitions = 8\nrun = "shadow:a"\n')
    monkeypatch.setenv("AUTOPILOT_RUN", "shadow:b")
    rows = {row.name: (row.value, row.source) for row in sources_of(Settings())}
    assert rows["partitions"] == ("8", "autopilot.toml")
    assert rows["run"] == ("shadow:b", "environment")
    assert rows["otlp_port"] == ("4318", "default")


def test_an_unknown_setting_in_the_file_is_refused(empty_folder: Path) -> None:
    (empty_folder / "autopilot.toml").write_text("partition = 8\n")
    with pytest.raises(ValidationError, match="partition"):
        Settings()


@pytest.mark.parametrize("content", ["home = \n", "[unclosed\n", "a = 1\na = 2\n"])
def test_a_file_that_is_no_toml_is_something_that_a_person_can_mend(empty_folder: Path, content: str) -> None:
    file = empty_folder / "autopilot.toml"
    file.write_text(content)
    with pytest.raises(SettingsFileError) as raised:
        Settings()
    assert str(raised.value).startswith(f"`{file}` cannot be read as TOML: ")
    assert "\n" not in str(raised.value)


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPILOT_KAFKA_PASSWORD", "hunter2")
    settings = Settings()
    shown = {row.name: row.value for row in sources_of(settings)}
    assert shown["kafka_password"] == "(set)"
    assert "hunter2" not in repr(settings) + str(shown)


@pytest.mark.parametrize("process", PROCESSES)
def test_only_the_effector_is_given_the_targets_secret(process: str) -> None:
    settings = Settings(kafka_password=SecretStr("broker"), supervisord_password=SecretStr("target"))
    environment = environment_of(process, settings)
    assert environment["AUTOPILOT_KAFKA_PASSWORD"] == "broker"
    assert ("target" in environment.values()) is (process == "effector")


def test_another_process_gets_the_same_settings(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(partitions=6, supervisord_releases=Path("releases"), log_level="debug", otlp_port=1)
    for name, value in environment_of("effector", chosen).items():
        monkeypatch.setenv(name, value)
    again = Settings()
    assert (again.partitions, again.log_level) == (6, "debug")
    assert again.home == empty_folder / ".autopilot"
    assert again.supervisord_releases == empty_folder / "releases"
    assert again.otlp_port == Settings.model_fields["otlp_port"].default


class Watched(Settings):
    """Settings that remember what was asked of them."""

    def __getattribute__(self, name: str) -> Any:
        if name in Settings.model_fields:
            ASKED.add(name)
        return super().__getattribute__(name)


ASKED: set[str] = set()


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_given_what_it_uses(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopilot.infra.notifier.process.plain_consumer", lambda *_: None)
    PortBook(Path("home")).port("registry", 0)
    settings = Watched(home=Path("home"), kafka="127.0.0.1:9", api_port=free_port(), otlp_port=free_port())
    ASKED.clear()
    BUILDERS[process](settings)
    assert ASKED
    assert {*COMMON, *OWN.get(process, ())} >= ASKED


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        ({"otlp_port": 4_320}, {"otlp"}),
        ({"seal_every": 5}, {"sealer"}),
        ({"supervisord_password": SecretStr("new")}, {"effector"}),
        ({"api_host": "0.0.0.0"}, {"projector"}),
        ({"notifications": Path("other.yaml")}, {"notifier"}),
        ({"snapshot_every": 9}, {*AGENTS, "effector", "notifier"}),
        ({"log_level": "debug"}, set(PROCESSES)),
        ({"gateway_port": 9_999, "kafka_controller_port": 9_998}, set()),
    ],
)
def test_a_setting_concerns_only_who_uses_it(change: dict[str, Any], concerned: set[str]) -> None:
    before, after = Settings(), Settings(**change)
    assert {name for name in PROCESSES if environment_of(name, before) != environment_of(name, after)} == concerned


def test_the_content_of_a_file_is_part_of_the_setting_that_names_it(empty_folder: Path) -> None:
    file = empty_folder / "targets.yaml"
    settings = Settings(targets=file)
    said = []
    for content in (None, "drivers: []", "drivers: [ ]"):
        if content is not None:
            file.write_text(content)
        said.append({name: environment_of(name, settings) for name in PROCESSES})
    changed = [{name for name in PROCESSES if a[name] != b[name]} for a, b in pairwise(said)]
    assert changed == [{"effector"}, {"effector"}]


@pytest.mark.parametrize("name", sorted(SIGNERS))
def test_a_new_key_concerns_the_process_that_signs_with_it_and_no_other(empty_folder: Path, name: str) -> None:
    settings = Settings(home=empty_folder)
    ensure_first_principals(settings.keys)
    before = {process: environment_of(process, settings) for process in PROCESSES}
    new_key_beside(settings.keys, name)
    take_over(settings.keys, name)
    after = {process: environment_of(process, settings) for process in PROCESSES}
    assert {process for process in PROCESSES if before[process] != after[process]} == {name}
    changed = {variable for variable, value in after[name].items() if before[name].get(variable) != value}
    assert {SAID_AS[variable] for variable in changed} == {"its key changed"}
    private = (settings.keys / f"{name}.key").read_text().strip()
    assert private not in "".join(after[name].values())


@pytest.mark.parametrize("process", PROCESSES)
def test_whoever_loads_a_key_at_its_start_is_among_those_that_a_new_key_restarts(
    process: str, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(folder: Path, principal: str) -> SigningKey:
        asked.append(principal)
        return ensure_key(folder, principal)

    monkeypatch.setattr("autopilot.infra.composition.ensure_key", noted)
    monkeypatch.setattr("autopilot.infra.notifier.process.plain_consumer", lambda *_: None)
    PortBook(empty_folder).port("registry", 0)
    BUILDERS[process](Settings(home=empty_folder, kafka="127.0.0.1:9", api_port=free_port(), otlp_port=free_port()))
    assert asked == ([process] if process in SIGNERS else [])


def test_security_rides_along_to_an_existing_kafka() -> None:
    settings = Settings(
        kafka="broker:9093",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username="autopilot",
        kafka_password=SecretStr("pw"),
    )
    assert kafka_config(settings) == {
        "bootstrap.servers": "broker:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "autopilot",
        "sasl.password": "pw",
    }


def test_an_embedded_kafka_that_never_was_is_named() -> None:
    with pytest.raises(NotUpError, match=r"`autopilot up`, or point `AUTOPILOT_KAFKA`"):
        kafka_config(Settings())
    with pytest.raises(NotUpError, match="AUTOPILOT_REGISTRY"):
        registry_url(Settings())


def test_a_picked_port_is_remembered(empty_folder: Path) -> None:
    home = empty_folder / ".autopilot"
    port = PortBook(home).port("kafka")
    assert port > 0
    assert PortBook(home).port("kafka") == port
    assert PortBook(home).port("kafka", 9092) == 9092
    assert kafka_config(Settings()) == {"bootstrap.servers": f"127.0.0.1:{port}"}
