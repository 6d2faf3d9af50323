"""Reading committed records with everything that Kafka keeps of them, for seals, audits and archives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from autopilot.schemas.envelope import Position
from autopilot.streams.errors import UnreachableError
from autopilot.streams.kafka import REQUEST_TIMEOUT_S, plain_consumer, raise_for, watermarks
from autopilot.streams.reader import partitions_of
from autopilot.streams.record import Record
from autopilot.streams.seals import Partition, WholeRecord

BATCH = 5_000
_POLL_S = 0.2


def whole_record(message: Message) -> WholeRecord:
    """A consumed message, nothing left out."""
    headers: Any = message.headers()
    offset: Any = message.offset()
    key: Any = message.key()
    value: Any = message.value()
    return WholeRecord(offset, message.timestamp()[1], key, value, headers or ())


def plain_record(partition: Partition, whole: WholeRecord) -> Record:
    """The record as agents see it: nulls as empty bytes, of repeated headers the last."""
    headers = {name: content for name, content in whole.headers if content is not None}
    position = Position(partition.topic, partition.number, whole.offset)
    return Record(position, whole.timestamp_ms, whole.key or b"", whole.value or b"", headers)


def bounds_of(kafka: Mapping[str, str], topics: Sequence[str]) -> dict[Partition, tuple[int, int]]:
    """First offset kept and first offset not yet committed, of every partition of the topics, in order.

    Raises `UnreachableError` when the broker does not answer or does not know a topic.
    """
    consumer = plain_consumer(kafka, "autopilot-bounds")
    try:
        return {
            Partition(topic, number): watermarks(consumer, topic, number)
            for topic in topics
            for number in partitions_of(consumer, topic)
        }
    finally:
        consumer.close()


def read_whole(
    kafka: Mapping[str, str], partition: Partition, start: int = 0, end: int | None = None
) -> Iterator[list[WholeRecord]]:
    """Batches of a partition's committed records from `start` up to `end`, or to what is committed when called."""
    consumer = plain_consumer(kafka, "autopilot-whole-reader")
    try:
        low, high = watermarks(consumer, partition.topic, partition.number)
        begin, stop = max(start, low), high if end is None else min(end, high)
        if begin < stop:
            consumer.assign([TopicPartition(partition.topic, partition.number, begin)])
            yield from _batches(consumer, partition, stop)
    finally:
        consumer.close()


def last_record(kafka: Mapping[str, str], partition: Partition) -> WholeRecord | None:
    """The last committed record of a partition, or None. Looks back as far as markers and aborted records make it."""
    ((low, high),) = (b for p, b in bounds_of(kafka, [partition.topic]).items() if p == partition)
    back = 8
    while True:
        start = max(low, high - back)
        last = None
        for batch in read_whole(kafka, partition, start, high):
            last = batch[-1] if batch else last
        if last is not None or start == low:
            return last
        back *= 8


def offset_at(kafka: Mapping[str, str], partition: Partition, timestamp_ms: int) -> int | None:
    """The first offset whose record is not older than `timestamp_ms`; None when all are older."""
    consumer = plain_consumer(kafka, "autopilot-offset-at")
    try:
        asked = TopicPartition(partition.topic, partition.number, timestamp_ms)
        (found,) = consumer.offsets_for_times([asked], timeout=REQUEST_TIMEOUT_S)
    except KafkaException as exception:
        raise UnreachableError(f"the broker does not answer: {exception.args[0].str()}") from exception
    finally:
        consumer.close()
    return found.offset if found.offset >= 0 else None


def _batches(consumer: Consumer, partition: Partition, stop: int) -> Iterator[list[WholeRecord]]:
    position = 0
    while position < stop:
        batch = []
        for message in consumer.consume(BATCH, timeout=_POLL_S):
            error = message.error()
            if error is not None:
                raise_for(error)
                continue
            record = whole_record(message)
            if record.offset < stop:
                batch.append(record)
        if batch:
            yield batch
        (reached,) = consumer.position([TopicPartition(partition.topic, partition.number)])
        position = reached.offset
