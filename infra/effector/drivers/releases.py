"""The release of a group as a pointer in a folder: `FOLDER/GROUP/current` and `FOLDER/GROUP/previous`.

A pointer is a symbolic link to a release beside it, or a file with the release's name; whichever form is there is kept.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from autopilot.infra.effector.port import DeniedError, MissingError, PermanentError, TargetError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_POINTERS = ("current", "previous")


@dataclass(frozen=True, slots=True)
class Releases:
    """The releases of one group."""

    folder: Path

    @property
    def current(self) -> str:
        """The release that processes take when they start; empty without a pointer."""
        return self._read("current")

    @property
    def previous(self) -> str:
        """The release before the current one; empty without a pointer."""
        return self._read("previous")

    @property
    def switched_s(self) -> int:
        """When the current pointer was set, in whole seconds since the epoch; 0 without one."""
        try:
            return int((self.folder / "current").lstat().st_mtime)
        except FileNotFoundError:
            return 0

    def check(self, release: str) -> None:
        """Raises unless `release` is a release that is there."""
        if not _NAME.fullmatch(release) or release in _POINTERS:
            raise PermanentError(f"`release` is `{release}`, expected the name of a release in {self.folder}")
        if not (self.folder / release).exists():
            raise MissingError(f"`release` is `{release}`, and there is none of that name in {self.folder}")

    def switch(self, release: str) -> None:
        """Points `current` to `release`, after `previous` to what was current. Each pointer is replaced at once."""
        current = self.current
        if current:
            self.restore("previous", current)
        self.restore("current", release)

    def restore(self, pointer: str, release: str) -> None:
        """Sets one of the pointers, `current` or `previous`; without a release it goes."""
        try:
            if release:
                self._write(pointer, release)
            else:
                (self.folder / pointer).unlink(missing_ok=True)
        except OSError as error:
            raise _write_error(error) from error

    def _read(self, pointer: str) -> str:
        path = self.folder / pointer
        try:
            return os.readlink(path).rpartition("/")[2] if path.is_symlink() else path.read_text().strip()
        except FileNotFoundError:
            return ""

    def _write(self, pointer: str, release: str) -> None:
        path = self.folder / pointer
        fresh = self.folder / f".{pointer}.new"
        fresh.unlink(missing_ok=True)
        if path.is_file() and not path.is_symlink():
            fresh.write_text(release + "\n")
        else:
            fresh.symlink_to(release)
        fresh.replace(path)


def _write_error(error: OSError) -> TargetError:
    kind = DeniedError if isinstance(error, PermissionError) else PermanentError
    return kind(f"the release cannot be switched: {error}")
