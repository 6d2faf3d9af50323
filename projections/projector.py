"""The projector follows the log and keeps every projection's view current, while others read the views.

It consumes outside any group and holds no producer: it can change nothing but its own folders. When a rebuild has put
another generation in place of one that is served, it changes over and goes on from the offsets that it finds there.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from autopilot.projections.folding import Folding, LogFold, assign
from autopilot.projections.projection import Projection
from autopilot.projections.rows import Row
from autopilot.projections.shelf import Shelf
from autopilot.projections.store import Change, Content, Store
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.errors import UnreachableError
from autopilot.streams.kafka import plain_consumer
from autopilot.streams.reader import partitions_of

_log = structlog.get_logger(__name__)

BATCH = 5_000
POLL_S = 0.2
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class News:
    """What has changed, up to which generation and number; `changes` is None when that cannot be said."""

    mark: tuple[int, int]
    as_of: dict[int, int]
    changes: list[Change] | None


class View:
    """One projection as it is served. Any thread may read it; the projector replaces what is behind it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        self.generation = self._shelf.generation() or 1
        self.store = Store(self._shelf.current())
        self._shelf.sweep()

    def change_over(self) -> bool:
        """Takes up the generation that a rebuild has put in place; False when there is no other."""
        if self._shelf.generation() == self.generation:
            return False
        with self._lock:
            self.store.close()
            self._open()
        return True

    def close(self) -> None:
        """Gives the folder free."""
        with self._lock:
            self.store.close()

    def content(self, prefix: str = "") -> Content:
        """The rows whose keys begin with `prefix`, and up to where they are current."""
        with self._lock:
            return self.store.content(prefix)

    def row(self, key: str) -> tuple[Row | None, dict[int, int]]:
        """One row, and up to where it is current."""
        with self._lock:
            return self.store.row(key)

    def digest(self) -> tuple[str, dict[int, int]]:
        """The digest of all rows, and the offsets that it goes with."""
        with self._lock:
            return self.store.digest(), dict(self.store.offsets)

    def news(self, generation: int, since: int, limit: int) -> "News":
        """What has changed since a change number of a generation; not known when another one is served by now."""
        with self._lock:
            last, as_of = self.store.last_change, dict(self.store.offsets)
            if generation != self.generation or since > last:
                return News((self.generation, last), as_of, None)
            changes = self.store.changes(since, limit) if since < last else []
            reached = changes[-1].number if len(changes) == limit else last
            return News((self.generation, reached), as_of, changes)

    @property
    def mark(self) -> tuple[int, int]:
        """Generation and last change number."""
        with self._lock:
            return self.generation, self.store.last_change


class Projector:
    """All views of one folder. While the broker does not answer it waits, and the views are served as they are."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        registry: SchemaRegistry,
        folder: Path,
        projections: Mapping[str, Projection],
        run: str = LIVE_RUN,
    ) -> None:
        self._kafka = kafka
        self._codec = Codec(registry)
        self._run = run
        self._projections = projections
        self.views = {name: View(Shelf(folder, projection)) for name, projection in projections.items()}
        self.ends: dict[int, int] = {}
        """First offset not yet in each partition of the log, as the broker last told."""

    def run(self, stop: threading.Event) -> None:
        """Follows the log until `stop`; the views can be read on until `close`."""
        while not stop.is_set():
            try:
                self._session(stop)
            except (KafkaException, UnreachableError) as error:
                _log.warning("the log cannot be read", error=str(error))
                stop.wait(RETRY_S)

    def close(self) -> None:
        """Gives the folders free."""
        for view in self.views.values():
            view.close()

    def _session(self, stop: threading.Event) -> None:
        """Follows until `stop`, or until another generation is to be served."""
        consumer = plain_consumer(self._kafka, "autopilot-projector")
        try:
            fold = self._fold(partitions_of(consumer, str(Topic.LOG)))
            assign(consumer, fold.starts)
            while not stop.is_set() and not self._changed_over():
                messages = consumer.consume(BATCH, POLL_S)
                if messages:
                    fold.take(messages)
                    fold.commit()
                self._note_ends(consumer, fold)
        finally:
            consumer.close()

    def _fold(self, partitions: list[int]) -> LogFold:
        foldings = [Folding(self._projections[name], view.store) for name, view in self.views.items()]
        return LogFold(foldings, self._codec, partitions, self._run)

    def _changed_over(self) -> bool:
        changed = [name for name, view in self.views.items() if view.change_over()]
        for name in changed:
            _log.info("a rebuilt view is served", projection=name)
        return bool(changed)

    def _note_ends(self, consumer: Consumer, fold: LogFold) -> None:
        for partition in fold.starts:
            _, high = consumer.get_watermark_offsets(TopicPartition(str(Topic.LOG), partition), cached=True)
            if high >= 0:
                self.ends[partition] = high
