"""Folding the log into stores: the one loop that the live projector and a rebuild share.

Every store has its own offsets. The log is read once, from the least of them on, each event is decoded once, and a
store is shown only what it has not yet folded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, Message, TopicPartition

from autopilot.projections.admission import Admission
from autopilot.projections.hearing import Hearing
from autopilot.projections.projection import Projection
from autopilot.projections.store import Standing, Store
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.identity import LIVE_RUN
from autopilot.streams.kafka import Sent, headers_of, raise_for, record_of, watermarks
from autopilot.streams.record import EVENT_TYPE


@dataclass(frozen=True)
class Folding:
    """A projection and the store that it is folded into."""

    projection: Projection
    store: Store


class LogFold:
    """Some projections over the partitions of the log."""

    def __init__(
        self, foldings: Sequence[Folding], codec: Codec, partitions: Sequence[int], run: str = LIVE_RUN
    ) -> None:
        self._foldings = foldings
        self.starts = {p: min(f.store.offsets.get(p, 0) for f in foldings) for p in partitions}
        types = {model for folding in foldings for model in folding.projection.handles}
        standing = [folding.store.standing() for folding in foldings]
        self._hearings = [Hearing(one.heard) for one in standing]
        self._admission = Admission(codec, types, *self._begins(standing, run))
        self._takers = {
            model: [
                (f.projection.handlers[model], f.store, hearing)
                for f, hearing in zip(foldings, self._hearings, strict=True)
                if model in f.projection.handles
            ]
            for model in types
        }
        self._next = dict(self.starts)
        self.records = 0

    def _begins(self, standing: Sequence[Standing], run: str) -> tuple[dict[int, Configuration], str, dict[int, int]]:
        """What is in force and the time where reading begins: what the store says that has come least far."""
        configurations, now_us = {}, {}
        known = list(zip(self._foldings, standing, strict=True))
        for partition, start in self.starts.items():
            there = next(one for folding, one in known if folding.store.offsets.get(partition, 0) == start)
            configurations[partition] = there.configurations.get(partition, Configuration())
            now_us[partition] = there.now_us.get(partition, 0)
        return configurations, run, now_us

    def take(self, messages: Sequence[Message]) -> None:
        """Folds messages, which follow on the last ones of their partitions; nothing is committed."""
        wanted, admit = self._admission.wanted, self._admission.admit
        for message in messages:
            error = message.error()
            if error is not None:
                raise_for(error)
                continue
            sent = headers_of(message)
            if _event_type(sent) in wanted:
                recorded = admit(record_of(message, sent))
                if recorded is not None:
                    self._apply(recorded)
            self._next[message.partition() or 0] = (message.offset() or 0) + 1
            self.records += 1

    def _apply(self, recorded: Recorded[Payload]) -> None:
        takers = self._takers.get(type(recorded.payload))
        if takers is None:
            return
        _, partition, offset = recorded.position
        now_us, signed = self._admission.now_us.get(partition, 0), recorded.signed_by is not None
        for handler, store, hearing in takers:
            if offset < store.offsets.get(partition, 0) or (signed and not hearing.is_news(recorded, now_us)):
                continue
            handler(store, recorded)

    def commit(self) -> None:
        """Writes each store's rows together with its offsets, and with what it has heard."""
        activated = {p: self._admission.configurations[p] for p in self._admission.activated}
        self._admission.activated.clear()
        for folding, hearing in zip(self._foldings, self._hearings, strict=True):
            known = folding.store.offsets
            offsets = {p: max(n, known.get(p, 0)) for p, n in self._next.items()}
            # a store that is ahead has a later configuration and time than those that were read just now
            own = {p: c for p, c in activated.items() if offsets[p] == self._next[p]}
            times = {p: at for p, at in self._admission.now_us.items() if offsets[p] == self._next[p]}
            heard = {p: hearing.heard[p] for p in hearing.changed}
            hearing.changed.clear()
            folding.store.commit(offsets, Standing(own, heard, times))


def _event_type(sent: Sent) -> bytes | None:
    for name, value in sent:
        if name == EVENT_TYPE:
            return value if isinstance(value, bytes) else None
    return None


def assign(consumer: Consumer, starts: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Begins to read the log's partitions at these offsets, or where the log begins when that is later.

    Gives where reading begins in each partition, and where what is committed by now ends.
    """
    topic, begins, ends = str(Topic.LOG), {}, {}
    for partition, start in starts.items():
        low, high = watermarks(consumer, topic, partition)
        begins[partition], ends[partition] = max(start, low), high
    consumer.assign([TopicPartition(topic, partition, begin) for partition, begin in begins.items()])
    return begins, ends
