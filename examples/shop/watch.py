"""Watching the log while it grows: what is told there is passed on at once, and can be waited for with a deadline."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.reader import read

Told = Recorded[Any]


class NotSeenError(RuntimeError):
    """What was waited for did not happen in time, or what rules it out did: the message says which."""


class LogWatch:
    """The events of the log but for ticks, in the order in which they were read; `tell` is called with each."""

    def __init__(self, kafka: Mapping[str, str], registry: SchemaRegistry, tell: Callable[[Told], None]) -> None:
        self.events: list[Told] = []
        self.instances: set[tuple[str, str]] = set()
        """Service and instance of everything whose telemetry came in."""
        self._tell = tell
        self._grown = threading.Condition()
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=self._follow, args=(kafka, registry, topic), daemon=True)
            for topic in (Topic.LOG, Topic.TELEMETRY)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends the reading, which notices with the next tick of each topic."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(3)

    def wait(
        self,
        what: str,
        is_it: Callable[[Told], bool],
        since: int,
        timeout_s: float,
        against: Callable[[Told], str] = lambda _: "",
    ) -> Told:
        """The first event from index `since` on that `is_it`.

        Raises `NotSeenError` when the time is up, or as soon as `against` gives a reason why it will not come.
        """
        deadline, seen = time.monotonic() + timeout_s, since
        with self._grown:
            while True:
                for told in self.events[seen:]:
                    if is_it(told):
                        return told
                    if reason := against(told):
                        raise NotSeenError(f"{what} is ruled out: {reason}")
                seen = len(self.events)
                self._pause(deadline, f"{what} did not happen within {timeout_s:.0f} s")

    def wait_for_instances(self, wanted: set[tuple[str, str]], timeout_s: float) -> None:
        """Returns once telemetry of every instance came in. Raises `NotSeenError`."""
        deadline = time.monotonic() + timeout_s
        with self._grown:
            while missing := wanted - self.instances:
                names = ", ".join(sorted(instance for _, instance in missing))
                self._pause(deadline, f"no telemetry of {names} came within {timeout_s:.0f} s")

    def _pause(self, deadline: float, complaint: str) -> None:
        if self._failure is not None:
            raise NotSeenError(f"the log cannot be read: {self._failure}")
        left = deadline - time.monotonic()
        if left <= 0:
            raise NotSeenError(complaint)
        self._grown.wait(min(left, 0.5))

    def _follow(self, kafka: Mapping[str, str], registry: SchemaRegistry, topic: Topic) -> None:
        try:
            for told in read(kafka, registry, topic, types=EVENT_TYPES.values(), follow=True):
                if self._stopped.is_set():
                    return
                self._take(told)
        except Exception as error:  # a thread has nobody to raise to: the next waiting raises it
            self._failure = error

    def _take(self, told: Told) -> None:
        with self._grown:
            if isinstance(told.payload, TelemetryBatch):
                ids = {series.attributes.get("service.instance.id", "") for series in told.payload.series}
                self.instances |= {(told.envelope.service, instance) for instance in ids}
            elif told.position.topic == Topic.LOG and not isinstance(told.payload, Tick):
                self.events.append(told)
                self._tell(told)
            self._grown.notify_all()
