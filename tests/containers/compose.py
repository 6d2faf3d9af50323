"""docker-compose.yml brought up under a name of its own, with the images built here, on the engine of DOCKER_HOST."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container_kafka import COMPOSE_FILE

LOCAL_IMAGES = {
    "BASE_IMAGE": "localhost/autopilot-base:local",
    "KAFKA_IMAGE": "localhost/autopilot-kafka:local",
    "REGISTRY_IMAGE": "localhost/autopilot-registry:local",
}
ROOT = COMPOSE_FILE.parent
PROJECT_LABEL, SERVICE_LABEL = "com.docker.compose.project", "com.docker.compose.service"


@dataclass(frozen=True)
class Container:
    """What the engine says of one container."""

    service: str
    image: str
    status: str
    health: str
    exit_code: int
    started_at: str


class Compose:
    """One project. `variables` are those that the file leaves to its reader."""

    def __init__(self, project: str, variables: Mapping[str, str]) -> None:
        self.project = project
        self._environment = dict(os.environ) | dict(variables)

    def run(self, *arguments: str, timeout_s: float = 120) -> str:
        """What a subcommand of docker-compose prints. Raises `AssertionError` with all it said when it fails."""
        assert shutil.which("docker-compose"), "docker-compose is not installed: make test-containers"
        command = ["docker-compose", "--ansi", "never", "-p", self.project, "-f", str(COMPOSE_FILE), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, (
            f"{' '.join(arguments)}: {done.returncode}\n{done.stdout[-4_000:]}{done.stderr[-4_000:]}"
        )
        return done.stdout

    def up(self, timeout_s: float) -> None:
        """Every service in its order. Health checks are run here, as Podman leaves them to systemd."""
        stop = threading.Event()
        checks = threading.Thread(target=self._check_health, args=(stop,), daemon=True)
        checks.start()
        try:
            self.run("up", "-d", "--no-build", timeout_s=timeout_s)
        except AssertionError:
            ended = [name for name, container in self.containers().items() if container.status == "exited"]
            print("\n".join(self.log(name) for name in ended))
            raise
        finally:
            stop.set()
            checks.join(30)

    def down(self) -> None:
        """Ends and removes every container, the network and the volumes."""
        self.run("down", "--volumes", "--timeout", "10", timeout_s=180)

    def containers(self) -> dict[str, Container]:
        """Every container of the project by its service, those that ended among them."""
        ids = podman("ps", "--all", "--quiet", "--filter", f"label={PROJECT_LABEL}={self.project}").split()
        found = map(_container, json.loads(podman("inspect", *ids)) if ids else [])
        return {container.service: container for container in found}

    def log(self, service: str) -> str:
        """The end of a service's log."""
        return self.run("logs", "--no-color", "--tail", "40", service)

    def _check_health(self, stop: threading.Event) -> None:
        starting = ("ps", "--quiet", "--filter", f"label={PROJECT_LABEL}={self.project}", "--filter", "health=starting")
        while not stop.wait(2):
            for container in podman(*starting).split():
                subprocess.run(["podman", "healthcheck", "run", container], capture_output=True, check=False)


def podman(*arguments: str) -> str:
    """What Podman prints, on the store that the environment names."""
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def write_configuration(folder: Path, documents: Mapping[str, str]) -> Path:
    """A configuration folder that the containers' user may read."""
    folder.mkdir()
    for name, text in documents.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    return folder


def _container(said: dict[str, Any]) -> Container:
    state = said["State"]
    return Container(
        service=said["Config"]["Labels"][SERVICE_LABEL],
        image=said["ImageName"],
        status=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=state["ExitCode"],
        started_at=state["StartedAt"],
    )
