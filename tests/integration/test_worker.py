"""The worker on a real Kafka: recovery, exactly-once outputs under kill -9, rebalancing, parking, dead letters."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import eventually

from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.planner import NoPlanFound
from autopilot.schemas.events.runtime import AgentFaulted, AgentSnapshot, AgentUpgraded, DeadLettered
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.kafka import PartitionWriter, producer
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read, read_raw
from autopilot.streams.record import Outgoing

PROGRAM = Path(__file__).with_name("echo_worker.py")
REGISTRY = BundledRegistry()
SERVICES = [f"service-{i}" for i in range(12)]

pytestmark = pytest.mark.kafka


@pytest.fixture
def publisher(cluster: dict[str, str]) -> Iterator[Publisher]:
    it = Publisher(kafka=cluster, registry=REGISTRY, producer="services", partitions=4)
    yield it
    it.close()


@contextmanager
def running(cluster: dict[str, str], instance: str = "counting-0", snapshot_every: int = 200) -> Iterator[int]:
    arguments = [sys.executable, str(PROGRAM), cluster["bootstrap.servers"], instance, str(snapshot_every)]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
        process.terminate()
    finally:
        if process.poll() is None:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def send(publisher: Publisher, first: int, count: int) -> None:
    for i in range(first, first + count):
        publisher.publish(Draft(TelemetryBatch(source=str(i), series=[]), "", SERVICES[i % len(SERVICES)]))
    publisher.flush()


def events(cluster: dict[str, str], topic: Topic, kind: type[Payload]) -> list[Recorded[Payload]]:
    return list(read(cluster, REGISTRY, topic, types=[kind]))


def answers(cluster: dict[str, str]) -> dict[str, list[int]]:
    """The running numbers that each service was answered with, in the log's order."""
    numbers: dict[str, list[int]] = {}
    for note in events(cluster, Topic.LOG, NoPlanFound):
        assert isinstance(note.payload, NoPlanFound)
        numbers.setdefault(note.envelope.service, []).append(int(note.payload.reason))
    return numbers


def exactly_once(total: int) -> dict[str, list[int]]:
    return {s: list(range(1, len(range(i, total, len(SERVICES))) + 1)) for i, s in enumerate(SERVICES)}


def count(cluster: dict[str, str]) -> int:
    return sum(map(len, answers(cluster).values()))


def test_killed_again_and_again_it_answers_each_record_exactly_once(
    cluster: dict[str, str], publisher: Publisher
) -> None:
    total, seed = 3_000, random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    feeder = threading.Thread(target=lambda: [send(publisher, i, 50) or time.sleep(0.1) for i in range(0, total, 50)])
    feeder.start()
    for _ in range(6):
        with running(cluster) as pid:
            time.sleep(dice.uniform(1.0, 2.5))
            os.kill(pid, signal.SIGKILL)
    feeder.join()
    with running(cluster):
        eventually(lambda: count(cluster) >= total)
    assert answers(cluster) == exactly_once(total)
    ids = [note.envelope.event_id for note in events(cluster, Topic.LOG, NoPlanFound)]
    assert len(ids) == len(set(ids))


def test_two_members_share_the_partitions_and_lose_nothing_when_one_leaves(
    cluster: dict[str, str], publisher: Publisher
) -> None:
    with running(cluster, "counting-0"):
        send(publisher, 0, 300)
        with running(cluster, "counting-1"):
            send(publisher, 300, 300)
            eventually(lambda: count(cluster) >= 600)
        send(publisher, 600, 300)
        eventually(lambda: count(cluster) >= 900)
    assert answers(cluster) == exactly_once(900)


def test_a_restart_starts_from_its_snapshot_and_says_which_code_it_is(
    cluster: dict[str, str], publisher: Publisher
) -> None:
    for first in (0, 240):
        with running(cluster):
            send(publisher, first, 240)
            eventually(lambda so_far=first + 240: count(cluster) >= so_far)
    assert answers(cluster) == exactly_once(480)
    upgrades = events(cluster, Topic.LOG, AgentUpgraded)
    assert sorted(u.position.partition for u in upgrades) == [0, 1, 2, 3]
    snapshots = events(cluster, Topic.SNAPSHOTS, AgentSnapshot)
    assert max(s.payload.next_offset for s in snapshots if isinstance(s.payload, AgentSnapshot)) > 40


def test_an_older_owner_of_a_partition_is_fenced_and_its_open_transaction_never_seen(cluster: dict[str, str]) -> None:
    def out(text: bytes) -> Outgoing:
        return Outgoing(Topic.LOG, 0, b"k", text, {})

    old = producer(cluster, "old", **{"transactional.id": "counting.0"})
    old.init_transactions(60)
    old.begin_transaction()
    old.produce(Topic.LOG, b"of the old owner", partition=0)
    assert old.flush(60) == 0
    new = PartitionWriter(cluster, "counting.0")
    new.commit([out(b"of the new owner")])
    with pytest.raises(Exception, match=r"(?i)fenced|epoch"):
        old.commit_transaction(60)

    assert [r.value for r in read_raw(cluster, Topic.LOG, partitions=[0])] == [b"of the new owner"]


def test_what_it_cannot_handle_is_kept_and_it_goes_on(cluster: dict[str, str], publisher: Publisher) -> None:
    def say(source: str, service: str) -> None:
        publisher.publish(Draft(TelemetryBatch(source=source, series=[]), "", service))
        publisher.flush()

    with running(cluster):
        say("broken", "service-0")
        publisher.send(
            Outgoing(Topic.TELEMETRY, 1, b"service-1", b"\0\0\0\0\1garbage", {"event-type": b"TelemetryBatch"})
        )
        say("poison", "service-2")
        say("after the poison", "service-2")
        say("fine", "service-3")
        publisher.flush()
        eventually(lambda: count(cluster) >= 1 and len(events(cluster, Topic.DEAD_LETTERS, DeadLettered)) >= 2)
        eventually(lambda: events(cluster, Topic.LOG, AgentFaulted))
    assert answers(cluster) == {"service-3": [1]}
    letters = [d.payload for d in events(cluster, Topic.DEAD_LETTERS, DeadLettered)]
    assert sorted(d.error_class for d in letters if isinstance(d, DeadLettered)) == ["invalid", "undecodable"]
    (fault,) = events(cluster, Topic.LOG, AgentFaulted)
    assert isinstance(fault.payload, AgentFaulted)
    assert fault.payload.parked == "service-2"
