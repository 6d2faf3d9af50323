"""Every part of the platform as a process that can be killed: `python processes.py NAME BOOTSTRAP FOLDER`.

The agents, the effector and the clock are composed as in production, save that the targets are files and that the
schema ids are the bundled ones.
"""

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from file_driver import FileDriver
from fleet import FileFleet
from loop import KEYS, five_agents

from autopilot.infra.effector.worker import EffectorWorker
from autopilot.infra.notifier.channels import read_channels
from autopilot.infra.notifier.process import Notifier
from autopilot.projections.catalogue import projections
from autopilot.projections.projector import Projector
from autopilot.schemas.registry import BundledRegistry, SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.clock import Clock
from autopilot.streams.kpis.topology import KpiOptions, KpiTopology
from autopilot.streams.sealer import Sealer, SealerOptions
from autopilot.streams.trust import SIGNS
from autopilot.streams.worker import AgentWorker, WorkerOptions

PARTITIONS = 4
AGENTS = tuple(agent.name for agent in five_agents())
MORTALS = (*AGENTS, "effector", "notifier", "sealer", "projector", "kpis")
"""What is killed."""
CHANNELS = "channels.yaml"
"""The notifier's channels, beside the folder of the fleet."""
SEALER = SigningKey.from_bytes("sealer", b"s" * 32)


def main() -> None:
    """Works until SIGTERM."""
    name, bootstrap, folder = sys.argv[1:4]
    kafka = {"bootstrap.servers": bootstrap}
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    runner(name, kafka, Path(folder))(stop)


def runner(name: str, kafka: dict[str, str], folder: Path) -> Callable[[threading.Event], None]:
    """The `run` of the process of that name."""
    registry = BundledRegistry()
    if name == "clock":
        return Clock(kafka=kafka, registry=registry, partitions=PARTITIONS).run
    if name == "effector":
        driver = FileDriver(FileFleet(folder, []))
        return EffectorWorker(
            kafka=kafka,
            registry=registry,
            partitions=PARTITIONS,
            drivers={driver.name: driver},
            key=KEYS[name],
            observe_every_s=1.0,
        ).run
    if name == "sealer":
        options = SealerOptions(
            kafka=kafka,
            registry=registry,
            key=SEALER,
            file=folder.parent / "seals.jsonl",
            every_records=2_000,
            every_s=5,
        )
        return Sealer(options).run
    if name == "projector":
        return Projector(kafka, registry, folder.parent / "views", projections(PARTITIONS)).run
    if name == "notifier":
        channels = read_channels(folder.parent / CHANNELS)
        return Notifier(options_of(name, kafka, registry), channels, pauses_s=(0.2, 1.0)).run
    if name == "kpis":
        return KpiTopology(KpiOptions(kafka, registry, PARTITIONS, folder.parent / "kpis")).run
    return agent_worker(name, kafka, registry).run


def agent_worker(name: str, kafka: dict[str, str], registry: SchemaRegistry) -> AgentWorker:
    """The worker of one agent."""
    agent = next(agent for agent in five_agents() if agent.name == name)
    return AgentWorker(agent, options_of(name, kafka, registry))


def options_of(name: str, kafka: dict[str, str], registry: SchemaRegistry) -> WorkerOptions:
    """The options of the worker of that name."""
    return WorkerOptions(
        kafka=kafka,
        registry=registry,
        partitions=PARTITIONS,
        instance=f"{name}-0",
        key=KEYS.get(name),
        signs=SIGNS.get(name, frozenset()),
        snapshot_every=5_000,
    )


if __name__ == "__main__":
    main()
