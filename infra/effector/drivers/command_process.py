"""Running a program: no shell, a session and process group of its own, a time limit, the end of its output.

An effector that dies leaves its command running. A file for each target names the process that was started last, so
that the next effector waits for it and never runs two at once.
"""

import contextlib
import json
import os
import pwd
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from autopilot.infra.effector.port import DeniedError, MissingError, PermanentError, TransientError

GRACE_S = 2.0
"""How long a group that is ended is given before it is killed."""
POLL_S = 0.05
_READ_BYTES = 65_536
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Ended(NamedTuple):
    """How a program ended: its exit code, negative for a signal, None when its time was over; and its last output."""

    code: int | None
    output: str


class Surroundings(NamedTuple):
    """What a program runs in."""

    directory: Path
    environment: Mapping[str, str]
    user: str
    most_output: int


def run_program(
    arguments: Sequence[str], surroundings: Surroundings, timeout_s: float, note: Path | None = None
) -> Ended:
    """Runs it to its end, or ends its whole group when the time is over. `note` is where the process is noted.

    Raises `MissingError`, `DeniedError` or `PermanentError` when it cannot be started: nothing was done then.
    """
    if note is not None:
        _make_place(note.parent)
    process = _started(arguments, surroundings)
    try:
        if note is not None:
            _note(note, process.pid)
        output = _output(process, surroundings.most_output, time.monotonic() + timeout_s)
        code = process.poll()
        if code is None:
            end_group(process)
        return Ended(code, output.decode(errors="replace"))
    finally:
        if process.poll() is None:
            end_group(process)
        if process.stdout is not None:
            process.stdout.close()
        if note is not None:
            note.unlink(missing_ok=True)


def await_earlier(note: Path, until: float) -> None:
    """Waits for the command that a dead effector left running. Raises `TransientError` when it takes too long."""
    while (pid := _still_running(note)) is not None:
        if time.monotonic() > until:
            raise TransientError(f"an earlier command is still running there as process {pid}")
        time.sleep(POLL_S)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends every process of the group: politely, then not."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            if signal_number == signal.SIGTERM:
                _await_group(process.pid)


def _await_group(group: int) -> None:
    """Gives the rest of a group whose leader has ended the same time."""
    until = time.monotonic() + GRACE_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(POLL_S)


def _started(arguments: Sequence[str], surroundings: Surroundings) -> "subprocess.Popen[bytes]":
    program = Path(arguments[0])
    try:
        if program.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise DeniedError(f"{program} may be written by others than its owner, and is not run")
        return subprocess.Popen(
            arguments,
            cwd=surroundings.directory,
            env=dict(surroundings.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            user=surroundings.user or None,
            group=_group_of(surroundings.user) if surroundings.user else None,
            extra_groups=[] if surroundings.user else None,
        )
    except FileNotFoundError as error:
        raise MissingError(f"{error.filename or program} is not there") from None
    except PermissionError as error:
        raise DeniedError(f"{program} cannot be run: {error.strerror}") from None
    except (OSError, ValueError) as error:
        raise PermanentError(f"{program} cannot be run: {error}") from None


def _group_of(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_gid
    except KeyError:
        raise PermanentError(f"there is no user `{user}`") from None


def _output(process: "subprocess.Popen[bytes]", most: int, until: float) -> bytes:
    """The end of what it prints until it ends or the time is over, whichever is first.

    What it leaves behind may hold on to its output: that is not waited for.
    """
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < until:
            ended = process.poll() is not None
            part = _part(process.stdout.fileno()) if ended or selector.select(POLL_S) else None
            if part:
                kept = (kept + part)[-most:] if most else b""
            elif ended:
                break
            elif part == b"":
                time.sleep(POLL_S)
    return kept


def _part(descriptor: int) -> bytes | None:
    """What is there to be read; empty at the end, None when there is nothing yet."""
    try:
        return os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return None


def _make_place(folder: Path) -> None:
    """The folder of notes: ours, and to be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK)
    except OSError as error:
        raise DeniedError(f"{folder} cannot be made: {error.strerror}") from None
    if not ours:
        raise DeniedError(f"{folder} belongs to somebody else")


def _note(path: Path, pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        path.write_text(json.dumps({"pid": pid, "created": psutil.Process(pid).create_time()}))


def _still_running(path: Path) -> int | None:
    """The noted process, while it is there and the same one."""
    try:
        noted = json.loads(path.read_text())
        process = psutil.Process(int(noted["pid"]))
        alive = process.create_time() == noted["created"] and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process.pid if alive else None
