"""Consuming the same telemetry records: raw confluent-kafka, decoded, the observer in its worker, and a Faust agent.

All four run one after the other on one embedded Kafka, on the same 4 partitions; each is one process on one core.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loop import ADMINISTRATOR, START_US, bundle, fleet_documents, signers

from autopilot.agents.observer import Observer
from autopilot.agents.observer.state import ObserverState
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read_raw
from autopilot.streams.worker import AgentWorker, WorkerOptions
from bench.measure import Figure

RECORDS = 60_000
SERVICES = 50
SERIES = 10
PARTITIONS = 4
FAUST_PROGRAM = Path(__file__).with_name("faust_consumer.py")


def fill(kafka: Mapping[str, str]) -> None:
    """Configuration, then `RECORDS` live-shaped batches: ten series of one sample each."""
    registry = BundledRegistry()
    names = [f"svc-{i:03}" for i in range(SERVICES)]
    documents = sorted([*fleet_documents(names, PARTITIONS), signers(), bundle()], key=lambda d: (d.kind, d.name))
    author = Publisher(kafka=kafka, registry=registry, producer="ada", partitions=PARTITIONS, key=ADMINISTRATOR)
    author.broadcast(Draft(ConfigurationActivated(revision="r", documents=documents, author="ada", comment=""), ""))
    author.close()
    publisher = Publisher(kafka=kafka, registry=registry, producer="bench", partitions=PARTITIONS)
    for i in range(RECORDS):
        at_us = START_US + i // SERVICES * 1_000_000
        publisher.publish(Draft(_batch(i, at_us), "", names[i % SERVICES]), at_us=at_us)
        if i % 10_000 == 9_999:
            publisher.flush()
    publisher.close()


def _batch(i: int, at_us: int) -> TelemetryBatch:
    names = ["http.server.request.count", "http.server.error.count", *(f"metric.{n}" for n in range(SERIES - 2))]
    series = [
        Series(
            metric=name,
            kind=SeriesKind.DELTA,
            unit="1",
            attributes={"service.instance.id": "0"},
            timestamps_us=[at_us],
            values=[float(i % 7)],
        )
        for name in names
    ]
    return TelemetryBatch(source="bench", series=series)


def figures(kafka: Mapping[str, str]) -> Iterator[Figure]:
    """Records a second of each consumer, and what share of the raw consumer's that is."""
    fill(kafka)
    raw = RECORDS / _timed(lambda: sum(1 for _ in read_raw(kafka, Topic.TELEMETRY)))
    yield Figure("raw confluent-kafka", raw, "records/s", note="nothing decoded")
    codec = Codec(BundledRegistry())
    decoded = RECORDS / _timed(lambda: sum(bool(codec.decode(r.value)) for r in read_raw(kafka, Topic.TELEMETRY)))
    yield Figure("confluent-kafka, decoded into models", decoded, "records/s", note=_share(decoded, raw))
    observed = _observer(kafka)
    yield Figure("observer in its worker", observed, "records/s", note=_share(observed, raw))
    yield Figure("observer in its worker", observed * SERIES, "points/s", note=f"{SERIES} series x 1 point a record")
    faust = _faust(kafka)
    yield Figure("Faust agent, decoded into models", faust, "records/s", note=_share(faust, raw))
    yield Figure("observer against Faust", observed / faust, "times")


def _share(rate: float, raw: float) -> str:
    return f"{rate / raw:.0%} of raw"


def _timed(work: object) -> float:
    started = time.perf_counter()
    assert callable(work)
    work()
    return time.perf_counter() - started


class TimedObserver(Observer):
    """Notes when the first and the last batch were handled."""

    first = last = 0.0
    seen = 0

    def handle_batch(
        self, state: ObserverState, batch: Sequence[Recorded[Payload]]
    ) -> tuple[ObserverState, Sequence[Sequence[Output]]]:
        """As the observer, timed."""
        self.first = self.first or time.perf_counter()
        handled = super().handle_batch(state, batch)
        self.last = time.perf_counter()
        self.seen += len(batch)
        return handled


def _observer(kafka: Mapping[str, str]) -> float:
    observer, stop = TimedObserver(PARTITIONS), threading.Event()
    worker = AgentWorker(
        observer,
        WorkerOptions(kafka=kafka, registry=BundledRegistry(), partitions=PARTITIONS, instance="observer-bench"),
    )
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    while observer.seen < RECORDS * 0.999:
        time.sleep(0.05)
    stop.set()
    thread.join()
    return observer.seen / (observer.last - observer.first)


def _faust(kafka: Mapping[str, str]) -> float:
    command = [sys.executable, str(FAUST_PROGRAM), kafka["bootstrap.servers"], str(RECORDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return float(done.stdout.strip().splitlines()[-1])
