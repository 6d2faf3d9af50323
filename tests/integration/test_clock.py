"""The clock on a real Kafka: what keeps one tick from being written does not end it."""

import threading

import pytest
from waiting import eventually

from autopilot.schemas.contract import Topic
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.clock import Clock
from autopilot.streams.kafka import PartitionWriter
from autopilot.streams.reader import read

REGISTRY = BundledRegistry()

pytestmark = pytest.mark.kafka


def ticks(cluster: dict[str, str]) -> list[int]:
    found = read(cluster, REGISTRY, Topic.LOG, types=[Tick], partitions=[0])
    return [one.payload.at_us for one in found if isinstance(one.payload, Tick)]


def test_a_tick_that_could_not_be_written_is_left_out_and_the_clock_goes_on(cluster: dict[str, str]) -> None:
    stop = threading.Event()
    clock = threading.Thread(target=Clock(kafka=cluster, registry=REGISTRY, partitions=4).run, args=(stop,))
    clock.start()
    try:
        eventually(lambda: ticks(cluster))
        PartitionWriter(cluster, "clock.broadcast")  # another clock that fences this one
        before = len(ticks(cluster))
        eventually(lambda: len(ticks(cluster)) > before + 1)
        assert clock.is_alive()
    finally:
        stop.set()
        clock.join(120)
    told = ticks(cluster)
    assert told == sorted(set(told))
