"""Every rig under `rigs/`, by name: the modules there that have a driver's rig as `RIG`."""

import pkgutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from pathlib import Path
from typing import Protocol

from autopilot.infra.effector.rig import Rig


class RunnableRig(Rig, Protocol):
    """A rig that starts its target itself."""

    @classmethod
    def running(cls, folder: Path) -> AbstractContextManager["RunnableRig"]:
        """Starts the target, with an empty folder to keep things in, and stops it."""
        ...


def _found() -> Iterator[tuple[str, type[RunnableRig]]]:
    for module in pkgutil.iter_modules([str(Path(__file__).with_name("rigs"))]):
        rig = getattr(import_module(f"rigs.{module.name}"), "RIG", None)
        if rig is not None:
            yield module.name, rig


RIGS = dict(_found())


class OneRunning:
    """Starts the rig that is asked for, after it stopped the one before."""

    def __init__(self) -> None:
        self._name = ""
        self._rig: RunnableRig | None = None
        self._stack = ExitStack()
        self._failed: dict[str, Exception] = {}
        """What did not start is not started again for each of its tests: that would take hours."""

    def rig(self, name: str, folder: Path) -> RunnableRig:
        """The rig of that name, running."""
        if name in self._failed:
            raise RuntimeError(f"the target of `{name}` did not start before") from self._failed[name]
        if self._rig is None or name != self._name:
            self.stop()
            print(f"\nstarting the target of `{name}`", flush=True)
            try:
                self._rig = self._stack.enter_context(RIGS[name].running(folder))
            except Exception as error:
                self._failed[name] = error
                raise
            self._name = name
        return self._rig

    def stop(self) -> None:
        """Stops what runs."""
        self._stack.close()
        self._rig = None
