"""The effector with a target made of files, as a process that a test can kill: `BOOTSTRAP FOLDER`.

A target is a file; each line is one effect. Acts take a while before and after the effect, so that kills hit them.
"""

import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autopilot.infra.effector.port import Applied, CrashClass, Difference, Driver, Observation
from autopilot.infra.effector.worker import EffectorWorker
from autopilot.schemas.events.planner import Action
from autopilot.schemas.registry import BundledRegistry

PAUSE_S = 0.03


class FileDriver(Driver):
    """`add` is witnessed by the number of lines, `blast` is blind, `set` makes the file have one line."""

    name = "fake"
    verbs: Mapping[str, CrashClass] = {
        "add": CrashClass.WITNESSED,
        "blast": CrashClass.BLIND,
        "set": CrashClass.CONVERGENT,
    }

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def observe(self, target: str) -> Observation:
        path = self._folder / target
        return Observation({"lines": str(len(path.read_text().splitlines()) if path.exists() else 0)})

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        lines = observation.state["lines"]
        return [] if lines == "1" else [Difference("lines", lines, "1")]

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float, /) -> Applied:
        if action.verb == "set" and not self.diff(action, self.observe(action.target)):
            return Applied(False, self.observe(action.target).state)
        time.sleep(PAUSE_S)
        with (self._folder / action.target).open("a") as file:
            file.write(key + "\n")
        time.sleep(PAUSE_S)
        return Applied(True, self.observe(action.target).state)

    def happened(self, action: Action, before: Mapping[str, str], observation: Observation) -> bool | None:
        return int(observation.state["lines"]) > int(before["lines"])


def main() -> None:
    """Works until it is told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = EffectorWorker(
        kafka={"bootstrap.servers": sys.argv[1]},
        registry=BundledRegistry(),
        partitions=4,
        drivers={"fake": FileDriver(Path(sys.argv[2]))},
        observe_every_s=0.5,
        snapshot_every=50,
    )
    worker.run(stop)


if __name__ == "__main__":
    main()
