"""The policy, a shadow host or the approval gateway as a process that a test can kill: `NAME BOOTSTRAP [PORT_FILE]`."""

import signal
import sys
import threading
from pathlib import Path

from governed import PARTITIONS, POLICY

from autopilot.agents.policy import PolicyAgent
from autopilot.infra.approval_gateway import ApprovalGateway
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.shadow import ShadowHost
from autopilot.streams.trust import SIGNS
from autopilot.streams.worker import AgentWorker, WorkerOptions


def main() -> None:
    """Works until SIGTERM."""
    name, bootstrap = sys.argv[1:3]
    kafka = {"bootstrap.servers": bootstrap}
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if name == "gateway":
        gateway = ApprovalGateway(
            kafka=kafka, registry=BundledRegistry(), partitions=PARTITIONS, host="127.0.0.1", port=0
        )
        threading.Thread(target=_tell_port, args=(gateway, Path(sys.argv[3])), daemon=True).start()
        gateway.run(stop)
        return
    options = WorkerOptions(
        kafka=kafka,
        registry=BundledRegistry(),
        partitions=PARTITIONS,
        instance=f"{name}-0",
        key=POLICY if name == "policy" else None,
        signs=SIGNS.get(name, frozenset()),
        snapshot_every=15,
    )
    worker = AgentWorker(PolicyAgent(), options) if name == "policy" else ShadowHost(options)
    worker.run(stop)


def _tell_port(gateway: ApprovalGateway, file: Path) -> None:
    gateway.ready.wait(30)
    draft = file.with_suffix(".new")
    draft.write_text(str(gateway.port))
    draft.replace(file)


if __name__ == "__main__":
    main()
