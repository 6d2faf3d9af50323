"""Where the running shop keeps what it shares through files: ports, releases, faults and the load's rate."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SERVICES = ("frontend", "checkout", "inventory")


@dataclass(frozen=True)
class Group:
    """A group of processes of one service. With `own_ports` each listens on its own, under `GROUP-INSTANCE`."""

    name: str
    service: str
    processes: int = 4
    started: int = 2
    own_ports: bool = False

    @property
    def instances(self) -> list[str]:
        """The names of its instances."""
        return [f"{self.name}-{number}" for number in range(1, self.processes + 1)]

    @property
    def ports(self) -> list[str]:
        """The names of the ports that it needs."""
        return self.instances if self.own_ports else [self.name]


SHOP = tuple(Group(name, name) for name in SERVICES)
"""The shop as its own demonstration has it: room to scale, and instances that share their service's port."""


class Fault(StrEnum):
    """What can be switched on for a service, by a file `faults/SERVICE.FAULT`."""

    LEAK = "leak"
    """Each request leaves memory behind, and the more there is the slower the instance gets. A restart helps."""
    CRASH = "crash"
    """An instance ends as soon as it gets a request; supervisord starts it again."""
    MUTE = "mute"
    """Telemetry stops; the service goes on serving."""


@dataclass(frozen=True)
class Layout:
    """The run folder of one fleet."""

    root: Path

    @property
    def releases(self) -> Path:
        """`SERVICE/v1`, `SERVICE/v2`, and the symbolic link `SERVICE/current`."""
        return self.root / "releases"

    @property
    def rate_file(self) -> Path:
        """Requests a second that the load generator sends; it looks once a second."""
        return self.root / "rate"

    @property
    def logs(self) -> Path:
        """One log for each process."""
        return self.root / "logs"

    def fault_file(self, service: str, fault: Fault) -> Path:
        """The fault is on while this file exists."""
        return self.root / "faults" / f"{service}.{fault}"

    def serving_file(self, service: str, instance: int) -> Path:
        """Written by an instance once it listens; whoever restarts it removes it before."""
        return self.root / "serving" / f"{service}-{instance}"

    def current(self, service: str) -> Path:
        """The folder of the release in use."""
        return (self.releases / service / "current").resolve()

    def ports(self) -> dict[str, int]:
        """The port of each service."""
        return {name: int(port) for name, port in json.loads((self.root / "ports.json").read_text()).items()}

    def otlp_endpoint(self) -> str:
        """Where the services send their metrics."""
        return (self.root / "otlp").read_text().strip()
