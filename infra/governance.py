"""Saying what people decide about what rules, and finding out what became of it.

What every domain must know is broadcast under one transactional id, so that of two people who speak at once one waits:
every partition has their words in the same order. Whether words count follows from the log alone, so it is found here
by the same fold that the policy agent makes, whether or not that agent is up.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.governance import GovernanceRefused
from autopilot.schemas.partition import partition_of
from autopilot.schemas.registry import SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.errors import LostOwnershipError, UnreachableError
from autopilot.streams.kafka import REQUEST_TIMEOUT_S
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read_raw
from autopilot.streams.record import EVENT_TYPE
from autopilot.streams.shadow import PolicyView, end_of

LANE: Final = "broadcast.governance"
"""The transactional id of everybody's broadcasts about governance."""
FEW: Final = 100_000
"""Records that are folded within a few seconds."""
_ATTEMPTS: Final = 8
_PAUSE_S: Final = 0.2


@dataclass(frozen=True)
class Cluster:
    """Where the log is."""

    kafka: Mapping[str, str]
    registry: SchemaRegistry
    partitions: int
    tell: Callable[[str], None] = lambda _: None
    """Is told what a person should know of how an answer came about."""


@dataclass(frozen=True)
class Said:
    """What became of a person's words."""

    event_id: str
    offsets: dict[int, int]
    """Partition of the log -> offset from which on they hold there."""
    refused: str
    """Why they do not count; empty when they do."""


def broadcast(cluster: Cluster, key: SigningKey, payload: Payload, view: PolicyView | None = None) -> Said:
    """Broadcasts a person's words. Raises `StreamError` when they could not be written.

    A `view` of partition 0 is brought to where they stand.
    """
    return _said(cluster, payload, lambda: broadcast_in_turn(cluster, key, payload), view or begun_view(cluster, 0))


def address(cluster: Cluster, key: SigningKey, payload: Payload, domain: str, service: str = "") -> Said:
    """Writes a person's words to the log of one domain."""
    partition = home_of(cluster, domain)

    def publish() -> str:
        publisher = _publisher(cluster, key)
        try:
            event_id = publisher.publish(Draft(payload, domain, service), partition)
            publisher.flush()
        finally:
            publisher.close()
        return event_id

    return _said(cluster, payload, publish, begun_view(cluster, partition))


def view_of(cluster: Cluster, partition: int) -> PolicyView:
    """The policy's state in a partition, at the end of the log."""
    view = begun_view(cluster, partition)
    view.advance()
    return view


def begun_view(cluster: Cluster, partition: int) -> PolicyView:
    """As `view_of`, at the newest snapshot and not yet at the end: `behind` says how far that is."""
    view = PolicyView(cluster.kafka, cluster.registry, partition, cluster.partitions)
    view.take_snapshot()
    behind = view.behind
    if behind > FEW:
        why = view.caveat or "the policy agent has left no snapshot near the end"
        cluster.tell(f"{why}: folding {behind} records of {Topic.LOG}[{partition}]")
    elif view.caveat:
        cluster.tell(view.caveat)
    return view


def home_of(cluster: Cluster, domain: str) -> int:
    """The partition of a domain, as the configuration in force places it."""
    return place_of(view_of(cluster, 0).state.configuration, domain, cluster.partitions)


def place_of(configuration: Configuration, domain: str, partitions: int) -> int:
    """The partition of a domain, as a configuration places it."""
    pins = {d.name: d.partition for fleet in configuration.fleets() for d in fleet.domains if d.partition is not None}
    return partition_of(domain, partitions, pins)


def _said(cluster: Cluster, payload: Payload, write: Callable[[], str], view: PolicyView) -> Said:
    """Writes at once, and then brings the view there, to see whether the policy refuses it."""
    where = range(cluster.partitions) if payload.broadcast else (view.partition,)
    begins = {p: end_of(cluster.kafka, p) for p in where}
    event_id = write()
    codec = Codec(cluster.registry)
    offsets = {p: _offset_of(cluster, codec, p, begin, payload.event_type(), event_id) for p, begin in begins.items()}
    name = GovernanceRefused.event_type().encode()
    found = [codec.decode(out.value).payload for out in view.advance() if out.headers.get(EVENT_TYPE) == name]
    mine = [p for p in found if isinstance(p, GovernanceRefused) and p.event_id == event_id]
    return Said(event_id, offsets, mine[0].reason if mine else "")


def _offset_of(cluster: Cluster, codec: Codec, partition: int, begin: int, event_type: str, event_id: str) -> int:
    """Where the event stands, once it can be read. Raises `UnreachableError` when it cannot within the time.

    A commit returns before the broker has marked it in every partition; until then the end of the log is before it.
    """
    name, until = event_type.encode(), time.monotonic() + REQUEST_TIMEOUT_S
    while time.monotonic() < until:
        for record in read_raw(cluster.kafka, str(Topic.LOG), partitions=[partition], start={partition: begin}):
            if record.headers.get(EVENT_TYPE) == name and codec.decode(record.value).envelope.event_id == event_id:
                return record.position.offset
        time.sleep(_PAUSE_S)
    raise UnreachableError(f"{event_type} {event_id} cannot be read on {Topic.LOG}[{partition}]")


def broadcast_in_turn(cluster: Cluster, key: SigningKey, payload: Payload) -> str:
    """Broadcasts a person's words when it is their turn, and gives the event id. Raises `StreamError`."""
    at_us = time.time_ns() // 1_000
    attempts = 0
    while True:
        publisher = _publisher(cluster, key)
        try:
            return publisher.broadcast(Draft(payload, ""), at_us)
        except LostOwnershipError:
            attempts += 1
            if attempts == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S * attempts)
        finally:
            publisher.close()


def _publisher(cluster: Cluster, key: SigningKey) -> Publisher:
    return Publisher(
        kafka=cluster.kafka,
        registry=cluster.registry,
        producer=key.principal,
        partitions=cluster.partitions,
        key=key,
        transactional_id=LANE,
    )
