"""From signal to step on a real Kafka: five agents, each a process of its own, on the machine's cores.

Signals are put on the log as the observer would; what is measured is the time between Kafka's timestamps of the signal
and of the `StepRequested` that came of it: incident, plan, signed decision, execution, step.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loop import ADMINISTRATOR, DRIVER, EFFECTOR, bundle, fleet_documents, signers

from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.observer import Quality, Severity, SignalKind, SignalRaised, TelemetryQualityChanged
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.identity import derived_id
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read
from bench.measure import Figure, percentile

PROGRAM = Path(__file__).parents[1] / "tests" / "chaos" / "processes.py"
PARTITIONS = 4
PERFECT = Quality(freshness_bp=10_000, completeness_bp=10_000, validity_bp=10_000, order_bp=10_000)
STEADY = ((1, 20), (20, 20))
"""Incidents a second, and for how many seconds."""
BURST = 1_000
NAMES = [f"s{i:04}" for i in range(sum(rate * seconds for rate, seconds in STEADY) + BURST)]
REGISTRY = BundledRegistry()


@contextmanager
def agents(kafka: Mapping[str, str]) -> Iterator[None]:
    """The control agents and the clock, as processes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(PROGRAM)]
        running = [
            subprocess.Popen(
                [*command, name, kafka["bootstrap.servers"], folder],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name in ("observer", "planner", "policy", "executor", "verifier", "clock")
        ]
        try:
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()


def prepare(kafka: Mapping[str, str]) -> None:
    """Configuration, and a known state and good telemetry for every service."""
    documents = [*fleet_documents(NAMES, PARTITIONS), signers(), bundle()]
    documents = [document for document in documents if document.kind != "ServiceLevelObjectives"]
    documents.sort(key=lambda doc: (doc.kind, doc.name))
    author = Publisher(kafka=kafka, registry=REGISTRY, producer="ada", partitions=PARTITIONS, key=ADMINISTRATOR)
    author.broadcast(Draft(ConfigurationActivated(revision="r", documents=documents, author="ada", comment=""), ""))
    author.close()
    state = {"release": "bad", "previous_release": "good", "desired": "1", "running": "1", "max": "1"}
    publisher = Publisher(kafka=kafka, registry=REGISTRY, producer="bench", partitions=PARTITIONS, key=EFFECTOR)
    for i, name in enumerate(NAMES):
        domain = f"domain-{i % PARTITIONS}"
        observed = TargetObserved(driver=DRIVER, target=name, state=state, revision="")
        quality = TelemetryQualityChanged(quality=PERFECT, previous=PERFECT, worst_series="", reason="bench")
        for payload in (observed, quality):
            publisher.publish(Draft(payload, domain, name), partition=i % PARTITIONS)
    publisher.close()


def figures(kafka: Mapping[str, str]) -> Iterator[Figure]:
    """Latency at each steady rate, and the time in which a burst is drained."""
    prepare(kafka)
    with agents(kafka):
        time.sleep(12)
        first = 0
        for rate, seconds in STEADY:
            names = NAMES[first : first + rate * seconds]
            first += len(names)
            waits = _waits(kafka, names, pause_s=1 / rate)
            note = f"{len(waits)} of {len(names)} incidents"
            goal = "< 60 ms" if rate == 1 else ""
            yield Figure(f"signal to step at {rate}/s, p50", percentile(waits, 0.50), "ms", goal, note)
            yield Figure(f"signal to step at {rate}/s, p99", percentile(waits, 0.99), "ms", note=note)
        waits = _waits(kafka, NAMES[first:], pause_s=0)
        yield Figure(f"burst of {BURST:,} incidents drained in", max(waits) / 1_000, "s", note=f"{len(waits)} steps")


def _waits(kafka: Mapping[str, str], names: list[str], pause_s: float) -> list[float]:
    """Milliseconds from signal to step, for each of the services."""
    publisher = Publisher(kafka=kafka, registry=REGISTRY, producer="bench-signals", partitions=PARTITIONS)
    for name in names:
        i = NAMES.index(name)
        publisher.publish(Draft(signal_of(name), f"domain-{i % PARTITIONS}", name), partition=i % PARTITIONS)
        if pause_s:
            publisher.flush()
            time.sleep(pause_s)
    publisher.close()
    wanted, deadline = set(names), time.monotonic() + 60
    while time.monotonic() < deadline:
        raised, stepped = _times(kafka)
        if wanted <= stepped.keys():
            break
        time.sleep(1)
    return [stepped[name] - raised[name] for name in names if name in stepped]


def _times(kafka: Mapping[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    raised: dict[str, int] = {}
    stepped: dict[str, int] = {}
    for recorded in read(kafka, REGISTRY, Topic.LOG, types=[SignalRaised, StepRequested]):
        times = raised if isinstance(recorded.payload, SignalRaised) else stepped
        times.setdefault(recorded.envelope.service, recorded.recorded_at_ms)
    return raised, stepped


def signal_of(name: str) -> SignalRaised:
    """A signal of errors, as the observer would raise it now."""
    return SignalRaised(
        signal_id=derived_id("sig", name),
        kind=SignalKind.SLO_BURN,
        severity=Severity.PAGE,
        slo=f"{name}-errors",
        sli="errors",
        summary="errors",
        windows=[],
        confidence_bp=9_000,
        quality=PERFECT,
        started_at_us=time.time_ns() // 1_000,
        evidence=[],
    )
