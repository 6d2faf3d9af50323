"""Running a program: no shell, a session and process group of its own, a time limit, the end of its output.

An effector that dies leaves its command running, and the next one must never run a second beside it. Each target has a
file that is locked while a command runs; the command inherits the lock, and so holds it whenever its effector died. The
file also names the command, so that what a command that has ended leaves running does not count as the command.
"""

import contextlib
import fcntl
import json
import os
import pwd
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
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
    cut: bool
    """Whether it printed more than was kept."""


class Held(NamedTuple):
    """A target that is ours alone: its file, and the lock that the command inherits."""

    path: Path
    descriptor: int


class Surroundings(NamedTuple):
    """What a program runs in."""

    directory: Path
    environment: Mapping[str, str]
    user: str
    most_output: int


def run_program(
    arguments: Sequence[str], surroundings: Surroundings, timeout_s: float, held: Held | None = None
) -> Ended:
    """Runs it to its end, or ends its whole group when the time is over. `held` is the target that it changes.

    Raises `MissingError`, `DeniedError` or `PermanentError` when it cannot be started: nothing was done then.
    """
    process = _started(arguments, surroundings, held)
    try:
        if held is not None:
            _note(held.path, process.pid)
        output, cut = _output(process, surroundings.most_output, time.monotonic() + timeout_s)
        code = process.poll()
        if code is None:
            end_group(process)
        return Ended(code, output.decode(errors="replace"), cut)
    finally:
        if process.poll() is None:
            end_group(process)
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def alone(path: Path, until: float) -> Iterator[Held]:
    """Has the target of this file for itself, and waits for the command that a dead effector left running.

    Raises `TransientError` when that takes too long.
    """
    _make_place(path.parent)
    while (descriptor := _taken(path)) is None:
        if time.monotonic() > until:
            raise TransientError("an earlier command is still running there")
        time.sleep(POLL_S)
    try:
        yield Held(path, descriptor)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for what the command leaves running
        os.close(descriptor)


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


def _started(arguments: Sequence[str], surroundings: Surroundings, held: Held | None) -> "subprocess.Popen[bytes]":
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
            pass_fds=() if held is None else (held.descriptor,),
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


def _output(process: "subprocess.Popen[bytes]", most: int, until: float) -> tuple[bytes, bool]:
    """The end of what it prints until it ends or the time is over, whichever is first; and whether that is not all.

    What it leaves behind may hold on to its output: that is not waited for.
    """
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    kept, cut = b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < until:
            ended = process.poll() is not None
            part = _part(process.stdout.fileno()) if ended or selector.select(POLL_S) else None
            if part:
                kept += part
                cut, kept = cut or len(kept) > most, kept[-most:]
            elif ended:
                break
            elif part == b"":
                time.sleep(POLL_S)
    return kept, cut


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


@contextlib.contextmanager
def _one_by_one(folder: Path) -> Iterator[None]:
    """While files of the folder are made, locked and removed."""
    descriptor = os.open(folder / "guard", os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _taken(path: Path) -> int | None:
    """The locked file, or None while a command runs."""
    with _one_by_one(path.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
        runs = _still_running(path)
        try:
            if not runs:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.write_bytes(b"")
                return descriptor
        except BlockingIOError:
            if runs is False:  # the lock is held by what the command left running: it keeps a file of no name
                path.unlink()
        os.close(descriptor)
        return None


def _note(path: Path, pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        path.write_text(json.dumps({"pid": pid, "created": psutil.Process(pid).create_time()}))


def _still_running(path: Path) -> bool | None:
    """Whether the noted process is there and the same one. None when that is not known: then the lock alone tells."""
    try:
        noted = json.loads(path.read_bytes())
        pid, created = int(noted["pid"]), float(noted["created"])
    except (ValueError, KeyError, TypeError):
        return None
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return None
