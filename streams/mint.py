"""Minting: drafts become records. Every envelope of the system is made here, and every signature of an agent's event.

The minted bytes depend on the draft and the cause alone, so a replay mints the same; only the signature needs a key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from autopilot.schemas.codec import Codec, identified
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Envelope, Event, Recorded
from autopilot.schemas.identity import LIVE_RUN, content_id, event_id, span_id, trace_id
from autopilot.schemas.partition import partition_of
from autopilot.schemas.signing import SigningKey
from autopilot.streams.record import EVENT_TYPE, RUN, SIGNATURE, TRACEPARENT, Headers, Outgoing

_LOG, _TELEMETRY = str(Topic.LOG), str(Topic.TELEMETRY)
BROADCAST_KEY = b"*"
BROADCAST_TOPICS = (Topic.TELEMETRY, Topic.LOG)


@dataclass(frozen=True)
class Mint:
    """Makes records for one producer of one run. `key` signs the event types in `signs`."""

    codec: Codec
    producer: str
    partitions: int
    run: str = LIVE_RUN
    key: SigningKey | None = None
    signs: frozenset[str] = field(default_factory=frozenset)

    def of_cause(
        self, draft: Draft, cause: Recorded[Payload], ordinal: int, placements: Mapping[str, int], now_us: int
    ) -> Outgoing:
        """The record of an agent's `ordinal`-th draft about `cause`."""
        at, because, payload = cause.position, cause.event.envelope, draft.payload
        kind = _kind_of(type(payload))
        correlation_id, causation_id = draft.correlation_id, because.event_id
        envelope = {
            "event_id": event_id(self.run, self.producer, at, ordinal),
            "run": self.run,
            "correlation_id": correlation_id,
            "causation_id": causation_id,
            "cause_topic": at.topic,
            "cause_partition": at.partition,
            "cause_offset": at.offset,
            "occurred_at_us": max(because.occurred_at_us, now_us),
            "domain": draft.domain,
            "service": draft.service,
            "producer": self.producer,
        }
        stays = at.topic == _LOG == kind.topic
        partition = at.partition if stays else self.partition_for(draft, placements)
        value = self.codec.encode_parts(envelope, payload)
        key = (draft.service if kind.topic == _TELEMETRY else draft.domain).encode()
        return self._addressed(kind, correlation_id, causation_id, value, partition, key)

    def from_outside(self, draft: Draft, at_us: int, placements: Mapping[str, int]) -> Outgoing:
        """The record of an event that no record caused; its identity is its content's."""
        event, value = self._outside(draft, at_us)
        return self._recorded(event, value, self.partition_for(draft, placements), None)

    def broadcast(self, draft: Draft, at_us: int) -> Iterator[Outgoing]:
        """The same event for every partition of both topics; to be written in one transaction."""
        record = self.record(self.outside_event(draft, at_us), 0, key=BROADCAST_KEY)
        for topic in BROADCAST_TOPICS:
            for partition in range(self.partitions):
                yield replace(record, topic=str(topic), partition=partition)

    def outside_event(self, draft: Draft, at_us: int) -> Event[Payload]:
        """An event from outside with its identity, which covers content, address, time and sender."""
        return self._outside(draft, at_us)[0]

    def _outside(self, draft: Draft, at_us: int) -> tuple[Event[Payload], bytes]:
        """The event and its bytes. They are encoded once: telemetry is large, and all of it comes from outside."""
        blank = Envelope(
            event_id="",
            run=self.run,
            correlation_id=draft.correlation_id,
            causation_id="",
            cause_topic="",
            cause_partition=-1,
            cause_offset=-1,
            occurred_at_us=at_us,
            domain=draft.domain,
            service=draft.service,
            producer=self.producer,
        )
        content = self.codec.encode(Event(blank, draft.payload))
        identity = content_id(draft.payload.event_type(), content)
        event: Event[Payload] = Event(blank.model_copy(update={"event_id": identity}), draft.payload)
        return event, identified(content, identity)

    def partition_for(self, draft: Draft, placements: Mapping[str, int]) -> int:
        """The partition of a draft: by service on the telemetry topic, by domain elsewhere."""
        if draft.payload.topic == Topic.TELEMETRY:
            return partition_of(draft.service, self.partitions)
        return partition_of(draft.domain, self.partitions, placements)

    def record(self, event: Event[Payload], partition: int, *, key: bytes | None = None) -> Outgoing:
        """The record of an event: its bytes, headers and, where this producer signs the type, its signature."""
        return self._recorded(event, self.codec.encode(event), partition, key)

    def _recorded(self, event: Event[Payload], value: bytes, partition: int, key: bytes | None) -> Outgoing:
        envelope, kind = event.envelope, _kind_of(type(event.payload))
        if key is None:
            key = (envelope.service if kind.topic == _TELEMETRY else envelope.domain).encode()
        return self._addressed(kind, envelope.correlation_id, envelope.causation_id, value, partition, key)

    def _addressed(
        self, kind: "_Kind", correlation_id: str, causation_id: str, value: bytes, partition: int, key: bytes
    ) -> Outgoing:
        headers: Headers = {EVENT_TYPE: kind.header, RUN: self.run.encode()}
        if correlation_id and causation_id:
            trace, span = trace_id(self.run, correlation_id), span_id(self.producer, causation_id)
            headers[TRACEPARENT] = f"00-{trace}-{span}-01".encode()
        if self.key is not None and kind.name in self.signs:
            headers[SIGNATURE] = self.key.sign(kind.name, key, value)
        return Outgoing(kind.topic, partition, key, value, headers)


class _Kind(NamedTuple):
    """What is the same of every record of an event type."""

    name: str
    header: bytes
    topic: str


@cache
def _kind_of(model: type[Payload]) -> _Kind:
    return _Kind(model.event_type(), model.event_type().encode(), str(model.topic))
