"""Processes of a demonstration, each in a session of its own with its log in a file."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from examples.shop.fleet import PROJECT

ENDS_WITHIN_S = 5


def start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a process in the project's folder, out of reach of the terminal's interrupts."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=PROJECT,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, by force when it takes too long."""
    process.terminate()
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
