"""A real HTTP service that does things when it is asked to, keeps what it did, and can misbehave.

It knows two endpoints: `runbooks`, where every key is kept and can be looked up, and `legacy`, which keeps none. Both
hold a `ring`, check signatures and bearer tokens, and refuse what was asked for about another ring than there is.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from autopilot.infra.webhook_signature import is_authentic

SECRET = "whsec_" + "c2lnbmVkIGJ5IHRoZSBhdXRvcGlsb3Q="
KEY_BYTES = b"signed by the autopilot"
TOKEN = "token-of-the-effector"
DEFAULT = "default"
KEYED, BLIND = "runbooks", "legacy"
RINGS = ("default", "canary", "wide")
RUNNING = "running"
ANSWERS_WITHIN_S = 60.0


class Misbehaviour:
    """How the service behaves for a while."""

    def __init__(self) -> None:
        self.silent = False
        """Whether a call is carried out and not answered, as long as the service is up."""
        self.background = False
        """Whether a call runs on after its answer, until it is `finished`."""
        self.partial = False
        """Whether a call gets half way."""
        self.status = 0
        """What every call is answered with, though it was carried out; 0 for the truth."""
        self.drop = False
        """Whether the connection is broken off after a call was carried out."""


class WebhookService:
    """The service on a free port. `history` has every change by endpoint, `requests` every call as it came."""

    def __init__(self, folder: Path) -> None:
        self.secret_file, self.token_file = folder / "secret", folder / "token"
        self.secret_file.write_text(SECRET)
        self.token_file.write_text(TOKEN)
        self.mode = Misbehaviour()
        self.rings = {KEYED: DEFAULT, BLIND: DEFAULT}
        self.history: dict[str, list[str]] = {KEYED: [], BLIND: []}
        self.requests: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def entry(self, url: str = "", secret_file: Path | None = None) -> dict[str, Any]:
        """The driver's entry of a targets file."""
        url = url or self.url
        ring = "|".join(RINGS)
        common = {
            "state_fields": ["ring"],
            "secret_file": str(secret_file or self.secret_file),
            "token_file": str(self.token_file),
            "timeout_s": ANSWERS_WITHIN_S,
        }
        keyed = {
            "url": f"{url}/call/{KEYED}",
            "lookup_url": f"{url}/runs",
            "state_url": f"{url}/state/{KEYED}",
            "actions": {
                "set_ring": {"parameters": {"ring": ring}, "sets": {"ring": "{ring}"}, "undo": "restore"},
                "restore": {"sets": {"ring": DEFAULT}},
            },
            **common,
        }
        blind = {
            "url": f"{url}/call/{BLIND}",
            "state_url": f"{url}/state/{BLIND}",
            "actions": {"rotate": {"parameters": {"ring": ring}}},
            **common,
        }
        return {"driver": "webhook", "name": "webhook", "endpoints": {KEYED: keyed, BLIND: blind}}

    def close(self) -> None:
        """Stops listening."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    # -- what is asked -----------------------------------------------------------------------------------------------

    def called(self, endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Does what is asked, once for each key where keys are kept."""
        with self._lock:
            self.requests.append(body)
            key = body["idempotency_key"]
            if endpoint == KEYED and key in self.runs:
                return 200, self.runs[key]
            if body["before"]["ring"] != self.rings[endpoint] and "undoes" not in body:
                return 409, {"reason": f"the ring is {self.rings[endpoint]}"}
            answer = self._do(endpoint, body)
            if endpoint == KEYED:
                self.runs[key] = answer
        if self.mode.silent:
            self._closing.wait()
        return 200, answer

    def finished(self) -> None:
        """What runs on is done now."""
        with self._lock:
            running = [key for key, run in self.runs.items() if run["status"] == RUNNING]
            self.runs |= {key: {"status": "done"} for key in running}

    def _do(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["parameters"].get("ring", DEFAULT)
        if "undoes" in body:
            wanted = body["before"]["ring"]
        self.history[endpoint].append(f"{body['action']} {self.rings[endpoint]} -> {wanted}")
        if self.mode.partial:
            return {"status": "partial", "reason": "two of three hosts"}
        self.rings[endpoint] = wanted
        return {"status": RUNNING if self.mode.background else "done", "changed": True}


def _handler(service: WebhookService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            where, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                self._say(401, {"reason": "no token"})
            elif where.path == "/runs":
                known = service.runs.get(query["key"][0])
                self._say(404 if known is None else 200, known or {})
            else:
                self._say(200, {"ring": service.rings[where.path.rsplit("/", 1)[1]], "uptime_s": time.monotonic()})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if not is_authentic(KEY_BYTES, headers, body, int(time.time())):
                self._say(401, {"reason": "the signature is not right"})
                return
            content = json.loads(body)
            assert content["idempotency_key"] == headers["idempotency-key"] == headers["webhook-id"]
            endpoint = self.path.rsplit("/", 1)[1]
            known = endpoint in service.rings
            status, answer = service.called(endpoint, content) if known else (404, {"reason": "no such runbook"})
            if service.mode.drop:
                self.close_connection = True
                self.connection.close()
            else:
                self._say(service.mode.status or status, answer)

        def _say(self, status: int, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def webhook_service(folder: Path) -> Iterator[WebhookService]:
    """The service, until the context is left. Its secrets are kept in the folder."""
    service = WebhookService(folder)
    try:
        yield service
    finally:
        service.close()
