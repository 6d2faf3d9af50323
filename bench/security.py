"""What TLS, passwords and access control lists cost: the same work on two brokers, one of them secure, in turns."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from confluent_kafka import TopicPartition

from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import create_topics
from autopilot.infra.security.ground import Ground
from autopilot.infra.security.principals import GRANTS
from autopilot.infra.security.provision import provision
from autopilot.schemas.contract import Topic
from autopilot.streams import kafka as clients
from autopilot.streams.record import Outgoing
from bench.measure import Figure, percentile

RECORDS, BYTES = 100_000, 600
TRANSACTIONS, CONNECTIONS = 300, 20
ROUNDS = 3
WRITER, READER = "planner", "dashboards"
"""Principals that may write the log in transactions, and read it."""
LOG = str(Topic.LOG)


def figures() -> Iterator[Figure]:
    """Written and read records a second, a transaction and a connection, plain and secure."""
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        ground.ensure(list(GRANTS))
        plain = EmbeddedKafka(Path(folder) / "plain")
        secure = EmbeddedKafka(Path(folder) / "secure", security=ground)
        try:
            for broker in (plain, secure):
                broker.start()
            provision(ground, secure.admin_config())
            for broker in (plain, secure):
                create_topics(broker.admin_config(), 1)
            address = {"bootstrap.servers": secure.bootstrap}
            writer, reader = (address | ground.client(ground.credentials(name)) for name in (WRITER, READER))
            yield from _compared(plain.admin_config(), writer, reader)
        finally:
            secure.stop()
            plain.stop()


def _compared(plain: Mapping[str, str], writer: Mapping[str, str], reader: Mapping[str, str]) -> Iterator[Figure]:
    turns = [(_write(plain), _write(writer), _read(plain), _read(reader)) for _ in range(ROUNDS)]
    written, written_secure, read, read_secure = map(statistics.median, zip(*turns, strict=True))
    size = f"{BYTES} bytes each"
    yield Figure("written", written, "records/s", note=size)
    yield Figure("written, secure", written_secure, "records/s", note=f"{written_secure / written:.0%} of plain")
    yield Figure("read", read, "records/s", note=size)
    yield Figure("read, secure", read_secure, "records/s", note=f"{read_secure / read:.0%} of plain")
    committed, committed_secure = _commit(plain), _commit(writer)
    yield Figure("transaction of one record, p50", percentile(committed, 0.5), "ms")
    yield Figure("transaction of one record, secure, p50", percentile(committed_secure, 0.5), "ms")
    yield Figure("connecting, p50", percentile(_connect(plain), 0.5), "ms")
    yield Figure("connecting, secure, p50", percentile(_connect(writer), 0.5), "ms")


def _write(kafka: Mapping[str, str]) -> float:
    producer = clients.producer(kafka, "bench", **{"linger.ms": 5, "queue.buffering.max.messages": 2 * RECORDS})
    producer.list_topics(LOG, timeout=10)
    payload = bytes(range(250)) * (BYTES // 250 + 1)
    started = time.perf_counter()
    for i in range(RECORDS):
        producer.produce(LOG, payload[i % 200 : i % 200 + BYTES], b"key", 0)
    producer.flush(60)
    return RECORDS / (time.perf_counter() - started)


def _read(kafka: Mapping[str, str]) -> float:
    consumer = clients.plain_consumer(kafka, "bench")
    try:
        consumer.assign([TopicPartition(LOG, 0, 0)])
        consumer.consume(1, timeout=30)
        started, taken = time.perf_counter(), 0
        while taken < RECORDS - 5_000:
            taken += len(consumer.consume(2_000, timeout=1))
        return taken / (time.perf_counter() - started)
    finally:
        consumer.close()


def _commit(kafka: Mapping[str, str]) -> list[float]:
    writer = clients.PartitionWriter(kafka, f"{WRITER}.bench")
    took = []
    for _ in range(TRANSACTIONS):
        started = time.perf_counter()
        writer.commit([Outgoing(LOG, 0, b"key", bytes(BYTES), {})])
        took.append((time.perf_counter() - started) * 1_000)
    writer.close()
    return took


def _connect(kafka: Mapping[str, str]) -> list[float]:
    took = []
    for _ in range(CONNECTIONS):
        started = time.perf_counter()
        clients.producer(kafka, "bench").list_topics(LOG, timeout=10)
        took.append((time.perf_counter() - started) * 1_000)
    return took
