"""HAProxy's runtime API over its stats socket: one connection for each command, every refusal as an error of the port.

See the management guide of HAProxy, section 9.3. Reading needs the socket's level `user`, changing needs `admin`.
"""

import csv
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_DONE = frozenset({"", "New server registered.", "Server deleted."})
"""What HAProxy says to a change that it has made."""
_REFUSALS: Sequence[tuple[str, type[TargetError]]] = (
    ("Permission denied", DeniedError),
    ("No such backend", MissingError),
    ("No such server", MissingError),
    ("Can't find backend", MissingError),
    ("Already exists a server", ConflictError),
    ("Server still has connections", TransientError),
)
"""How an answer begins -> what it means; any other is permanent."""
_MAINT = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
_DRAIN = 0x08 | 0x10
_RUNNING = 2
READY, DRAIN, MAINT = "ready", "drain", "maint"
_STATES = frozenset({READY, DRAIN, MAINT})


class Row(NamedTuple):
    """One server of a backend as HAProxy has it. `initial` is its configured weight, `sessions` its open requests."""

    name: str
    address: str
    state: str
    up: bool
    weight: int
    initial: int
    sessions: int


class _NoAnswerError(Exception):
    """The command was sent, and nothing came back."""


class HaproxyClient:
    """The few commands that the driver needs. `url` is `unix:///path/to/socket` or `tcp://host:port`."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._url = url
        self._path = parts.path if parts.scheme == "unix" else ""
        self._host = (parts.hostname or "", parts.port or 0)
        self._timeout_s = timeout_s

    def servers(self, backend: str) -> list[Row]:
        """The servers of a backend, by name: HAProxy's own numbers change when a server is taken out and put back."""
        header, *rows = self._read(f"show servers state {checked(backend, 'target')}").splitlines()[1:]
        columns = header.removeprefix("# ").split()
        found = [dict(zip(columns, row.split(), strict=False)) for row in rows if row]
        draining = any(int(one["srv_admin_state"]) & _DRAIN for one in found)
        sessions = self._sessions(backend) if draining else {}
        found.sort(key=lambda one: one["srv_name"])
        return [_row(one, sessions.get(one["srv_name"], 0)) for one in found]

    def set_weight(self, backend: str, server: str, weight: int) -> None:
        """Sets a weight, 0 to 256."""
        self._change(f"set weight {checked(backend, 'target')}/{checked(server)} {weight}")

    def set_state(self, backend: str, server: str, state: str) -> None:
        """Sets the administrative state: `ready`, `drain` or `maint`."""
        assert state in _STATES
        self._change(f"set server {checked(backend, 'target')}/{checked(server)} state {state}")

    def add(self, backend: str, server: str, address: str, weight: int, check: str) -> None:
        """Adds a server, in maintenance. `check` is empty, or the options of its health check."""
        name = f"{checked(backend, 'target')}/{checked(server)}"
        self._change(f"add server {name} {checked(address, 'address')} weight {weight} {check}".rstrip())

    def enable_check(self, backend: str, server: str) -> None:
        """Starts the health check of a server that was added with one."""
        self._change(f"enable health {checked(backend, 'target')}/{checked(server)}")

    def delete(self, backend: str, server: str) -> None:
        """Takes a server out that is in maintenance and has no connection left."""
        self._change(f"del server {checked(backend, 'target')}/{checked(server)}")

    def _sessions(self, backend: str) -> dict[str, int]:
        text = self._read(f"show stat {checked(backend, 'target')} 4 -1").removeprefix("# ")
        return {row["svname"]: int(row["scur"] or 0) for row in csv.DictReader(text.splitlines())}

    def _read(self, command: str) -> str:
        try:
            answer = self._ask(command)
        except _NoAnswerError as error:
            raise TransientError(str(error)) from None
        if not answer.startswith(("1\n", "# ")):
            raise _refused(command, answer.strip())
        return answer

    def _change(self, command: str) -> None:
        try:
            answer = self._ask(command).strip()
        except _NoAnswerError as error:
            raise TargetTimeoutError(f"{error}, and may have done it") from None
        if answer not in _DONE:
            raise _refused(command, answer)

    def _ask(self, command: str) -> str:
        try:
            with self._connect() as connection:
                return self._talk(connection, command)
        except TimeoutError:
            raise TargetTimeoutError(f"haproxy at {self._url} does not answer within {self._timeout_s:g} s") from None
        except PermissionError as error:
            raise DeniedError(f"haproxy at {self._url}: {error.strerror}") from None
        except OSError as error:
            raise TransientError(f"haproxy at {self._url} cannot be reached: {error}") from None

    def _talk(self, connection: socket.socket, command: str) -> str:
        connection.sendall(command.encode() + b"\n")
        try:
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionError:
            answer = b""
        if not answer:
            raise _NoAnswerError(f"haproxy at {self._url} closed the connection without an answer")
        return answer.decode()

    def _connect(self) -> socket.socket:
        if not self._path:
            return socket.create_connection(self._host, timeout=self._timeout_s)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection


def checked(name: str, field: str = "server") -> str:
    """A name or an address, as it may stand in a command: several commands on one line are told apart by signs."""
    if not _NAME.fullmatch(name):
        raise PermanentError(f"`{field}` is `{name}`, expected letters, digits and any of `_.:-`")
    return name


def _refused(command: str, answer: str) -> TargetError:
    first = answer.splitlines()[0] if answer else "nothing"
    kind = next((kind for beginning, kind in _REFUSALS if answer.startswith(beginning)), PermanentError)
    return kind(f"haproxy answers to `{command}`: {first}")


def _row(columns: dict[str, str], sessions: int) -> Row:
    admin = int(columns["srv_admin_state"])
    return Row(
        name=columns["srv_name"],
        address=f"{columns['srv_addr']}:{columns['srv_port']}",
        state=MAINT if admin & _MAINT else DRAIN if admin & _DRAIN else READY,
        up=int(columns["srv_op_state"]) == _RUNNING,
        weight=int(columns["srv_uweight"]),
        initial=int(columns["srv_iweight"]),
        sessions=sessions,
    )
