"""The supervisord driver at a real supervisord, which writes down every start and every stop."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from psutil import Process
from systems.supervisord import Supervised, supervised
from waiting import eventually

from autopilot.infra.effector.drivers.supervisord import SupervisordDriver, SupervisordSettings
from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action

LONG_AGO_S = 1_000_000_000
PROCESSES = frozenset({"pids", "started"})


def act(verb: str, target: str = "web", **parameters: str) -> Action:
    return Action(driver="supervisord", verb=verb, target=target, parameters=parameters)


def case(action: Action, crash_class: CrashClass, effects: int, refused: tuple[dict[str, str], ...] = ()) -> Case:
    return Case(action, crash_class, effects, volatile=PROCESSES, refused=refused)


RESTART = case(act("restart"), CrashClass.WITNESSED, 4)
SCALE = case(
    act("scale", count="3"),
    CrashClass.CONVERGENT,
    1,
    ({"count": "0"}, {"count": "4"}, {"count": "-1"}, {"count": "many"}, {}),
)
SHRINK = case(act("scale", count="1"), CrashClass.CONVERGENT, 1)
SWITCH = case(
    act("switch_release", release="v2"), CrashClass.CONVERGENT, 4, ({"release": "../v1"}, {"release": "current"}, {})
)


class SupervisordRig:
    """Two of the three processes of `web` run release v1. A restart is a stop and a start of each."""

    name = "supervisord"
    cases = (RESTART, SCALE, SHRINK, SWITCH)
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, system: Supervised) -> None:
        self.system = system
        self.driver: Driver = system.driver
        self.entry: dict[str, Any] = system.entry

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["SupervisordRig"]:
        """Starts the target."""
        with supervised() as system:
            yield cls(system)

    def reset(self, case: Case) -> None:
        """Points to v1 as if it had always been so, and has two processes run."""
        self._point("web", "v1")
        self._run("web", 2)

    def effects(self, case: Case) -> int:
        """Starts and stops."""
        return self.system.changes(case.action.target)

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.reset(RESTART)
        if fault is Fault.DENIED:
            yield Provoked(RESTART, self._another(f"http://127.0.0.1:{self.system.port}", password="guessed"))
        elif fault is Fault.MISSING:
            yield Provoked(case(act("restart", "nothing"), CrashClass.WITNESSED, 0))
        elif fault is Fault.UNREACHABLE:
            yield Provoked(RESTART, self._another(f"unix://{self.system.root}/nobody.sock"))
        elif fault is Fault.TIMEOUT:
            yield Provoked(case(act("scale", "slow", count="1"), CrashClass.CONVERGENT, 1), timeout_s=2.0)
        elif fault is Fault.CONFLICT:
            before = self.driver.observe("web")
            self._point("web", "v3")
            yield Provoked(SWITCH, before=before)
        else:
            yield from self._half_way()

    def _half_way(self) -> Iterator[Provoked]:
        """The second of two processes does not come up again."""
        whole = self.system.root / "whole"
        whole.touch()
        self._run("half", 2)
        pids = self.driver.observe("half").state["pids"].split(",")
        eventually(lambda: all(Process(int(pid)).name() == "sleep" for pid in pids), 60)  # and no longer a shell
        whole.unlink()
        yield Provoked(case(act("restart", "half"), CrashClass.WITNESSED, 4))
        whole.touch()

    def _another(self, url: str, password: str = "") -> Driver:
        return SupervisordDriver(SupervisordSettings(url=url, username="effector", password=password))

    def _run(self, group: str, count: int) -> None:
        wanted = act("scale", group, count=str(count))
        self.driver.apply(wanted, self.driver.observe(group), "reset", 60.0)

    def _point(self, group: str, release: str) -> None:
        folder = self.system.root / "releases" / group
        for pointer in ("current", "previous"):
            (folder / pointer).unlink(missing_ok=True)
        (folder / "current").symlink_to(release)
        os.utime(folder / "current", (LONG_AGO_S, LONG_AGO_S), follow_symlinks=False)


RIG = SupervisordRig
