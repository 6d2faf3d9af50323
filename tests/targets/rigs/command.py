"""The command driver with real programs, which write down everything that they change."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from systems.command import Runbooks

from autopilot.infra.effector.drivers.command import CommandDriver, CommandSettings
from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action


def act(verb: str, target: str = "web", **parameters: str) -> Action:
    return Action(driver="command", verb=verb, target=target, parameters=parameters)


SET_SIZE = Case(
    act("set_size", size="3"),
    CrashClass.CONVERGENT,
    refused=({"size": "0"}, {"size": "10"}, {"size": "3; reboot"}, {}, {"size": "3", "force": "1"}),
)
RESTART = Case(act("restart"), CrashClass.WITNESSED, volatile=frozenset({"started"}))
ANNOUNCE = Case(act("announce", channel="ops"), CrashClass.BLIND, refused=({"channel": "--help"},))
FLAGS = {Fault.UNREACHABLE: "unavailable", Fault.TIMEOUT: "slow", Fault.PARTIAL: "half"}


class CommandRig:
    """Three programs, one of each class that a program can have."""

    name = "command"
    cases = (SET_SIZE, RESTART, ANNOUNCE)
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, system: Runbooks) -> None:
        self.system = system
        self.driver: Driver = driver_of(system.entry())
        self.entry: dict[str, Any] = system.entry()

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["CommandRig"]:
        """There is nothing to be started."""
        yield cls(Runbooks(folder))

    def reset(self, case: Case) -> None:
        """Size 1, all of it ready."""
        self.system.set("web", size=1, ready=1, started=1)

    def effects(self, case: Case) -> int:
        """Changes of the target."""
        return sum(f" {case.action.target} " in f"{line} " for line in self.system.history)

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.reset(SET_SIZE)
        if fault is Fault.DENIED:
            yield Provoked(SET_SIZE, self._without_the_right())
        elif fault is Fault.MISSING:
            yield Provoked(Case(act("set_size", "nowhere", size="3"), CrashClass.CONVERGENT))
        elif fault is Fault.CONFLICT:
            before = self.driver.observe("web")
            self.system.set("web", size=2, ready=2, started=1)
            yield Provoked(SET_SIZE, before=before)
        else:
            flag = FLAGS[fault]
            self.system.flag(flag, up=True)
            yield Provoked(SET_SIZE, timeout_s=2.0) if fault is Fault.TIMEOUT else Provoked(SET_SIZE)
            self.system.flag(flag, up=False)

    def _without_the_right(self) -> Driver:
        self.system.write("locked", "#!/bin/sh\n").chmod(0o600)
        entry = self.system.entry()
        entry["commands"]["set_size"]["run"][0] = str(self.system.folder / "locked")
        return driver_of(entry)


def driver_of(entry: dict[str, Any]) -> CommandDriver:
    """The driver of an entry of a targets file."""
    settings = {name: value for name, value in entry.items() if name != "driver"}
    return CommandDriver(CommandSettings.model_validate(settings))


RIG = CommandRig
