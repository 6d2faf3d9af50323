"""An HAProxy in front of the shop's checkouts: its configuration, started, reached and stopped."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

BACKEND = "be_checkout"
INSTALL = Path(__file__).resolve().parents[2] / "infra" / "targets" / "debian.sh"
MAX_SOCKET_PATH = 90
"""A unix socket's path may be 107 bytes long, and HAProxy binds it under a longer temporary name first."""

_CONFIG = """\
global
    stats socket {admin} mode 600 level admin
    stats socket {user} mode 600 level user
    log stdout format raw local0 notice

defaults
    mode http
    log global
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    option redispatch
    retries 2

frontend fe
    bind 127.0.0.1:{port}
    default_backend {backend}

backend {backend}
    balance roundrobin
    option httpchk GET /health
    http-check expect status 200
    http-response add-header x-server %s
    default-server inter 200ms fall 2 rise 1
{servers}
"""


class BalancerError(RuntimeError):
    """HAProxy did not come up; the message says why."""


class Balancer:
    """One HAProxy in the foreground. `servers` are name -> (port on this host, weight); those of weight 0 wait."""

    def __init__(self, folder: Path, port: int, servers: Mapping[str, tuple[int, int]]) -> None:
        self.port = port
        self._folder = folder
        self._servers = servers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin_socket(self) -> Path:
        """The stats socket through which it may be changed."""
        return self._socket("admin")

    @property
    def user_socket(self) -> Path:
        """The stats socket through which it may only be read."""
        return self._socket("user")

    @property
    def url(self) -> str:
        """The admin socket as the driver's settings name it."""
        return f"unix://{self.admin_socket}"

    @property
    def log(self) -> Path:
        """What HAProxy says of its servers' states."""
        return self._folder / "haproxy.log"

    def start(self, timeout_s: float = 60) -> None:
        """Installs HAProxy where it is missing, starts it and waits until it answers.

        Raises `BalancerError` when it does not come up; nothing of it is left then.
        """
        if shutil.which("haproxy") is None:
            subprocess.run([str(INSTALL), "haproxy"], check=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = (
            f"    server {name} 127.0.0.1:{port} weight {weight} check"
            for name, (port, weight) in self._servers.items()
        )
        config = self._folder / "haproxy.cfg"
        config.write_text(
            _CONFIG.format(
                admin=self.admin_socket,
                user=self.user_socket,
                port=self.port,
                backend=BACKEND,
                servers="\n".join(lines),
            )
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await_answers(self._process, time.monotonic() + timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it at once."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.admin_socket.unlink(missing_ok=True)
        self.user_socket.unlink(missing_ok=True)

    def _await_answers(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        while not (_answers(self.admin_socket) and _answers(self.user_socket)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BalancerError(f"haproxy did not come up: {self.log.read_text()[-1_000:]}")
            time.sleep(0.02)

    def _socket(self, level: str) -> Path:
        beside = self._folder / f"{level}.sock"
        if len(os.fsencode(beside)) <= MAX_SOCKET_PATH:
            return beside
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"haproxy-{os.getuid()}-{name}-{level}.sock"


def _answers(path: Path, timeout_s: float = 1) -> bool:
    """Whether HAProxy answers at a stats socket, whose file is there before anything listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(b"show version\n")
            return bool(connection.recv(64))
        except OSError:
            return False
