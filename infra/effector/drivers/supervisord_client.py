"""XML-RPC to a supervisord, over its unix socket or HTTP, with every fault as an error of the port."""

import base64
import http.client
import socket
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from autopilot.infra.effector.port import (
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)

CALL_TIMEOUT_S = 8.0

SHUTDOWN_STATE = 6
BAD_NAME = 10
NO_FILE = 20
NOT_EXECUTABLE = 21
FAILED = 30
ABNORMAL_TERMINATION = 40
SPAWN_ERROR = 50
ALREADY_STARTED = 60
NOT_RUNNING = 70

_FAULTS: dict[int, type[TargetError]] = {
    SHUTDOWN_STATE: TransientError,
    BAD_NAME: MissingError,
    FAILED: TransientError,
    NO_FILE: PermanentError,
    NOT_EXECUTABLE: PermanentError,
    ABNORMAL_TERMINATION: PermanentError,
    SPAWN_ERROR: PermanentError,
}


class Process(NamedTuple):
    """One process as supervisord sees it. `start` is in whole seconds since the epoch, 0 before the first one."""

    group: str
    name: str
    state: str
    pid: int
    start: int

    @property
    def full_name(self) -> str:
        """The name by which supervisord is asked about it."""
        return f"{self.group}:{self.name}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CALL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CALL_TIMEOUT_S)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """One call, one connection: a driver is used from several threads and a socket here costs next to nothing."""

    def __init__(self, url: str, username: str, password: str) -> None:
        headers = []
        if username:
            token = base64.b64encode(f"{username}:{password}".encode()).decode()
            headers.append(("Authorization", f"Basic {token}"))
        super().__init__(headers=headers)
        self._url = urlsplit(url)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._url.scheme == "unix":
            connection: http.client.HTTPConnection = _UnixConnection(self._url.path)
        else:
            connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=CALL_TIMEOUT_S)
        self._connection = (host, connection)  # where the base class looks for what it is to close
        return connection


class SupervisordClient:
    """The few calls that the driver needs. `url` is `unix:///path/to/socket` or `http://host:port`.

    `password` is asked for with each call, and may raise errors of the port.
    """

    def __init__(self, url: str, username: str, password: Callable[[], str]) -> None:
        self._url = url
        self._username = username
        self._password = password

    def processes(self) -> list[Process]:
        """Every process that this supervisord looks after."""
        with self._server() as server:
            found: Any = server.supervisor.getAllProcessInfo()
        return [Process(p["group"], p["name"], p["statename"], int(p["pid"]), int(p["start"])) for p in found]

    def process(self, full_name: str) -> Process:
        """One process."""
        with self._server() as server:
            p: Any = server.supervisor.getProcessInfo(full_name)
        return Process(p["group"], p["name"], p["statename"], int(p["pid"]), int(p["start"]))

    def start(self, full_name: str) -> None:
        """Asks for a process to be started, without waiting; nothing happens when it is started already."""
        self._unless(ALREADY_STARTED, "startProcess", full_name)

    def stop(self, full_name: str) -> None:
        """Asks for a process to be stopped, without waiting; nothing happens when it does not run."""
        self._unless(NOT_RUNNING, "stopProcess", full_name)

    def _unless(self, harmless: int, method: str, full_name: str) -> None:
        with self._server() as server:
            try:
                getattr(server.supervisor, method)(full_name, False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != harmless:
                    raise

    @contextmanager
    def _server(self) -> Iterator[xmlrpc.client.ServerProxy]:
        transport = _Transport(self._url, self._username, self._password())
        try:
            with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport) as server:
                yield server
        except xmlrpc.client.Fault as fault:
            raise _FAULTS.get(fault.faultCode, PermanentError)(f"supervisord: {fault.faultString}") from None
        except xmlrpc.client.ProtocolError as error:
            kind = DeniedError if error.errcode in (401, 403) else TransientError
            raise kind(f"supervisord at {self._url} answers {error.errcode} {error.errmsg}") from None
        except TimeoutError:
            raise TargetTimeoutError(
                f"supervisord at {self._url} does not answer within {CALL_TIMEOUT_S:.0f} s"
            ) from None
        except PermissionError as error:
            raise DeniedError(f"supervisord at {self._url}: {error.strerror}") from None
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"supervisord at {self._url} cannot be reached: {error}") from None
