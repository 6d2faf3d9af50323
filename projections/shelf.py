"""Where a projection's store stands on disk, and how another takes its place in one step.

`FOLDER/NAME/vVERSION/` holds numbered generations, each one RocksDB, and the file `current`, which names the one that
is served. A rebuild works in a folder of its own; once that is whole, `current` is replaced, which is atomic. A build
that was killed is swept away by the next one.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from autopilot.projections.projection import Projection


class RebuildUnderWayError(RuntimeError):
    """Another process rebuilds the projection: wait for it."""


class Shelf:
    """The generations of one projection's rows in their present version."""

    def __init__(self, folder: Path, projection: Projection) -> None:
        self.name = projection.name
        self.path = folder / projection.name / f"v{projection.version}"
        self._pointer = self.path / "current"

    def generation(self) -> int:
        """The number of the generation that is served; 0 when there is none."""
        try:
            return int(self._pointer.read_text())
        except FileNotFoundError:
            return 0

    def current(self) -> Path:
        """The folder of the generation that is served; the first one is begun when there is none."""
        number = self.generation()
        if not number:
            number = 1
            self._point_to(number)
        return self._of(number)

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A new folder to build in; on leaving without an error it is served.

        Raises `RebuildUnderWayError` when another process builds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "rebuild.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RebuildUnderWayError(f"`{self.name}` is being rebuilt by another process") from None
            build = self.path / "build"
            shutil.rmtree(build, ignore_errors=True)
            yield build
            number = max([self.generation(), *self._numbers()]) + 1
            build.rename(self._of(number))
            self._point_to(number)

    def sweep(self) -> None:
        """Removes the generations before the one that is served. For whoever holds that one open."""
        serving = self.generation()
        for number in self._numbers():
            if number < serving:
                shutil.rmtree(self._of(number), ignore_errors=True)

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self.path.iterdir() if path.name.isdecimal()] if self.path.exists() else []

    def _of(self, number: int) -> Path:
        return self.path / f"{number:06}"

    def _point_to(self, number: int) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        fresh = self._pointer.with_suffix(".next")
        with fresh.open("w") as file:
            file.write(f"{number}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._pointer)
