"""`docker-compose.secure.yml` secures the containers as `autopilot up --secure` secures the embedded Kafka."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from autopilot.infra.composition import PROCESSES
from autopilot.infra.security.ground import CLIENTS, CONTROLLER, INTERNAL, Ground
from autopilot.infra.security.principals import PEOPLE
from autopilot.infra.settings import PREFIX, Settings
from autopilot.streams.trust import SIGNS

ROOT = Path(__file__).parents[3]
PLAIN: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SECURE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.secure.yml").read_text())
SERVICES = SECURE["services"]
SCRIPT = (ROOT / "infra" / "docker" / "distribute.sh").read_text()
KEYS_SCRIPT = (ROOT / "infra" / "docker" / "distribute-keys.sh").read_text()
HOME = "/home/autopilot/.autopilot"


def property_of(variable: str) -> str:
    """The broker's property that the image makes of a variable."""
    name = variable.removeprefix("KAFKA_").lower()
    return name.replace("___", "-").replace("__", "\0").replace("_", ".").replace("\0", "_")


def installed(volume: str) -> dict[str, str]:
    """What `distribute.sh` puts into a volume: name there, file of the security folder."""
    script = re.sub(r"for name in ([a-z ]+); do\n(.*?)done", unrolled, SCRIPT, flags=re.DOTALL)
    found = re.findall(rf'install .*?"?(\S+?)"? "?/to/{volume}/([a-z.]+)"?\n', script)
    return {target: source for source, target in found}


def unrolled(loop: re.Match[str]) -> str:
    return "".join(loop[2].replace("$name", name) for name in loop[1].split())


def given(service: str) -> dict[str, str]:
    """Where in the container each of a service's secrets is, and from which file of the security folder it comes."""
    volumes = [v for v in SERVICES[service].get("volumes", []) if v.endswith(":/run/secrets:ro")]
    names = [volume.split(":")[0].removesuffix("-secrets") for volume in volumes]
    return {f"/run/secrets/{target}": source for name in names for target, source in installed(name).items()}


def test_the_broker_has_the_properties_of_the_embedded_one() -> None:
    environment = PLAIN["services"]["kafka"]["environment"] | SERVICES["kafka"]["environment"]
    properties = {property_of(variable): value for variable, value in environment.items()}
    wanted = Ground(Path("/run")).broker({CLIENTS: 9092, INTERNAL: 9094, CONTROLLER: 9093}, "0.0.0.0")
    places = {"ssl.keystore.location": "/run/secrets/broker", "ssl.truststore.location": "/run/secrets/ca"}
    assert {name: properties.get(name) for name in wanted} == wanted | places
    assert given("kafka") == {"/run/secrets/broker": "broker.pem", "/run/secrets/ca": "ca.pem"}


def test_nothing_listens_without_tls() -> None:
    protocols = SERVICES["kafka"]["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]
    assert {pair.split(":")[1] for pair in protocols.split(",")} == {"SASL_SSL", "SSL"}
    assert "ports" not in PLAIN["services"]["kafka"]


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_given_its_own_password_and_the_authoritys_certificate(process: str) -> None:
    assert given(process) == {"/run/secrets/ca": "ca.pem", "/run/secrets/password": f"credentials/{process}"}
    environment = SERVICES[process]["environment"]
    assert environment["AUTOPILOT_KAFKA_CREDENTIALS"] == "/run/secrets/password"
    assert environment["AUTOPILOT_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"


def test_people_and_the_registry_have_their_own_the_administrators_is_for_preparing() -> None:
    assert given("cli")["/run/secrets/password"] == f"credentials/{PEOPLE}"
    assert given("registry") == {"/run/secrets/registry.properties": "registry.properties"}
    holders = {name for name in SERVICES if "admin.pem" in given(name).values()}
    assert holders == {"prepare"}


def home_of(service: str) -> str:
    """The volume that is the home folder of a service; `docker-compose.yml` gives all the same one."""
    own = [v.split(":")[0] for v in SERVICES[service]["volumes"] if v.removesuffix(":ro").endswith(f":{HOME}")]
    return own[0] if own else "home"


def test_every_process_has_a_home_of_its_own_and_people_have_the_one_with_all_keys() -> None:
    assert {name: home_of(name) for name in PROCESSES} == {name: name for name in PROCESSES}
    assert home_of("keys") == home_of("cli") == home_of("prepare") == "home"


def test_a_process_that_signs_finds_its_own_key_in_its_home_and_the_effector_whom_it_acts_under() -> None:
    signing = [*SIGNS, "sealer"]
    script = re.sub(r"for name in ([a-z ]+); do\n(.*?)done", unrolled, KEYS_SCRIPT, flags=re.DOTALL)
    placed = re.findall(r'install -m \d+ -o autopilot "?(\S+?)"? "?/to/([a-z]+)/keys/(\S+?)"?\n', script)
    wanted = [(f"{name}.{kind}", name, f"{name}.{kind}") for name in signing for kind in ("key", "pub")]
    assert sorted(placed) == sorted([*wanted, ("admin.pub", "effector", "admin.pub")])
    mounted = {v.split(":")[1]: v.split(":")[0] for v in SERVICES["keys"]["volumes"] if v.split(":")[1][:4] == "/to/"}
    assert mounted == {f"/to/{name}": home_of(name) for name in signing}
    assert {name for name in PROCESSES if "keys" in SERVICES[name].get("depends_on", ())} == set(signing)


def test_the_folder_with_everything_is_mounted_by_those_two_alone() -> None:
    mounting = {name for name, service in SERVICES.items() if any("security:/" in v for v in service["volumes"])}
    assert mounting == {"security", "passwords"}


def test_every_file_that_is_distributed_is_one_of_the_security_folder(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ground.ensure([*PROCESSES, PEOPLE, "registry"])
    ground.write_registry("registry")
    files = {file for service in SERVICES for file in given(service).values()}
    assert len(files) > len(PROCESSES)
    assert [file for file in files if not (ground.folder / file).exists()] == []


def test_every_volume_is_declared() -> None:
    used = {v.split(":")[0] for service in SERVICES.values() for v in service["volumes"] if not v.startswith(".")}
    assert used == set(SECURE["volumes"])


def test_settings_are_ones_that_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    used = {name for service in SERVICES.values() for name in service["environment"] if name.startswith(PREFIX)}
    assert used <= known


def test_no_secret_is_in_an_environment_or_a_command() -> None:
    for service in SERVICES.values():
        named = [name for name in service["environment"] if "PASSWORD" in name]
        assert named == []
