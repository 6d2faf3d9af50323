"""Kafka clients as this system needs them: read-committed consumers and one transactional writer for each partition.

`kafka` is everywhere a mapping of librdkafka properties, at least `bootstrap.servers`; security settings ride along.
"""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from autopilot.schemas.envelope import Position
from autopilot.streams.errors import LostOwnershipError, UnreachableError
from autopilot.streams.record import Outgoing, Record

TRANSACTION_TIMEOUT_MS = 10_000
"""After this time the broker aborts a transaction that its producer left open."""
SESSION_TIMEOUT_MS = 6_000
REQUEST_TIMEOUT_S = 30.0
LEADER_S = 10.0
"""How long a partition may be without a leader."""
_NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
UNUSED_GROUPS = "unused."
"""How the groups begin that readers without a group name all the same, because the client insists; none is joined."""

Sent = Sequence[tuple[str, str | bytes | None]]
"""Headers as they were sent."""

_COMMON: dict[str, Any] = {"socket.keepalive.enable": True, "allow.auto.create.topics": False}
_CONSUMER: dict[str, Any] = {
    **_COMMON,
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": False,
    "fetch.wait.max.ms": 20,
    "fetch.error.backoff.ms": 50,
    "queued.max.messages.kbytes": 65_536,
}
_PRODUCER: dict[str, Any] = {
    **_COMMON,
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 0,
    "compression.type": "lz4",
    "message.max.bytes": 2_000_000,
}


def group_consumer(kafka: Mapping[str, str], group: str, instance: str) -> Consumer:
    """A static member of a consumer group: a restart within the session timeout gets its partitions back at once.

    Each rebalance gives out every partition. In a cooperative one the member that gives partitions up asks for a second
    rebalance, which hands them on; one that starts anew in between is given back what it was left with, asks for none,
    and nobody reads what it gave up.
    """
    return Consumer(
        {
            **_CONSUMER,
            **kafka,
            "group.id": group,
            "group.instance.id": instance,
            "client.id": instance,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 1_000,
            "max.poll.interval.ms": 600_000,
            "partition.assignment.strategy": "range",
        }
    )


def plain_consumer(kafka: Mapping[str, str], client: str, **properties: Any) -> Consumer:
    """A consumer that is assigned partitions by hand and commits nothing."""
    return Consumer({**_CONSUMER, **kafka, "group.id": UNUSED_GROUPS + client, "client.id": client, **properties})


def producer(kafka: Mapping[str, str], client: str, **properties: Any) -> Producer:
    """An idempotent producer."""
    return Producer({**_PRODUCER, **kafka, "client.id": client, **properties})


def headers_of(message: Message) -> Sent:
    """A consumed message's headers as they were sent: names may repeat, values be missing."""
    sent: Any = message.headers()
    return sent or ()


def record_of(message: Message, sent: Sent | None = None) -> Record:
    """A consumed message as a record; `sent` are its headers, where somebody has taken them out already.

    Its topic, partition and offset are known, since it was consumed.
    """
    position = Position(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
    found = headers_of(message) if sent is None else sent
    headers = {name: value for name, value in found if isinstance(value, bytes)}
    return Record(position, message.timestamp()[1], _bytes(message.key()), _bytes(message.value()), headers)


def _bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else b""


def raise_for(error: KafkaError) -> None:
    """Raises for a consumer error that is not just the end of a partition or a passing fault that the client mends."""
    if error.code() == KafkaError._PARTITION_EOF or error.retriable():
        return
    if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE):
        return
    raise KafkaException(error)


def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First offset kept, and first offset not yet committed, as the broker says now.

    While a partition has no leader, as just after it was made, it is asked again. Raises `UnreachableError` when the
    broker does not answer.
    """
    place, until = TopicPartition(topic, partition), time.monotonic() + LEADER_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            if error.code() not in _NO_LEADER or time.monotonic() > until:
                raise UnreachableError(
                    f"the broker does not say where {topic}[{partition}] ends: {error}"
                ) from exception
            time.sleep(0.1)
        else:
            return low, high


def read_some(consumer: Consumer, wait_s: float, most: int) -> dict[int, list[Record]]:
    """What is there to read, at most so many records, by partition in order; waits only while there is nothing."""
    first = consumer.poll(wait_s)
    by_partition: dict[int, list[Record]] = {}
    for message in [] if first is None else [first, *consumer.consume(most - 1, timeout=0)]:
        error = message.error()
        if error is not None:
            raise_for(error)
            continue
        record = record_of(message)
        by_partition.setdefault(record.position.partition, []).append(record)
    return by_partition


class PartitionWriter:
    """The one transactional producer of one input partition.

    Its transactional id is stable, so that making one fences whoever held it before and ends what that one left open:
    that is why it is made before the committed offset is read.
    """

    def __init__(self, kafka: Mapping[str, str], transactional_id: str) -> None:
        self.transactional_id = transactional_id
        self._failure: KafkaError | None = None
        self._producer = producer(
            kafka,
            transactional_id,
            **{"transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS},
        )
        try:
            self._producer.init_transactions(REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            raise _stream_error(exception) from exception

    def commit(
        self, outgoing: Iterable[Outgoing], offsets: list[TopicPartition] | None = None, group: Any = None
    ) -> None:
        """Writes `outgoing` and the group's `offsets` in one transaction, or nothing.

        Raises `LostOwnershipError` when the transaction was fenced or aborted, `UnreachableError` when the broker
        does not answer; in both cases nothing was written and this writer is of no more use.
        """
        try:
            self._producer.begin_transaction()
            for out in outgoing:
                self._produce(out)
            self._producer.flush(REQUEST_TIMEOUT_S)
            if self._failure is not None:
                raise KafkaException(self._failure)
            if offsets:
                self._producer.send_offsets_to_transaction(offsets, group, REQUEST_TIMEOUT_S)
            self._commit()
        except (KafkaException, SystemError) as exception:
            self._abort()
            raise _stream_error(_told(exception)) from exception

    def close(self) -> None:
        """Gives up the producer. An open transaction is ended by the next owner or by its time-out."""
        self._producer.purge()

    def _produce(self, out: Outgoing) -> None:
        headers: list[tuple[str, str | bytes | None]] = list(out.headers.items())
        while True:
            try:
                self._producer.produce(
                    out.topic,
                    out.value,
                    out.key,
                    out.partition,
                    headers=headers,
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.05)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = error

    def _commit(self) -> None:
        while True:
            try:
                self._producer.commit_transaction(REQUEST_TIMEOUT_S)
                return
            except KafkaException as exception:
                if not exception.args[0].retriable():
                    raise

    def _abort(self) -> None:
        with contextlib.suppress(KafkaException, SystemError):
            self._producer.abort_transaction(REQUEST_TIMEOUT_S)


def _told(exception: KafkaException | SystemError) -> KafkaException:
    """What the client raised.

    A fatal error, such as having been fenced, that comes while deliveries are reported is raised in the report. Python
    takes it for a fault of that function, whose cause it is, or which has none when the error was lost on the way.
    """
    raised = exception.__cause__ if isinstance(exception, SystemError) else exception
    if isinstance(raised, KafkaException):
        return raised
    return KafkaException(KafkaError(KafkaError._FATAL, f"the client has ended: {exception}", fatal=True))


def _stream_error(exception: KafkaException) -> LostOwnershipError | UnreachableError:
    error: KafkaError = exception.args[0]
    if error.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
        return UnreachableError(f"{error.name()}: {error.str()}")
    return LostOwnershipError(f"{error.name()}: {error.str()}")
