"""TCP ports of the processes that we start: free ones are picked once and remembered, taken ones are named."""

import itertools
import json
import os
import socket
from pathlib import Path

import psutil

from autopilot.infra.errors import MendableError

HOST = "127.0.0.1"
FIRST, _FEWEST, _APART = 12_000, 1_000, 101


def _first_of_the_system() -> int:
    """The first port of the range from which the system picks."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST


LAST = min(_first_of_the_system(), 30_000)
if LAST < FIRST + _FEWEST:
    LAST = FIRST
"""Up to here, and not the nodes' ports of a Kubernetes; none where the system leaves too few."""
_steps = itertools.count()


class PortInUseError(MendableError):
    """Something else listens on a port: free it, or choose another with the setting that is named."""

    def __init__(self, port: int, setting: str) -> None:
        super().__init__(f"port {port} on {HOST} is in use; free it, or choose another with `{setting}`")
        self.port = port
        self.setting = setting


def free_port() -> int:
    """A TCP port that nothing listens on at the moment, and that the system gives to nobody who asks for any port.

    From where it is picked until somebody listens on it, and while that one is down, a port of the system's own range
    may become one end of a connection of any process. Two processes that pick at once begin at different places.
    """
    span = LAST - FIRST
    for step in itertools.islice(_steps, span):
        port = FIRST + (os.getpid() * _APART + step) % span
        if is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((HOST, 0))
        given: int = sock.getsockname()[1]
        return given


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
        return True


def answers(port: int, timeout_s: float = 0.5, host: str = HOST) -> bool:
    """Whether something accepts connections on `port`."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def listens(pid: int, port: int) -> bool:
    """Whether the process `pid` listens on the TCP port `port`; no process has the pid 0."""
    try:
        connections = psutil.Process(pid).net_connections("tcp") if pid else []
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


def require_free(port: int, setting: str) -> None:
    """Raises `PortInUseError`, naming the setting, when the port is taken."""
    if not is_free(port):
        raise PortInUseError(port, setting)


class PortBook:
    """The ports of one home, by name: a port that is not chosen is picked once and kept in `ports.json`."""

    def __init__(self, home: Path) -> None:
        self._file = home / "ports.json"
        self._ports: dict[str, int] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def known(self, name: str, chosen: int = 0) -> int:
        """The chosen port, else the remembered one, else 0: nothing is picked."""
        return chosen or self._ports.get(name, 0)

    def port(self, name: str, chosen: int = 0) -> int:
        """The chosen port, else the remembered one, else a free one, which is remembered from now on."""
        port = self.known(name, chosen)
        if port:
            return port
        port = free_port()
        while port in self._ports.values():
            port = free_port()
        self._ports[name] = port
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._ports, indent=2, sort_keys=True) + "\n")
        return port
