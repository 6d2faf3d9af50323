"""The notifier as a process of its own, so that it can be killed: `notifier_program.py BOOTSTRAP CHANNELS`."""

import signal
import sys
import threading
from pathlib import Path

from autopilot.infra.notifier.channels import read_channels
from autopilot.infra.notifier.process import Notifier
from autopilot.infra.structured_logs import log_json
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.worker import WorkerOptions


def main() -> None:
    """Runs until SIGTERM."""
    log_json("notifier", "info")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    options = WorkerOptions(
        kafka={"bootstrap.servers": sys.argv[1]},
        registry=BundledRegistry(),
        partitions=4,
        instance="notifier-0",
        snapshot_every=50,
    )
    Notifier(options, read_channels(Path(sys.argv[2])), pauses_s=(0.2, 0.5)).run(stop)


if __name__ == "__main__":
    main()
