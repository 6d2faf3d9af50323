"""The clock: one `Tick` a second, broadcast. Two of them do no harm: the ids are equal and a late tick is ignored."""

import threading
import time
from collections.abc import Mapping

import structlog

from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.errors import StreamError
from autopilot.streams.publisher import Publisher

SECOND_US = 1_000_000

_log = structlog.get_logger("autopilot.clock")


class Clock:
    """Broadcasts the whole seconds of the wall clock as they pass."""

    def __init__(
        self, *, kafka: Mapping[str, str], registry: SchemaRegistry, partitions: int, run: str = LIVE_RUN
    ) -> None:
        self._publisher = Publisher(
            kafka=kafka,
            registry=registry,
            producer="clock",
            partitions=partitions,
            run=run,
            transactional_id="clock.broadcast",
        )

    def run(self, stop: threading.Event) -> None:
        """Ticks until `stop`. A second that could not be written in time is left out."""
        last_us = 0
        while not stop.is_set():
            now_us = time.time_ns() // 1_000
            at_us = now_us - now_us % SECOND_US
            if at_us > last_us:
                self._tick(at_us)
                last_us = at_us
            stop.wait((SECOND_US - time.time_ns() // 1_000 % SECOND_US) / SECOND_US)
        self._publisher.close()

    def _tick(self, at_us: int) -> None:
        try:
            self._publisher.broadcast(Draft(Tick(at_us=at_us), ""), at_us=at_us)
        except StreamError as error:
            _log.warning("a tick was not written", at_us=at_us, error=str(error) or repr(error))
