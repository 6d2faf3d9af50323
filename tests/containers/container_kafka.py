"""Kafka in a container that testcontainers starts on whatever DOCKER_HOST names, as another `EmbeddedKafka` for tests.

Its settings are those of docker-compose.yml, but for the address: the tests run outside the container.
"""

import time
from pathlib import Path
from typing import Any

import yaml
from testcontainers.core.container import DockerContainer

from autopilot.infra.platform.kafka import broker_answers
from autopilot.infra.platform.ports import HOST, answers, free_port

COMPOSE_FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
IMAGE = "localhost/autopilot-kafka:local"
TIMEOUT_S = 120.0


def compose_environment(service: str) -> dict[str, str]:
    """The environment that docker-compose.yml gives a service."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return dict(document["services"][service]["environment"])


class ContainerKafka:
    """One broker. It listens on the same port inside and outside, so that one address holds for it and its clients."""

    def __init__(self) -> None:
        self.port = free_port()
        self.container = DockerContainer(IMAGE).with_envs(**self._environment()).with_kwargs(hostname="kafka")
        self.container.ports[f"{self.port}/tcp"] = (HOST, self.port)

    @property
    def bootstrap(self) -> str:
        """What clients connect to, as `host:port`."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Returns once the broker answers. Raises `TimeoutError` with the container's log."""
        self.container.start()
        deadline = time.monotonic() + TIMEOUT_S
        while not (answers(self.port) and broker_answers({"bootstrap.servers": self.bootstrap})):
            state = self.container.get_wrapped_container()
            state.reload()
            if state.status == "exited" or time.monotonic() > deadline:
                out = b"".join(self.container.get_logs()).decode(errors="replace")
                self.stop()
                raise TimeoutError(f"kafka in a container ({state.status}) does not answer:\n{out[-4_000:]}")
            time.sleep(0.3)

    def stop(self) -> None:
        """Removes the container with its data."""
        self.container.stop()

    def _environment(self) -> dict[str, str]:
        controller = "CONTROLLER://0.0.0.0:9093"
        return compose_environment("kafka") | {
            "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{self.port},{controller}",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{self.bootstrap}",
        }
