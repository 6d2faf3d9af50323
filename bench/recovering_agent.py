"""One agent in its worker, as a process that the bench can kill: `BOOTSTRAP AGENT [--until-recovered]`.

With `--until-recovered` it prints seconds and folded records once its last partition is recovered, and ends.
"""

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog
from loop import five_agents

from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.worker import AgentWorker, WorkerOptions

PARTITIONS = 4


def main() -> None:
    """Works until it is killed, or recovered."""
    bootstrap, name, *flags = sys.argv[1:]
    stop, folded, started = threading.Event(), [], time.perf_counter()

    def recovered(_logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        if event["event"] == "partition recovered":
            folded.append(event["folded"])
            if flags and len(folded) == PARTITIONS:
                print(f"{time.perf_counter() - started:.3f} {sum(folded)}", flush=True)
                stop.set()
        raise structlog.DropEvent

    structlog.configure(processors=[recovered])
    agent = next(agent for agent in five_agents(PARTITIONS) if agent.name == name)
    options = WorkerOptions(
        kafka={"bootstrap.servers": bootstrap},
        registry=BundledRegistry(),
        partitions=PARTITIONS,
        instance=f"{name}-bench",
    )
    AgentWorker(agent, options).run(stop)


if __name__ == "__main__":
    main()
