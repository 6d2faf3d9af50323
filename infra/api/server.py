"""The process `projector`: follows the log in its main thread, and serves the views from another one."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from autopilot.infra.api.app import Source, create_app
from autopilot.infra.errors import MendableError
from autopilot.projections.catalogue import projections
from autopilot.projections.projector import Projector
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry

CLOSE_S = 20.0
"""How long requests that are under way may take to end."""


class NotServingError(MendableError):
    """The address cannot be listened on: free it, or choose another with `AUTOPILOT_API_PORT`."""


class ProjectorProcess:
    """The views of one folder, followed and served. It holds no producer and no key."""

    def __init__(
        self,
        *,
        kafka: Mapping[str, str],
        registry: SchemaRegistry,
        partitions: int,
        folder: Path,
        host: str,
        port: int,
        run: str = LIVE_RUN,
    ) -> None:
        known = projections(partitions)
        self._projector = Projector(kafka, registry, folder, known, run)
        self._closing = threading.Event()
        self._address = f"{host}:{port}"
        source = Source(known, self._projector.views, self._projector.ends, closing=self._closing.is_set)
        config = uvicorn.Config(
            create_app(source), host, port, log_config=None, access_log=False, timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`. Raises `NotServingError` when nothing can be served at the address."""
        thread = threading.Thread(target=self._serve, name="api", daemon=True)
        thread.start()
        try:
            self._await_start(thread, stop)
            self._projector.run(stop)
        finally:
            self._closing.set()
            self._server.should_exit = True
            thread.join(CLOSE_S)
            self._projector.close()

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # uvicorn's way of saying that it could not bind; `_await_start` says it to our caller
            return

    def _await_start(self, thread: threading.Thread, stop: threading.Event) -> None:
        """However long it takes: a busy machine is no reason to choose another address."""
        while not self._server.started and not stop.is_set():
            if not thread.is_alive():
                raise NotServingError(
                    f"`{self._address}` cannot be listened on: free it, or choose another with "
                    "`AUTOPILOT_API_HOST` and `AUTOPILOT_API_PORT`"
                )
            time.sleep(0.02)
