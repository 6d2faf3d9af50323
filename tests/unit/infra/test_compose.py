"""`docker-compose.yml` brings the same parts as `autopilot up`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from autopilot.infra.composition import PROCESSES
from autopilot.infra.platform.kafka import KAFKA_VERSION
from autopilot.infra.platform.registry import APICURIO_VERSION, CONFLUENT_API
from autopilot.infra.settings import Settings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
PARTS = {"kafka", "registry", "prepare", "cli"}


def test_there_is_one_service_for_each_process() -> None:
    assert set(COMPOSE["services"]) - PARTS == set(PROCESSES)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_service_runs_the_process_of_its_name(process: str) -> None:
    assert COMPOSE["services"][process]["command"] == ["run", process]


@pytest.mark.parametrize("service", [*PROCESSES, "prepare", "cli"])
def test_settings_are_ones_that_exist(service: str) -> None:
    known = {"AUTOPILOT_" + name.upper() for name in Settings.model_fields}
    environment = COMPOSE["services"][service]["environment"]
    assert set(environment) <= known
    assert environment["AUTOPILOT_PARTITIONS"] == str(Settings.model_fields["partitions"].default)
    assert environment["AUTOPILOT_REGISTRY"].endswith(CONFLUENT_API)


def test_only_the_effector_is_given_a_targets_secret() -> None:
    holders = {
        name
        for name, service in COMPOSE["services"].items()
        if "AUTOPILOT_SUPERVISORD_PASSWORD" in service.get("environment", {})
    }
    assert holders == {"effector"}


def test_the_versions_are_those_of_the_embedded_platform() -> None:
    assert COMPOSE["services"]["kafka"]["image"] == f"${{KAFKA_IMAGE:-apache/kafka:{KAFKA_VERSION}}}"
    registry = COMPOSE["services"]["registry"]["image"]
    assert registry == f"${{REGISTRY_IMAGE:-apicurio/apicurio-registry:{APICURIO_VERSION}}}"


def test_images_and_packages_name_no_registry_host() -> None:
    dockerfile = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
    images = [service["image"] for service in COMPOSE["services"].values() if "image" in service]
    images += [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")]
    assert images
    for image in images:
        assert "." not in image.split(":")[0].split("/")[0]
    assert "index-url" not in dockerfile
