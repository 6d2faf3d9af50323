"""Reading a topic outside any group: for people, for recovery, for projections and for replay. It cannot write."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.errors import ContractError
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.errors import UnreachableError
from autopilot.streams.kafka import REQUEST_TIMEOUT_S, plain_consumer, raise_for, record_of, watermarks
from autopilot.streams.record import EVENT_TYPE, Record

BATCH = 2_000
LOOK_S, FOLLOW_S = 0.02, 0.2
"""How long a look waits for a record: briefly where there is an end, since no record tells that one was reached."""


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The partitions of a topic. Raises `UnreachableError` when the broker does not know it or does not answer."""
    try:
        metadata = consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
    except KafkaException as exception:
        raise UnreachableError(f"the broker does not answer: {exception.args[0].str()}") from exception
    if metadata.error is not None:
        raise UnreachableError(f"topic `{topic}`: {metadata.error}")
    return sorted(metadata.partitions)


def ends(kafka: Mapping[str, str], topic: str) -> dict[int, int]:
    """First offset of each partition of a topic that is not committed yet, as the broker says now."""
    consumer = plain_consumer(kafka, "autopilot-reader", log_level=2)
    try:
        return {p: watermarks(consumer, topic, p)[1] for p in partitions_of(consumer, topic)}
    finally:
        consumer.close()


def read_raw(
    kafka: Mapping[str, str],
    topic: str,
    *,
    partitions: Sequence[int] | None = None,
    start: Mapping[int, int] | None = None,
    end: Mapping[int, int] | None = None,
    follow: bool = False,
) -> Iterator[Record]:
    """The committed records of a topic, each partition in order, from `start` up to `end` (exclusive, by partition).

    Without `end` it reads up to what was committed when it was called, or for ever with `follow`.
    """
    # what goes wrong is raised, once; the client would tell of each try
    consumer = plain_consumer(kafka, "autopilot-reader", log_level=2)
    try:
        wanted = list(partitions) if partitions is not None else partitions_of(consumer, topic)
        begin = {p: (start or {}).get(p, 0) for p in wanted}
        stop = {} if follow else _ends(consumer, topic, wanted, begin, end)
        todo = wanted if follow else [p for p in wanted if begin[p] < stop[p]]
        if todo:
            consumer.assign([TopicPartition(topic, p, begin[p]) for p in todo])
            yield from _records(consumer, topic, set(todo), stop)
    finally:
        consumer.close()


def _ends(
    consumer: Consumer, topic: str, wanted: list[int], begin: dict[int, int], end: Mapping[int, int] | None
) -> dict[int, int]:
    ends = {}
    for partition in wanted:
        low, high = watermarks(consumer, topic, partition)
        begin[partition] = max(begin[partition], low)
        ends[partition] = min(high, end[partition]) if end and partition in end else high
    return ends


def _records(consumer: Consumer, topic: str, todo: set[int], stop: dict[int, int]) -> Iterator[Record]:
    """Reads until every partition's position has reached its stop; markers and aborted records count as positions."""
    while todo:
        first = consumer.poll(LOOK_S if stop else FOLLOW_S)
        messages = [first, *consumer.consume(BATCH, timeout=0)] if first is not None else []
        for message in messages:
            error = message.error()
            if error is not None:
                raise_for(error)
                continue
            record = record_of(message)
            partition = record.position.partition
            if partition in stop and record.position.offset >= stop[partition]:
                todo.discard(partition)
                continue
            yield record
        if stop:
            todo -= _reached(consumer, topic, todo, stop)


def _reached(consumer: Consumer, topic: str, todo: Iterable[int], stop: dict[int, int]) -> set[int]:
    positions = consumer.position([TopicPartition(topic, p) for p in todo])
    return {tp.partition for tp in positions if tp.offset >= stop[tp.partition]}


def read(
    kafka: Mapping[str, str],
    registry: SchemaRegistry,
    topic: str,
    *,
    types: Iterable[type[Payload]] = (),
    **bounds: Any,
) -> Iterator[Recorded[Payload]]:
    """As `read_raw`, decoded; only events of `types` when any are given. What does not decode is left out."""
    codec = Codec(registry)
    wanted = {model.event_type().encode() for model in types}
    for record in read_raw(kafka, topic, **bounds):
        if wanted and record.headers.get(EVENT_TYPE) not in wanted:
            continue
        try:
            event = codec.decode(record.value)
        except ContractError:
            continue
        yield Recorded(record.position, event, None, record.timestamp_ms)
