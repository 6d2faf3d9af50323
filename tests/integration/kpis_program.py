"""The KPI topology as a process that a test can kill: `BOOTSTRAP FOLDER`."""

import signal
import sys
import threading
from pathlib import Path

from autopilot.infra.structured_logs import log_json
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.kpis.topology import KpiOptions, KpiTopology


def main() -> None:
    """Works until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log_json("kpis", "info")
    options = KpiOptions(
        kafka={"bootstrap.servers": sys.argv[1]},
        registry=BundledRegistry(),
        partitions=4,
        folder=Path(sys.argv[2]),
    )
    KpiTopology(options).run(stop)


if __name__ == "__main__":
    main()
