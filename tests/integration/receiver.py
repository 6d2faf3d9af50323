"""An HTTP server that takes notifications, for tests of who is told what."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps what it is sent, and can be closed, slow or unwilling for a while."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.refusals: list[int] = []
        """What the next requests are answered with; 200 after them."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.refusals.pop(0) if receiver.refusals else 200
                if status == 200:
                    receiver.headers.append({**{k.lower(): v for k, v in self.headers.items()}, "raw": raw.decode()})
                    receiver.bodies.append({**json.loads(raw), "path": self.path})
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def ids(self) -> Counter[str]:
        """How often each notification came."""
        return Counter(headers["idempotency-key"] for headers in self.headers)

    def close(self) -> None:
        """Takes no more."""
        self._server.shutdown()
        self._server.server_close()
