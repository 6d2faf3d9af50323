"""The projector as a process that a test can kill: `BOOTSTRAP FOLDER PORT`."""

import signal
import sys
import threading
from pathlib import Path

from autopilot.infra.api.server import ProjectorProcess
from autopilot.schemas.registry import BundledRegistry


def main() -> None:
    """Works until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    process = ProjectorProcess(
        kafka={"bootstrap.servers": sys.argv[1]},
        registry=BundledRegistry(),
        partitions=4,
        folder=Path(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[3]),
    )
    process.run(stop)


if __name__ == "__main__":
    main()
