"""A process that is killed and comes back, as a test's part of a crash."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Killable:
    """A Python program that runs from the beginning on; what it prints goes to `log`, or nowhere."""

    def __init__(
        self, program: Path, *arguments: str, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        self._command = [sys.executable, str(program), *arguments]
        self._env = {**os.environ, **(env or {})}
        self._output = log or Path(os.devnull)
        self._start()

    def _start(self) -> None:
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(self._command, env=self._env, stdout=output, stderr=output)

    def kill(self) -> None:
        """SIGKILL, and a new start."""
        self.process.kill()
        self.process.wait()
        self._start()

    def stop(self) -> None:
        """Ends it, by force when it does not within its time."""
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
