"""Watching the log while it grows: what happened in an incident, waited for with a deadline."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.planner import IncidentOpened
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.telemetry import MeasurementRequested, TelemetryBatch
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.reader import read

Told = Recorded[Any]
_QUIET = (Tick, TelemetryBatch, MeasurementRequested)
"""Events that are too many to be kept."""


class NotSeenError(RuntimeError):
    """What was waited for did not happen in time, or what rules it out did: the message says which."""


class LogWatch:
    """The events of the log since the watch began, in the order in which they were read."""

    def __init__(self, kafka: Mapping[str, str], registry: SchemaRegistry) -> None:
        self.events: list[Told] = []
        self.instances: set[tuple[str, str]] = set()
        """Service and instance of everything whose telemetry came in."""
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
        """Ends the reading; it notices with the next record of each topic, ticks among them."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(3)

    def named(self, name: str) -> list[Told]:
        """The events of one type."""
        return [told for told in list(self.events) if told.event.type == name]

    def of_incident(self, incident_id: str, *names: str) -> list[Told]:
        """The incident's events, only of the types named if any are."""
        return [
            told
            for told in list(self.events)
            if told.envelope.correlation_id == incident_id and (not names or told.event.type in names)
        ]

    def opened_since(self, index: int, service: str) -> str:
        """The id of the incident that was opened about `service` after `index`; empty while there is none."""
        for told in self.events[index:]:
            if isinstance(told.payload, IncidentOpened) and told.envelope.service == service:
                return told.payload.incident_id
        return ""

    def wait(self, what: str, found: Callable[[], bool], timeout_s: float, against: Callable[[], str] = str) -> None:
        """Returns once `found`. Raises `NotSeenError` when the time is up, or as soon as `against` says why not."""
        deadline = time.monotonic() + timeout_s
        with self._grown:
            while not found():
                if self._failure is not None:
                    raise NotSeenError(f"the log cannot be read: {self._failure}")
                if reason := against():
                    raise NotSeenError(f"{what} is ruled out: {reason}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotSeenError(f"{what} did not happen within {timeout_s:.0f} s")
                self._grown.wait(min(left, 0.5))

    def _follow(self, kafka: Mapping[str, str], registry: SchemaRegistry, topic: Topic) -> None:
        try:
            for told in self._read(kafka, registry, topic):
                if self._stopped.is_set():
                    return
                self._take(told)
        except Exception as error:  # a thread has nobody to raise to: the next wait raises it
            self._failure = error

    def _read(self, kafka: Mapping[str, str], registry: SchemaRegistry, topic: Topic) -> Iterator[Told]:
        yield from read(kafka, registry, topic, types=EVENT_TYPES.values(), follow=True)

    def _take(self, told: Told) -> None:
        if isinstance(told.payload, TelemetryBatch):
            for series in told.payload.series:
                self.instances.add((told.envelope.service, series.attributes.get("service.instance.id", "")))
        if told.position.topic == Topic.LOG and not isinstance(told.payload, _QUIET):
            with self._grown:
                self.events.append(told)
                self._grown.notify_all()
