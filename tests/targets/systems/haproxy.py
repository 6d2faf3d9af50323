"""A real HAProxy before small real servers, and a relay before its socket that notes each change and can misbehave."""

import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from urllib.request import urlopen

from autopilot.infra.platform.ports import free_port
from examples.canary.balancer import BACKEND, Balancer

DONE = ("", "New server registered.", "Server deleted.")
ANSWERS_WITHIN_S = 60.0
WEIGHTS = {"canary-1": 0, "stable-1": 1, "stable-2": 1}
SPARE = "spare-1"
"""A backend that HAProxy's configuration does not know."""
__all__ = ["BACKEND", "SPARE", "Backends", "Haproxy", "Relay", "haproxy"]


class Backends:
    """HTTP servers by name, each on a port of its own. A request for `/slow` is answered once it is `let_go`."""

    def __init__(self, names: list[str]) -> None:
        self.ports: dict[str, int] = {}
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._slow: SimpleQueue[str] = SimpleQueue()
        self._let_go = threading.Semaphore(0)
        for name in names:
            self.open(name)

    def slow_one(self) -> str:
        """Which server has got the next request for `/slow`, once one has."""
        return self._slow.get(timeout=ANSWERS_WITHIN_S)

    def let_go(self) -> None:
        """Lets one request for `/slow` be answered."""
        self._let_go.release()

    def open(self, name: str) -> None:
        """Lets a server listen again; nothing happens when it does."""
        if name not in self._servers:
            self._servers[name] = ThreadingHTTPServer(("127.0.0.1", self.ports.get(name, 0)), self._handler(name))
            self.ports[name] = self._servers[name].server_port
            threading.Thread(target=self._servers[name].serve_forever, args=(0.05,), daemon=True).start()

    def shut(self, name: str) -> None:
        """A server stops listening."""
        server = self._servers.pop(name)
        server.shutdown()
        server.server_close()

    def close(self) -> None:
        """Ends all."""
        for name in list(self._servers):
            self.shut(name)

    def _handler(self, name: str) -> type[BaseHTTPRequestHandler]:
        backends = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/slow":
                    backends._slow.put(name)
                    backends._let_go.acquire(timeout=ANSWERS_WITHIN_S)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler


class Relay:
    """Passes commands on to HAProxy's admin socket and notes those that changed something.

    HAProxy keeps no history of its weights, so that this is the history that its changes are counted by.
    """

    def __init__(self, path: Path, to: Path) -> None:
        self.path = path
        self.changes: list[str] = []
        self.deaf = False
        """Takes commands and never answers."""
        self.changes_left: int | None = None
        """Changes that are let through before connections are closed without an answer; None for any number."""
        self._to = to
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._held: list[socket.socket] = []
        self._deafness = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()

    def heal(self) -> None:
        """Behaves from here on."""
        with self._deafness:
            self.deaf, self.changes_left = False, None
            while self._held:
                self._held.pop().close()

    def ask(self, command: str) -> bytes:
        """What HAProxy answers to a command. Raises `OSError` while it does not listen."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as upstream:
            upstream.connect(str(self._to))
            upstream.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: upstream.recv(65_536), b""))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Whoever asks may have been killed, and HAProxy may be away: a command then goes without an answer."""
        with suppress(OSError), connection.makefile() as lines:
            command = lines.readline().strip()
            if command and not self._is_held(connection):
                self._pass_on(command, connection)
        if connection not in self._held:
            connection.close()

    def _is_held(self, connection: socket.socket) -> bool:
        with self._deafness:
            if self.deaf:
                self._held.append(connection)
            return self.deaf

    def _pass_on(self, command: str, connection: socket.socket) -> None:
        if self.changes_left is not None and self.changes_left <= 0:
            return
        answer = self.ask(command)
        if not command.startswith("show ") and answer.decode().strip() in DONE:
            self.changes.append(command)
            if self.changes_left is not None:
                self.changes_left -= 1
        connection.sendall(answer)


class Haproxy:
    """HAProxy with one canary that waits and two stable servers, and a fourth server that it does not know."""

    def __init__(self, folder: Path, weights: Mapping[str, int]) -> None:
        with ExitStack() as started:
            self.backends = Backends([*weights, SPARE])
            started.callback(self.backends.close)
            servers = {name: (self.backends.ports[name], weight) for name, weight in weights.items()}
            self.balancer = Balancer(folder, free_port(), servers)
            started.callback(self.balancer.stop)
            self.balancer.start()
            self.relay = Relay(folder / "relay.sock", self.balancer.admin_socket)
            started.callback(self.relay.close)
            self._ending = started.pop_all()

    @property
    def url(self) -> str:
        """Where the driver finds it: the relay."""
        return f"unix://{self.relay.path}"

    def get(self, path: str = "/") -> str:
        """The server that answered a request."""
        with urlopen(f"http://127.0.0.1:{self.balancer.port}{path}", timeout=ANSWERS_WITHIN_S) as response:
            server: str = response.headers["x-server"]
        return server

    def tell(self, command: str) -> str:
        """Says something to HAProxy past the relay, as another writer would."""
        return self.relay.ask(command).decode()

    def restart(self) -> None:
        """HAProxy as it is configured, and a relay that behaves."""
        self.balancer.stop()
        self.balancer.start()
        self.relay.heal()

    def __enter__(self) -> "Haproxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()


@contextmanager
def haproxy(weights: Mapping[str, int] = WEIGHTS) -> Iterator[Haproxy]:
    """A running one, in a folder with a short name, since a unix socket's path is short."""
    with tempfile.TemporaryDirectory(prefix="hp") as folder, Haproxy(Path(folder), weights) as running:
        yield running
