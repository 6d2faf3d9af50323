"""A server process of our own: started with a log file, waited for, and ended by its pid."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autopilot.infra.errors import MendableError


class ProcessError(MendableError):
    """A process ended, or did not become ready in time: the message says where its log is and how it ends."""


class ServerProcess:
    """One process, and the log file that takes all of its output."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Starts the process and returns once `ready()`.

        It has a session of its own, so that a terminal's interrupt does not reach it. Raises `ProcessError` when it
        ends first or the time is up; it is stopped then.
        """
        self._spawn()
        try:
            wait_until(ready, timeout_s, self.name, self._log, lambda: self.pid is not None)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_s: float = 30.0) -> None:
        """Asks the process to end, and ends it by force when it has not after `timeout_s`."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None

    def _spawn(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def wait_until(
    ready: Callable[[], bool], timeout_s: float, name: str, log: Path, alive: Callable[[], bool] = lambda: True
) -> None:
    """Polls `ready` five times a second. Raises `ProcessError` with the end of the log."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not alive():
            raise ProcessError(f"{name} ended; its log {log} ends with:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{name} was not ready within {timeout_s:.0f} s; its log {log} ends with:\n{tail(log)}")
        time.sleep(0.2)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - 16_384))
        return "\n".join(handle.read().decode(errors="replace").splitlines()[-lines:])
