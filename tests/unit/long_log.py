"""A long log from a short one: the ordinary course of some incidents, again and again under other ids.

The ids of a copy differ in their last digits, and what bears an agent's signature is said about a later record, under
an event id of its own, and signed anew: the whole is a log that every reader takes for true, and for no repetition.
Times repeat; no view keeps anything by them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from loop import KEYS, Loop

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.kafka import producer
from autopilot.streams.record import EVENT_TYPE, SIGNATURE, Record
from autopilot.streams.trust import SIGNS

PARTITIONS = 4
_ID = re.compile(rb"\b([a-z]{2,4}-[0-9a-f]{8})[0-9a-f]{8}\b")
_SIGNED_BY = {kind: KEYS[agent] for agent, kinds in SIGNS.items() for kind in kinds}
_ONCE = {b"ConfigurationActivated"}
_APART = 1_000_000
"""By how much the offsets of causes differ between two copies; more than a log has records."""
CODEC = Codec(BundledRegistry())


def course(seconds: int = 120, partitions: int = PARTITIONS) -> list[Record]:
    """A real log of the five agents, in the order of partition and offset: each service breaks twice and is mended."""
    loop = Loop(services=partitions, partitions=partitions)
    loop.run(10)
    for _ in range(2):
        for name in loop.names:
            loop.break_(name)
        loop.run(seconds // 2)
    return [record for partition in loop.runner.topics[str(Topic.LOG)] for record in partition]


def numbered(record: Record, number: int) -> Record:
    """The record's copy of that number; number 0 is the record itself."""
    if number == 0:
        return record
    value = _ID.sub(lambda found: found[1] + b"%08x" % (number ^ int(found[0][-8:], 16)), record.value)
    kind = record.headers[EVENT_TYPE].decode()
    headers = record.headers
    if kind in _SIGNED_BY:
        value = _said_later(value, number)
        headers = {**headers, SIGNATURE: _SIGNED_BY[kind].sign(kind, record.key, value)}
    return record._replace(value=value, headers=headers)


def _said_later(value: bytes, number: int) -> bytes:
    event = CODEC.decode(value)
    envelope = event.envelope
    again = {"event_id": f"{envelope.event_id}-{number}", "cause_offset": envelope.cause_offset + number * _APART}
    return CODEC.encode(replace(event, envelope=envelope.model_copy(update=again)))


def long_log(records: list[Record], copies: int) -> Iterator[Record]:
    """All records, then their copies; configuration comes once."""
    yield from records
    repeated = [record for record in records if record.headers[EVENT_TYPE] not in _ONCE]
    for number in range(1, copies):
        for record in repeated:
            yield numbered(record, number)


def write(kafka: Mapping[str, str], records: Iterable[Record]) -> int:
    """Appends the records to a real log, each to its partition, and gives how many there were."""
    writer, written = producer(kafka, "long-log"), 0
    for record in records:
        headers: list[tuple[str, str | bytes | None]] = list(record.headers.items())
        while True:
            try:
                writer.produce(str(Topic.LOG), record.value, record.key, record.position.partition, headers=headers)
                break
            except BufferError:
                writer.poll(0.1)
        written += 1
    assert writer.flush(60) == 0
    return written
