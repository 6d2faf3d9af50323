"""Executor and effector on a real Kafka, the effector killed again and again: each effect once, or honestly unknown."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from killable import Killable
from sagas import ADA, POLICY, act, authorization, plan, signers, step
from waiting import eventually

from autopilot.agents.executor import Executor
from autopilot.schemas.configuration import Domain, Fleet, Service, TargetRef, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import (
    StepFailed,
    StepIndeterminate,
    StepStarted,
    StepSucceeded,
    TargetObserved,
)
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.clock import Clock
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read
from autopilot.streams.worker import AgentWorker, WorkerOptions

PROGRAM = Path(__file__).with_name("effector_program.py")
REGISTRY = BundledRegistry()
VERBS = ("add", "set", "blast")
PLANS = 36
KILLS = 8
ENDS = (ExecutionCompleted, ExecutionFailed, ExecutionRolledBack)

pytestmark = pytest.mark.kafka


class Effector(Killable):
    """The effector's process."""

    def __init__(self, cluster: dict[str, str], folder: Path) -> None:
        super().__init__(PROGRAM, cluster["bootstrap.servers"], str(folder))


@contextmanager
def at_work(cluster: dict[str, str], folder: Path) -> Iterator[Effector]:
    """The clock and the executor in threads, the effector as a process."""
    stop = threading.Event()
    options = WorkerOptions(kafka=cluster, registry=REGISTRY, partitions=4, instance="executor-0")
    workers = (
        Clock(kafka=cluster, registry=REGISTRY, partitions=4),
        AgentWorker(Executor(), options),
    )
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
    effector = Effector(cluster, folder)
    try:
        for thread in threads:
            thread.start()
        yield effector
    finally:
        stop.set()
        effector.stop()
        for thread in threads:
            thread.join(120)


def configure(cluster: dict[str, str]) -> None:
    fleet = Fleet(
        name="f",
        domains=[Domain(name=f"d{i}", partition=i) for i in range(4)],
        services=[
            Service(name="cart", domain="d1", tier=1, owner="o", targets=[TargetRef(driver="fake", target="seen")])
        ],
    )
    documents = [document(fleet.model_dump(mode="json")), signers()]
    publisher = Publisher(kafka=cluster, registry=REGISTRY, producer="ada", partitions=4, key=ADA)
    publisher.broadcast(Draft(ConfigurationActivated(revision="r", documents=documents, author="ada", comment=""), ""))
    publisher.close()


def numbered(i: int) -> PlanProposed:
    """Plan `i` does one thing to a target of its own, and has time for an effector that is slow to come back."""
    only = step(1, undo=False).model_copy(update={"action": act(VERBS[i % 3], f"t{i}"), "timeout_ms": 60_000})
    of = plan(only, plan_id=f"plan-{i}")
    return of.model_copy(update={"incident_id": f"inc-{i}", "expires_at_us": time.time_ns() // 1_000 + 600_000_000})


def authorise(publisher: Publisher, i: int) -> None:
    of = numbered(i)
    decided = authorization(of, decision_id=f"dec-{i}")
    decided = decided.model_copy(update={"not_after_us": time.time_ns() // 1_000 + 600_000_000})
    for payload in (of, decided):
        publisher.publish(Draft(payload, f"d{i % 4}", "", of.incident_id), partition=i % 4)
    publisher.flush()


def events(cluster: dict[str, str], *kinds: type[Payload]) -> list[Recorded[Payload]]:
    return list(read(cluster, REGISTRY, Topic.LOG, types=kinds))


def test_each_effect_happens_once_or_is_unknown_under_kills(cluster: dict[str, str], tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    configure(cluster)
    publisher = Publisher(kafka=cluster, registry=REGISTRY, producer="policy", partitions=4, key=POLICY)
    with at_work(cluster, tmp_path) as effector:
        for i in range(PLANS):
            authorise(publisher, i)
            if i % (PLANS // KILLS) == 2:
                time.sleep(chance.uniform(0.8, 2.2))
                effector.kill()
        eventually(lambda: len(events(cluster, *ENDS)) >= PLANS)
    publisher.close()
    assert len(events(cluster, *ENDS)) == PLANS
    starts = Counter(numbers(event) for event in events(cluster, StepStarted))
    results = {numbers(event): event for event in events(cluster, StepSucceeded, StepFailed, StepIndeterminate)}
    assert set(starts.values()) == {1}
    assert set(starts) <= set(results)
    assert len(results) == len(events(cluster, StepSucceeded, StepFailed, StepIndeterminate))
    for i in range(PLANS):
        path = tmp_path / f"t{i}"
        effects = len(path.read_text().splitlines()) if path.exists() else 0
        mine = [event.payload for (plan_id, _, _), event in results.items() if plan_id == f"plan-{i}"]
        if any(isinstance(payload, StepSucceeded) for payload in mine):
            assert effects == 1, f"t{i} ({VERBS[i % 3]})"
        else:
            assert VERBS[i % 3] == "blast"
            assert any(isinstance(payload, StepIndeterminate) for payload in mine)
            assert effects <= 1
    ids = [event.envelope.event_id for event in read(cluster, REGISTRY, Topic.LOG) if event.envelope.correlation_id]
    assert len(ids) == len(set(ids))


def numbers(event: Recorded[Payload]) -> tuple[str, str, int]:
    payload = event.payload
    assert isinstance(payload, StepStarted | StepSucceeded | StepFailed | StepIndeterminate)
    return payload.plan_id, payload.phase, payload.attempt


def test_a_targets_state_is_told_at_the_start_and_when_it_changes(cluster: dict[str, str], tmp_path: Path) -> None:
    configure(cluster)
    with at_work(cluster, tmp_path):
        eventually(lambda: len(events(cluster, TargetObserved)) >= 1)
        (tmp_path / "seen").write_text("changed\n")
        eventually(lambda: len(events(cluster, TargetObserved)) >= 2)
        time.sleep(2)
    told = events(cluster, TargetObserved)
    states = [event.payload.state for event in told if isinstance(event.payload, TargetObserved)]
    assert [state["lines"] for state in states] == ["0", "1"]
    assert {event.position.partition for event in told} == {1}
    assert {(event.envelope.domain, event.envelope.service) for event in told} == {("d1", "cart")}
