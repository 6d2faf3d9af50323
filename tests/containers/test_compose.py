"""docker-compose.yml: valid, with the parts of `autopilot up`, and at work on an engine with images built here."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from compose import LOCAL_IMAGES, Compose, write_configuration
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from waiting import eventually

from autopilot.infra.composition import AGENTS, PROCESSES
from autopilot.infra.platform.kafka import KAFKA_VERSION
from autopilot.infra.platform.ports import free_port
from autopilot.infra.platform.registry import APICURIO_VERSION
from autopilot.projections.client import Client

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

ONCE, PLATFORM = {"prepare"}, {"kafka", "registry"}
FLEET = """\
kind: Fleet
name: shop
domains: [{name: shop, partition: 1}]
services:
  - name: checkout
    domain: shop
    tier: 1
    owner: team
    telemetry:
      interval_ms: 1000
      required_metrics: [http.server.request.count]
      stale_after_ms: 3000
      lost_after_ms: 5000
"""


def as_read(variables: dict[str, str]) -> dict[str, Any]:
    """The file with its variables put in, as docker-compose reads it; it refuses what is against the schema."""
    document: dict[str, Any] = yaml.safe_load(Compose("reading", variables).run("--profile", "cli", "config"))
    return document


# -- the file --------------------------------------------------------------------------------------------------------


def test_each_process_of_the_composition_is_a_service_of_that_name() -> None:
    services = as_read({})["services"]
    assert set(services) == PLATFORM | ONCE | {"cli"} | set(PROCESSES)
    assert {name: services[name]["command"] for name in PROCESSES} == {name: ["run", name] for name in PROCESSES}


def test_without_variables_it_asks_for_the_published_images_of_the_versions_that_are_embedded() -> None:
    services = as_read(dict.fromkeys(LOCAL_IMAGES, ""))["services"]
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert services["registry"]["image"] == f"apicurio/apicurio-registry:{APICURIO_VERSION}"


def test_every_process_waits_for_the_preparation_and_that_for_a_healthy_broker() -> None:
    services = as_read({})["services"]
    assert {services[name]["depends_on"]["prepare"]["condition"] for name in PROCESSES} == {
        "service_completed_successfully"
    }
    assert services["prepare"]["depends_on"]["kafka"]["condition"] == "service_healthy"


# -- at work ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"OTLP_PORT": free_port(), "API_PORT": free_port()}


@pytest.fixture(scope="module")
def stack(ports: dict[str, int]) -> Iterator[Compose]:
    """All of it up, with the configuration folder that `cli` sees; everything is removed afterwards."""
    if not os.environ.get("DOCKER_HOST"):
        pytest.fail("no engine is named by DOCKER_HOST: make test-containers")
    folder = Path(tempfile.mkdtemp(prefix="autopilot-compose-"))
    folder.chmod(0o755)
    config = write_configuration(folder / "config", {"fleet.yaml": FLEET})
    variables = LOCAL_IMAGES | {"CONFIG": str(config)} | {name: str(port) for name, port in ports.items()}
    compose = Compose(f"autopilot-test-{os.getpid()}", variables)
    print("\nstarting every service of docker-compose.yml")
    try:
        compose.up(timeout_s=400)
        yield compose
    finally:
        print("\nremoving every container")
        compose.down()
        shutil.rmtree(folder)
    assert compose.containers() == {}


def starts(stack: Compose) -> dict[str, str]:
    """When each container that is to stay up was started."""
    return {name: container.started_at for name, container in stack.containers().items() if name not in ONCE}


@pytest.fixture(scope="module")
def first_starts(stack: Compose) -> dict[str, str]:
    return starts(stack)


@pytest.fixture(scope="module")
def api(stack: Compose, first_starts: dict[str, str], ports: dict[str, int]) -> Iterator[Client]:
    """The query API that the projector's container serves."""
    address = f"http://127.0.0.1:{ports['API_PORT']}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/healthz", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    eventually(answers, 90)
    with Client(address) as client:
        yield client


@pytest.fixture(scope="module")
def applied(stack: Compose, api: Client) -> str:
    """What `apply` printed in its own container."""
    print("\napplying the configuration")
    return stack.run("run", "--rm", "-T", "cli", "apply", "/config", "--as", "admin", timeout_s=180)


def test_every_service_runs_from_an_image_built_here_and_the_preparation_has_ended_well(stack: Compose) -> None:
    containers = stack.containers()
    assert set(containers) == PLATFORM | ONCE | set(PROCESSES)
    assert (containers["prepare"].status, containers["prepare"].exit_code) == ("exited", 0)
    assert containers["kafka"].health == "healthy"
    assert {c.status for name, c in containers.items() if name not in ONCE} == {"running"}
    assert all(container.image.startswith("localhost/") for container in containers.values())


def test_a_configuration_is_applied_from_a_container_and_known_in_the_next(stack: Compose, applied: str) -> None:
    assert "Fleet shop" in applied
    again = stack.run("run", "--rm", "--no-deps", "-T", "cli", "apply", "/config", "--as", "admin", timeout_s=180)
    assert "in force already" in again


def test_every_agent_is_at_work_on_every_partition(api: Client, applied: str) -> None:
    def missing() -> set[tuple[str, int]]:
        seen = {(row.agent, row.partition) for row in api.agents().agents if row.code_digest}
        return {(name, partition) for name in (*AGENTS, "effector") for partition in range(4)} - seen

    eventually(lambda: not missing(), 90)
    assert [row for row in api.agents().agents if row.parked or row.faults] == []


def test_a_service_that_sends_nothing_has_an_incident_which_the_api_and_the_command_line_show(
    stack: Compose, api: Client, applied: str
) -> None:
    (row,) = eventually(lambda: api.incidents(service="checkout").incidents, 90)
    assert "telemetry lost" in row.title
    assert row.incident_id in stack.run("run", "--rm", "--no-deps", "-T", "cli", "incidents", timeout_s=180)


def test_the_otlp_receiver_answers_from_its_container(stack: Compose, ports: dict[str, int]) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{ports['OTLP_PORT']}/v1/metrics",
        content=ExportMetricsServiceRequest().SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
        timeout=30,
    )
    assert answer.status_code == httpx.codes.OK
    assert ExportMetricsServiceResponse.FromString(answer.content) == ExportMetricsServiceResponse()


def test_no_process_has_failed_and_been_started_again_meanwhile(
    stack: Compose, first_starts: dict[str, str], applied: str
) -> None:
    """Last of all."""
    assert starts(stack) == first_starts
