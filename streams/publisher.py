"""Publishing events from outside: telemetry from bridges, the words of people, time. They are caused by no record."""

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, Message

from autopilot.schemas.codec import Codec
from autopilot.schemas.envelope import Draft
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams import kafka as clients
from autopilot.streams.errors import StreamError, UnreachableError
from autopilot.streams.kafka import REQUEST_TIMEOUT_S, PartitionWriter
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing


class Publisher:
    """Writes events for one producer name. What it is given a key for, it signs."""

    def __init__(
        self,
        *,
        kafka: Mapping[str, str],
        registry: SchemaRegistry,
        producer: str,
        partitions: int,
        key: SigningKey | None = None,
        run: str = LIVE_RUN,
        transactional_id: str = "",
    ) -> None:
        self._kafka = kafka
        self._name = producer
        self._codec = Codec(registry)
        self._partitions = partitions
        self._key = key
        self._run = run
        self._producer = clients.producer(kafka, producer)
        self._transactional_id = transactional_id or f"broadcast.{producer}"
        self._broadcaster: PartitionWriter | None = None
        self._failure: KafkaError | None = None

    def publish(self, draft: Draft, partition: int | None = None, at_us: int | None = None) -> str:
        """Sends an event, by its service or domain, or to `partition`; gives its id. `flush` says whether it arrived.

        Raises `UnreachableError` when the send buffer is full.
        """
        mint = self._mint(draft)
        event = mint.outside_event(draft, _now_us() if at_us is None else at_us)
        out = mint.record(event, mint.partition_for(draft, {}) if partition is None else partition)
        self.send(out)
        return event.envelope.event_id

    def send(self, out: Outgoing) -> None:
        """Sends a record as it is, such as one that is re-driven."""
        try:
            self._producer.produce(
                out.topic, out.value, out.key, out.partition, headers=list(out.headers.items()), on_delivery=self._done
            )
            self._producer.poll(0)
        except BufferError as error:
            raise UnreachableError("the send buffer is full: the broker does not take records") from error

    def flush(self) -> None:
        """Waits until the broker has everything. Raises `UnreachableError` if it has not."""
        left = self._producer.flush(REQUEST_TIMEOUT_S)
        failure, self._failure = self._failure, None
        if left or failure is not None:
            raise UnreachableError(f"{left} records not acknowledged: {failure.str() if failure else 'time-out'}")

    def broadcast(self, draft: Draft, at_us: int | None = None) -> str:
        """Writes an event to every partition of both topics in one transaction; gives its id.

        Raises `StreamError` when it is not written; the next one is tried anew.
        """
        if self._broadcaster is None:
            self._broadcaster = PartitionWriter(self._kafka, self._transactional_id)
        records = list(self._mint(draft).broadcast(draft, _now_us() if at_us is None else at_us))
        try:
            self._broadcaster.commit(records)
        except StreamError:
            self._broadcaster.close()
            self._broadcaster = None
            raise
        return self._codec.decode(records[0].value).envelope.event_id

    def close(self) -> None:
        """Waits for what is under way and gives up the connections."""
        self._producer.flush(REQUEST_TIMEOUT_S)
        if self._broadcaster is not None:
            self._broadcaster.close()

    def _mint(self, draft: Draft) -> Mint:
        signs = frozenset({draft.payload.event_type()})
        return Mint(self._codec, self._name, self._partitions, self._run, self._key, signs)

    def _done(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failure = error


def _now_us() -> int:
    return time.time_ns() // 1_000
