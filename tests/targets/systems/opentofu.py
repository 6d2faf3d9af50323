"""OpenTofu with its state behind HTTP: a store with credentials, locks and every version that was written."""

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from autopilot.infra.effector.drivers.opentofu import OpentofuDriver, OpentofuSettings

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "infra" / "targets" / "opentofu" / "build.sh"
MODULE = ROOT / "examples" / "opentofu" / "web"
VARIABLES = "autopilot.auto.tfvars.json"
USER, PASSWORD = "autopilot", "state-secret"
BUILD_S = 900.0
DONE_WITHIN_S = 120.0

SOMEBODY_ELSES = json.dumps({"ID": "1234", "Operation": "OperationTypeApply", "Who": "somebody"}).encode()
BACKEND = """
terraform {{
  backend "http" {{
    address        = "{url}"
    lock_address   = "{url}"
    unlock_address = "{url}"
    username       = "autopilot"
    retry_max      = 0
  }}
}}
"""
BOUNDS = {
    "variables": {
        "replicas": {"type": "integer", "min": 1, "max": 6},
        "release": {"type": "string", "pattern": "v[0-9]+"},
    },
    "max_changes": 5,
    "max_deletions": 4,
}


class StateStore:
    """The server's side of the `http` backend: one document for each path, with the lock of whoever has it.

    `out_of_order` is a status that every call is answered with while it is set. After `locks_left` more locks, when it
    is set, somebody else has the lock.
    """

    def __init__(self) -> None:
        self.versions: dict[str, list[bytes]] = {}
        self.locks: dict[str, bytes] = {}
        self.out_of_order: int | None = None
        self.locks_left: int | None = None
        store, guard = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.handle_method
                raise AttributeError(name)

            def answer(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle_method(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                given = self.headers.get("Authorization", "")
                if given != f"Basic {expected}":
                    self.answer(403 if given else 401)
                    return
                with guard:
                    self.answer(*store.answer(self.command, self.path.partition("?")[0], body))

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of an answer."""
        if self.out_of_order is not None:
            return self.out_of_order, b""
        if method == "LOCK":
            return self._lock(path, body)
        if method == "UNLOCK":
            self.locks.pop(path, None)
        elif method == "POST":
            self.versions.setdefault(path, []).append(body)
        elif path not in self.versions:
            return 404, b""
        else:
            return 200, self.versions[path][-1]
        return 200, b""

    def _lock(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self.locks_left is not None:
            self.locks_left -= 1
        held = self.locks.get(path)
        if held is None and (self.locks_left is None or self.locks_left >= 0):
            self.locks[path] = body
            return 200, b""
        return 423, held or SOMEBODY_ELSES

    def stop(self) -> None:
        """Nobody answers any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Stops it, and keeps its port from being given to anybody who would answer there."""
        self.stop()
        with socket.socket() as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind(self._server.server_address)
            yield


class Infrastructure:
    """Configurations under one root: `web` (two replicas), `lost` (its store is gone)."""

    def __init__(self, folder: Path, binary: Path, store: StateStore) -> None:
        self.root = folder
        self.store = store
        self._binary = binary
        self._brought: dict[str, tuple[str, int]] = {}
        self.secret("password", PASSWORD)

    def secret(self, name: str, text: str) -> Path:
        """A file with a secret."""
        path = self.root / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def entry(self, password: str = "password", **odd: Any) -> dict[str, Any]:
        """The driver as an entry of the targets file."""
        return {
            "driver": "opentofu",
            "binary": str(self._binary),
            "root": str(self.root),
            "workspaces": dict.fromkeys(("web", "lost", "nothing"), BOUNDS),
            "environment_files": {"TF_HTTP_PASSWORD": str(self.root / password)},
            "lock_wait_s": DONE_WITHIN_S,
            "grace_s": 20.0,
            **odd,
        }

    def driver(self, password: str = "password", **odd: Any) -> OpentofuDriver:
        """A driver with that password."""
        settings = {name: value for name, value in self.entry(password, **odd).items() if name != "driver"}
        return OpentofuDriver(OpentofuSettings.model_validate(settings))

    def add(self, name: str, store: StateStore) -> None:
        """A configuration with its state in that store, applied as it is."""
        folder = self.root / name
        shutil.copytree(MODULE, folder)
        (folder / "backend.tf").write_text(BACKEND.format(url=f"{store.url}/{name}"))
        self.run(name, "init")
        self.run(name, "apply", "-auto-approve")

    def run(self, name: str, *arguments: str) -> None:
        """What a person does by hand."""
        environment = {"PATH": os.environ["PATH"], "TF_HTTP_PASSWORD": PASSWORD, "CHECKPOINT_DISABLE": "1"}
        command = [str(self._binary), *arguments, "-input=false", "-no-color"]
        done = subprocess.run(
            command,
            cwd=self.root / name,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DONE_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def set(self, name: str, **values: str | int) -> None:
        """Writes variables by hand."""
        path = self.root / name / VARIABLES
        known = {key: value for key, value in json.loads(path.read_text()).items() if key != "ready"}
        path.write_text(json.dumps(known | values))

    def bring(self, name: str, **values: str | int) -> None:
        """Sets variables and applies them, as a person would; nothing stands in the way of a next replica.

        What nobody has touched since it was brought there is left as it is.
        """
        self.set(name, **values)
        if self._brought.get(name) != self._touched(name):
            self.run(name, "apply", "-auto-approve")
            self._brought[name] = self._touched(name)

    def _touched(self, name: str) -> tuple[str, int]:
        return (self.root / name / VARIABLES).read_text(), self.changes(name)

    def changes(self, name: str) -> int:
        """How many versions of the state were written."""
        return len(self.store.versions.get(f"/{name}", []))


@contextmanager
def infrastructure(folder: Path) -> Iterator[Infrastructure]:
    """Builds OpenTofu if it is missing, and starts the store of states."""
    built = subprocess.run([str(BUILD)], stdout=subprocess.PIPE, text=True, timeout=BUILD_S, check=True)
    store, lost = StateStore(), StateStore()
    with ExitStack() as ending:
        ending.callback(store.stop)
        running = Infrastructure(folder, Path(built.stdout.strip()), store)
        try:
            running.add("web", store)
            running.add("lost", lost)
        finally:
            ending.enter_context(lost.gone())
        yield running
