"""The parts that act, as processes that can be killed: `NAME BOOTSTRAP FOLDER`, with `targets.yaml` in the folder."""

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from autopilot.agents.executor import Executor
from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.worker import EffectorWorker
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.clock import Clock
from autopilot.streams.sealer import Sealer, SealerOptions
from autopilot.streams.worker import AgentWorker, WorkerOptions

PARTITIONS = 4
NAMES = ("clock", "sealer", "executor", "effector")
SEALS = "seals.jsonl"
SEALER = SigningKey.from_bytes("sealer", b"s" * 32)


def runner(name: str, kafka: dict[str, str], folder: Path) -> Callable[[threading.Event], None]:
    """The `run` of the process of that name."""
    registry = BundledRegistry()
    if name == "clock":
        return Clock(kafka=kafka, registry=registry, partitions=PARTITIONS).run
    if name == "sealer":
        seals = folder / SEALS
        options = SealerOptions(kafka=kafka, registry=registry, key=SEALER, file=seals, every_records=500, every_s=5)
        return Sealer(options).run
    if name == "executor":
        return AgentWorker(
            Executor(),
            WorkerOptions(
                kafka=kafka, registry=registry, partitions=PARTITIONS, instance="executor-0", snapshot_every=500
            ),
        ).run
    return EffectorWorker(
        kafka=kafka,
        registry=registry,
        partitions=PARTITIONS,
        drivers=read_drivers(folder / "targets.yaml"),
        snapshot_every=500,
    ).run


def main() -> None:
    """Works until SIGTERM."""
    name, bootstrap, folder = sys.argv[1:4]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    runner(name, {"bootstrap.servers": bootstrap}, Path(folder))(stop)


if __name__ == "__main__":
    main()
