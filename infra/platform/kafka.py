"""Apache Kafka in KRaft mode as one process of this machine: broker and controller in one, data kept in its folder.

The broker is the ordinary distribution from Maven Central. `prepare` writes its configuration and formats its storage
once; the process may then be run by `start` or by a supervisor, with `command`.
"""

import base64
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from autopilot.infra.platform.maven import Announce, class_path, java
from autopilot.infra.platform.ports import HOST, answers, free_port, require_free
from autopilot.infra.platform.processes import ServerProcess
from autopilot.infra.security.ground import CLIENTS, CONTROLLER, INTERNAL, Ground

KAFKA_VERSION = "4.3.1"
_ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
_JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


class EmbeddedKafka:
    """One broker. `home` holds its configuration, data and log; ports of 0 are picked when it is made.

    With `security` it takes TLS and passwords on `port`, certificates on the two others, and allows what is granted.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int = 0,
        controller_port: int = 0,
        internal_port: int = 0,
        security: Ground | None = None,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.controller_port = controller_port or free_port()
        self.internal_port = internal_port or (free_port() if security else 0)
        self.log = home / "broker.log"
        self._security = security
        self._process: ServerProcess | None = None

    @property
    def bootstrap(self) -> str:
        """What clients connect to, as `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while the broker runs as a child of this process."""
        return self._process.pid if self._process else None

    def prepare(self, announce: Announce) -> None:
        """Downloads the broker if need be, writes its configuration, and formats its storage the first time."""
        jars = class_path(_ENDPOINT, announce)
        self.home.mkdir(parents=True, exist_ok=True)
        self._class_path.write_text('-cp "' + ":".join(str(jar) for jar in jars) + '"\n')
        self.properties.write_text(self._configuration())
        if not (self.home / "data" / "meta.properties").exists():
            self._format()

    def command(self) -> list[str]:
        """What runs the broker in the foreground once it is prepared."""
        return [java(), *_JVM, f"@{self._class_path}", "kafka.Kafka", str(self.properties)]

    def start(self, announce: Announce = lambda _: None, *, timeout_s: float = 120.0) -> None:
        """Runs the broker as a child of this process and returns once it answers.

        Raises `PortInUseError` when a port is taken, `ProcessError` when the broker does not come up.
        """
        require_free(self.port, "AUTOPILOT_KAFKA_PORT")
        require_free(self.controller_port, "AUTOPILOT_KAFKA_CONTROLLER_PORT")
        self.prepare(announce)
        self._process = ServerProcess("kafka", self.command(), {}, self.log)
        self._process.start(self.is_ready, timeout_s)

    def stop(self) -> None:
        """Ends the broker cleanly; its data stays."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def is_ready(self) -> bool:
        """Whether the broker answers a metadata request."""
        return answers(self.port) and broker_answers(self.admin_config())

    def admin_config(self) -> dict[str, str]:
        """Configuration of a client that may do everything."""
        if self._security is None:
            return {"bootstrap.servers": self.bootstrap}
        return {"bootstrap.servers": f"{HOST}:{self.internal_port}", **self._security.admin()}

    @property
    def properties(self) -> Path:
        """The file of its configuration, once it is prepared."""
        return self.home / "server.properties"

    @property
    def _class_path(self) -> Path:
        return self.home / "classpath.args"

    def _format(self) -> None:
        cluster = cluster_id(uuid.uuid4())
        tool = [java(), "-XX:TieredStopAtLevel=1", f"@{self._class_path}", "kafka.tools.StorageTool", "format"]
        with self.log.open("ab") as log:
            subprocess.run([*tool, "-t", cluster, "-c", str(self.properties)], stdout=log, stderr=log, check=True)

    def _configuration(self) -> str:
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.home / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
            "num.network.threads": "2",
            "num.io.threads": "4",
        }
        if self._security is not None:
            ports = {CLIENTS: self.port, INTERNAL: self.internal_port, CONTROLLER: self.controller_port}
            settings |= self._security.broker(ports, HOST)
        return "".join(f"{name}={value}\n" for name, value in settings.items())


def broker_answers(kafka: Mapping[str, str], timeout_s: float = 2.0) -> bool:
    """Whether a Kafka broker answers clients with this configuration within the time."""
    client = AdminClient({**kafka, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def cluster_id(drawn: uuid.UUID) -> str:
    """The id of a cluster as Kafka writes it, without a dash: the storage tool would take it for an option."""
    return base64.urlsafe_b64encode(drawn.bytes).decode().rstrip("=").replace("-", "A")
