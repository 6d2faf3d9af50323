"""How long an agent takes to be back after a million control events, with the default snapshot interval.

Signals come and go; the planner opens an incident for each, proposes a plan, takes it back and closes the incident:
seven control events a signal, all of them on the log that it reads. It is ended with SIGKILL and started again: what
is measured is the time from the start of the new process to its last partition recovered.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.observer import SignalCleared
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.identity import derived_id
from autopilot.streams.publisher import Publisher
from bench.loop_latency import NAMES, PARTITIONS, PERFECT, REGISTRY, prepare, signal_of
from bench.measure import Figure

EVENTS = 1_000_000
PER_SIGNAL = 7
AGENT = "planner"
TICK_EVERY = 2_000
PROGRAM = Path(__file__).with_name("recovering_agent.py")


def figures(kafka: Mapping[str, str]) -> Iterator[Figure]:
    """The rate at which the log was worked off, and the time to recover."""
    prepare(kafka)
    _fill(kafka, EVENTS // PER_SIGNAL)
    started = time.perf_counter()
    process = _start(kafka)
    events = _worked_off(kafka)
    took = time.perf_counter() - started
    yield Figure(f"{AGENT} working off the log, outputs included", events / took, "events/s", note=f"{events:,} events")
    process.kill()
    process.wait()
    again = _start(kafka, "--until-recovered")
    seconds, folded = again.communicate(timeout=300)[0].split()
    note = f"{int(folded):,} events folded again, 4 partitions; process start included"
    yield Figure(f"recovery after {events:,} control events", float(seconds), "s", "< 10 s", note)


def _fill(kafka: Mapping[str, str], signals: int) -> None:
    """Signals that are raised and cleared again, and time that passes."""
    publisher = Publisher(kafka=kafka, registry=REGISTRY, producer="bench-course", partitions=PARTITIONS)
    now_us = time.time_ns() // 1_000
    for i in range(signals):
        name = NAMES[i % 400]
        at_us, place = now_us + i * 1_000, (i % 400) % PARTITIONS
        raised = signal_of(name).model_copy(update={"signal_id": derived_id("sig", str(i)), "started_at_us": at_us})
        cleared = SignalCleared(signal_id=raised.signal_id, reason="it is over", quality=PERFECT)
        for payload in (raised, cleared):
            publisher.publish(Draft(payload, f"domain-{place}", name), partition=place, at_us=at_us)
        if i % TICK_EVERY == 0:
            publisher.flush()
            publisher.broadcast(Draft(Tick(at_us=at_us), ""), at_us=at_us)
    publisher.close()


def _start(kafka: Mapping[str, str], *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), kafka["bootstrap.servers"], AGENT, *flags],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _worked_off(kafka: Mapping[str, str]) -> int:
    """Waits until the log has grown no more for a while; gives how many records it holds."""
    consumer = Consumer({**kafka, "group.id": "bench-ends"})
    places = [TopicPartition(str(Topic.LOG), p) for p in range(PARTITIONS)]
    last, since = -1, time.perf_counter()
    while time.perf_counter() - since < 5:
        ends = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        if ends != last:
            last, since = ends, time.perf_counter()
        time.sleep(0.5)
    consumer.close()
    return last
