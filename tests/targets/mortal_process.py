"""The real effector as processes that die where they are told to: `BOOTSTRAP TARGETS_FILE CONTROL_FILE PARTITIONS`.

For each line of standard input there is one, forked from this process, which has loaded the code and does nothing else.
Its process id is printed and, when it has ended, its exit code, negative when a signal has ended it; what it says goes
to standard error.

The control file names a point, or is not there. Whoever reaches the point takes the file away and dies by SIGKILL, so
that nothing of the process is left but the log and the target.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.port import Driver
from autopilot.infra.effector.worker import EffectorWorker
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.record import EVENT_TYPE, Outgoing

BEFORE_INTENT = "before intent"
AFTER_INTENT = "after intent"
MID_EFFECT = "mid effect"
AFTER_EFFECT = "after effect"
BEFORE_RESULT = "before result"
POINTS = (BEFORE_INTENT, AFTER_INTENT, MID_EFFECT, AFTER_EFFECT, BEFORE_RESULT)

_RESULTS = {b"StepSucceeded", b"StepFailed", b"StepIndeterminate"}


class Control:
    """Where this process is to die."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def reach(self, point: str) -> None:
        """Dies if this is the point."""
        if self.at(point):
            self._path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def at(self, point: str) -> bool:
        """Whether this is the point."""
        return self._path.exists() and self._path.read_text() == point


class MortalWorker(EffectorWorker):
    """The effector, save that it may die before or after it writes."""

    def __init__(self, control: Control, **options: Any) -> None:
        super().__init__(**options)
        self._control = control

    def _commit(self, number: int, outgoing: Sequence[Outgoing], consumer: Consumer) -> None:
        kinds = {out.headers.get(EVENT_TYPE) for out in outgoing}
        if b"StepStarted" in kinds:
            self._control.reach(BEFORE_INTENT)
        if kinds & _RESULTS:
            self._control.reach(BEFORE_RESULT)
        super()._commit(number, outgoing, consumer)
        if b"StepStarted" in kinds:
            self._control.reach(AFTER_INTENT)


def make_mortal(driver: Driver, control: Control) -> Driver:
    """The driver, save that its acts end in death when that is the point.

    In the middle of its effect nobody can die by himself: whoever watches the target kills the process when the target
    shows the first of it, and in case that is late, the act does not return.
    """

    def mortal(act: Callable[..., Any]) -> Callable[..., Any]:
        def acts(*arguments: Any) -> Any:
            applied = act(*arguments)
            control.reach(AFTER_EFFECT)
            while control.at(MID_EFFECT):
                time.sleep(0.05)
            return applied

        return acts

    for name in ("apply", "revert"):
        setattr(driver, name, mortal(getattr(driver, name)))
    return driver


def main() -> None:
    """See the module."""
    read_drivers(Path(sys.argv[2]))
    while sys.stdin.readline():
        pid = os.fork()
        if not pid:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            work(*sys.argv[1:5])
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def work(bootstrap: str, targets: str, control_file: str, partitions: str) -> None:
    """One effector: until SIGTERM, or until its point."""
    control = Control(Path(control_file))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    drivers = {name: make_mortal(driver, control) for name, driver in read_drivers(Path(targets)).items()}
    MortalWorker(
        control,
        kafka={"bootstrap.servers": bootstrap},
        registry=BundledRegistry(),
        partitions=int(partitions),
        drivers=drivers,
    ).run(stop)


if __name__ == "__main__":
    main()
