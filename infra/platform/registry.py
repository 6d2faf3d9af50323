"""Apicurio Registry as one process of this machine. Its schemas are kept in Kafka, so ids survive it."""

import shutil
import tarfile
from pathlib import Path

import httpx

from autopilot.infra.platform.maven import Announce, artifact, cache_folder, java, locked
from autopilot.infra.platform.ports import HOST, free_port, require_free
from autopilot.infra.platform.processes import ServerProcess
from autopilot.infra.security.ground import Ground

APICURIO_VERSION = "3.3.2"
CONFLUENT_API = "/apis/ccompat/v7"
PRINCIPAL = "registry"
_POLL_MS = 500
"""How long the registry waits for a snapshot of its storage before it reads all of its journal, which is kept whole.
Its default of 5 s is waited for up to four times at a first start."""
_JVM = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class EmbeddedRegistry:
    """One registry on the Kafka at `bootstrap`. `home` holds its log; ports of 0 are picked when it is made.

    With `security` it connects there as the principal `registry`. Its own address stays plain HTTP on loopback.
    """

    def __init__(
        self,
        home: Path,
        bootstrap: str,
        *,
        port: int = 0,
        management_port: int = 0,
        security: Ground | None = None,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.management_port = management_port or free_port()
        self.log = home / "registry.log"
        self._bootstrap = bootstrap
        self._security = security
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """Base address of the Confluent-compatible API."""
        return f"http://{HOST}:{self.port}{CONFLUENT_API}"

    def prepare(self, announce: Announce) -> None:
        """Downloads and unpacks the registry if need be, and writes its credentials where it reads them."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self._security is not None:
            self._security.write_registry(PRINCIPAL)
        _installation(announce)

    def command(self) -> list[str]:
        """What runs the registry in the foreground once it is prepared."""
        return [java(), *_JVM, "-jar", str(_folder() / "quarkus-run.jar")]

    def environment(self) -> dict[str, str]:
        """The environment that `command` needs."""
        secured = {"SMALLRYE_CONFIG_LOCATIONS": str(self._security.registry_properties)} if self._security else {}
        return secured | {
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(self.management_port),
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": self._bootstrap,
            "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": str(_POLL_MS),
        }

    def start(self, announce: Announce = lambda _: None, *, timeout_s: float = 120.0) -> None:
        """Runs the registry as a child of this process and returns once it answers.

        Raises `PortInUseError` when its port is taken, `ProcessError` when it does not come up.
        """
        require_free(self.port, "AUTOPILOT_REGISTRY_PORT")
        self.prepare(announce)
        self._process = ServerProcess("registry", self.command(), self.environment(), self.log)
        self._process.start(self.is_ready, timeout_s)

    def stop(self) -> None:
        """Ends the registry; its schemas stay in Kafka."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def is_ready(self) -> bool:
        """Whether the registry has read all of its schemas: it answers before, and knows a part of them."""
        return _is_ok(f"http://{HOST}:{self.management_port}/health/ready") and registry_answers(self.url)


def registry_answers(url: str) -> bool:
    """Whether a registry answers at the API address `url`."""
    return _is_ok(f"{url}/subjects")


def _is_ok(url: str, timeout_s: float = 2.0) -> bool:
    try:
        return httpx.get(url, timeout=timeout_s).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _folder() -> Path:
    return cache_folder() / f"apicurio-{APICURIO_VERSION}"


def _installation(announce: Announce) -> None:
    if _folder().exists():
        return
    archive = artifact("io.apicurio", "apicurio-registry-app", APICURIO_VERSION, "all", "tar.gz", announce)
    with locked():
        if _folder().exists():  # another process was quicker
            return
        unpacked = _folder().with_suffix(".part")
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        unpacked.rename(_folder())
