"""The KPI topology on a real Kafka: killed again and again it counts nothing twice and leaves nothing out."""

import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import decided
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kpi_count import difference, said
from loop import ADMINISTRATOR, KEYS, signers
from outcomes import outcome
from waiting import eventually

from autopilot.infra.platform.topics import create_topics, recreate_topics
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.observer import Quality, TelemetryQualityChanged
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.mint import Mint
from autopilot.streams.reader import read
from autopilot.streams.record import Outgoing
from autopilot.streams.trust import SIGNS

pytestmark = pytest.mark.kafka

PROGRAM = Path(__file__).with_name("kpis_program.py")
REGISTRY = BundledRegistry()
CODEC = Codec(REGISTRY)
MINTS = {kind: Mint(CODEC, "test", 4, key=key, signs=SIGNS[name]) for name, key in KEYS.items() for kind in SIGNS[name]}
"""Event type -> the mint of who signs it."""
MINT = Mint(CODEC, "test", 4)
DOMAINS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
BEGIN_MS = 1_700_000_040_000
"""Start of a minute, which is not a start of five."""
QUALITY = Quality(freshness_bp=10_000, completeness_bp=9_000, validity_bp=10_000, order_bp=10_000)


@pytest.fixture
def log(kafka: str) -> dict[str, str]:
    """The cluster, its log stamped by the writer, so that half an hour passes in seconds.

    It is so from the making on: a setting changed on a standing topic is in force somewhat later, and a topic that is
    deleted as soon as it was made may lose records of the one after it.
    """
    config = {"bootstrap.servers": kafka}
    recreate_topics(config, 4, {Topic.LOG: {"message.timestamp.type": "CreateTime"}})
    return config


# -- a log to count ----------------------------------------------------------------------------------------------------


def decision(incident: str, plan: str, policy: str) -> Decision:
    ruled = {"bundle": f"{policy}@1", "bundle_digest": f"sha256:{policy}"}
    return decided.decision(decision_id=f"dec-{plan}", plan_id=plan, incident_id=incident, **ruled)


def course(dice: random.Random, name: str) -> Iterator[Payload]:
    """What happens in one incident, in its order."""
    policy = dice.choice(("old", "new"))
    yield IncidentOpened(incident_id=name, signal_ids=[], severity="page", title="", started_at_us=0)
    for attempt in range(dice.randint(1, 2)):
        plan = f"{name}-plan-{attempt}"
        verdict = decision(name, plan, policy)
        names = {"execution_id": f"exe-{plan}", "plan_id": plan, "incident_id": name}
        if dice.random() < 0.5:
            yield ApprovalRequested(
                approval_id=f"app-{plan}", decision=verdict, group="sre", needed=1, summary="", expires_at_us=0
            )
        if dice.random() < 0.3:
            yield PlanDenied(decision=verdict, reason="")
            continue
        yield PlanAuthorized(decision=verdict, obligations=[], approvals=[], not_after_us=0)
        if dice.random() < 0.4:
            yield from held_step(dice, verdict)
        if dice.random() < 0.7:
            yield OutcomeVerified(outcome=outcome("remedy", **names))
            break
        yield OutcomeRejected(outcome=outcome("remedy", **names))
        yield OutcomeVerified(outcome=outcome("rollback", **names))
    yield IncidentClosed(incident_id=name, resolution="remediated", reason="")


def held_step(dice: random.Random, verdict: Decision) -> Iterator[Payload]:
    """A step of the plan that people are asked about once it is reached, and what they say."""
    plan, execution = verdict.plan_id, f"exe-{verdict.plan_id}"
    asked = {"group": "sre", "needed": 1, "summary": "", "expires_at_us": 0, "step_id": "2", "execution_id": execution}
    yield ApprovalRequested(approval_id=f"app-{plan}-2", decision=verdict, **asked)
    if dice.random() < 0.7:
        yield StepAuthorized(
            decision=verdict,
            plan_decision_id=verdict.decision_id,
            execution_id=execution,
            step_id="2",
            obligations=[],
            approvals=[],
            not_after_us=0,
        )
    else:
        names = {"decision_id": verdict.decision_id, "plan_id": plan, "incident_id": verdict.incident_id}
        yield AuthorizationRevoked(**names, reason="refused", step_id="2")


class Writer:
    """Writes the log second by second, each second in a transaction of its own; some of them are aborted."""

    def __init__(self, kafka: Mapping[str, str], seed: int) -> None:
        self.seed = seed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self._dice = random.Random(seed)
        self._under_way: list[tuple[str, Iterator[Payload]]] = []
        self._opened = 0
        self._now_ms = 0
        self.second = 0
        self._producer = Producer({**kafka, "transactional.id": "kpis-test", "linger.ms": 0})
        self._producer.init_transactions(60)
        self._configure()

    def _configure(self) -> None:
        """Puts the signer list in force in every partition."""
        activation = ConfigurationActivated(revision="r", documents=[signers()], author="ada", comment="")
        mint = Mint(CODEC, "ada", 4, key=ADMINISTRATOR, signs=frozenset({activation.event_type()}))
        self._producer.begin_transaction()
        for out in mint.broadcast(Draft(activation, ""), self._at_ms * 1_000):
            if out.topic == Topic.LOG:
                self._produce(out, out.partition, self._at_ms)
        self._producer.commit_transaction(60)

    def write(self, seconds: int, aborted: float = 0.15, opens: bool = True) -> None:
        for _ in range(seconds):
            self.second += 1
            self._producer.begin_transaction()
            if self._dice.random() < aborted:
                for payload in course(self._dice, f"inc-ghost-{self.second}"):
                    self._send(payload, self._dice.choice(DOMAINS))
                self._producer.flush(60)
                self._producer.abort_transaction(60)
                continue
            for payload, domain in self._events() if opens else ():
                self._send(payload, domain)
            for partition in range(4):
                self._send(Tick(at_us=self._at_ms * 1_000), "", partition)
            self._producer.commit_transaction(60)

    def start(self) -> None:
        """Goes on writing, much faster than the time in the log passes."""
        self._thread.start()

    def end(self) -> None:
        """Writes a last second, an hour later, so that every window has ended."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self.second += 3_600
            self.write(1, aborted=0, opens=False)

    def _go_on(self) -> None:
        while not self._stop.wait(0.1):
            self.write(5)

    @property
    def _at_ms(self) -> int:
        return BEGIN_MS + self.second * 1_000

    def _events(self) -> Iterator[tuple[Payload, str]]:
        if self._dice.random() < 0.6:
            self._opened += 1
            self._under_way.append((self._dice.choice(DOMAINS), course(self._dice, f"inc-{self._opened}")))
        for one in self._dice.sample(self._under_way, min(4, len(self._under_way))):
            domain, rest = one
            payload = next(rest, None)
            if payload is None:
                self._under_way.remove(one)
            else:
                yield payload, domain
        if self._dice.random() < 0.2:
            yield (
                TelemetryQualityChanged(quality=QUALITY, previous=QUALITY, worst_series="", reason=""),
                self._dice.choice(DOMAINS),
            )

    def _send(self, payload: Payload, domain: str, partition: int | None = None) -> None:
        self._now_ms = at_ms = max(self._at_ms, self._now_ms + self._dice.randrange(100))
        draft = Draft(payload, domain)
        out = MINTS.get(payload.event_type(), MINT).from_outside(draft, at_ms * 1_000, {})
        self._produce(out, out.partition if partition is None else partition, at_ms)

    def _produce(self, out: Outgoing, partition: int, at_ms: int) -> None:
        headers = list(out.headers.items())
        self._producer.produce(out.topic, out.value, out.key, partition, headers=headers, timestamp=at_ms)


# -- the topology as a process that dies -------------------------------------------------------------------------------


class Mortal:
    """The topology's process."""

    def __init__(self, kafka: Mapping[str, str], folder: Path) -> None:
        self._kafka = kafka
        self.folder = folder
        self._log = folder.parent / "kpis.log"
        self.ended_by_itself = 0
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, str(PROGRAM), self._kafka["bootstrap.servers"], str(self.folder)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def brings(self, what: Callable[[], bool], missing: Callable[[], str] = lambda: "not in time") -> None:
        """Waits for it; a process that ends by itself, as it does when anything goes wrong, is started again."""

        def is_there() -> bool:
            if self._process.poll() is not None:
                self.ended_by_itself += 1
                self.start()
            return what()

        eventually(is_there, what=lambda: f"{missing()}\n{self.log()}")

    def ended(self) -> int:
        """The exit code, once it has ended by itself."""
        return self._process.wait(120)

    def log(self) -> str:
        return self._log.read_text()


def ends(kafka: Mapping[str, str], topic: Topic) -> int:
    """How many records and markers a topic has."""
    consumer = Consumer({**kafka, "group.id": "unused"})
    try:
        return sum(consumer.get_watermark_offsets(TopicPartition(str(topic), p), 60)[1] for p in range(4))
    finally:
        consumer.close()


def committed(kafka: Mapping[str, str]) -> int:
    """Sum of the offsets that the topology has committed."""
    consumer = Consumer({**kafka, "group.id": "kpis"})
    wanted = [TopicPartition(str(Topic.LOG), p) for p in range(4)]
    try:
        return sum(max(found.offset, 0) for found in consumer.committed(wanted, 60))
    finally:
        consumer.close()


@pytest.fixture
def mortal(log: dict[str, str], tmp_path: Path) -> Iterator[Mortal]:
    process = Mortal(log, tmp_path / "rows")
    yield process
    process.kill()


@pytest.fixture
def writer(log: dict[str, str]) -> Iterator[Writer]:
    """A writer that goes on while the topology lives and dies."""
    writer = Writer(log, random.SystemRandom().randrange(10**6))
    writer.start()
    yield writer
    writer.end()


def test_killed_again_and_again_it_counts_what_a_fresh_count_does(
    log: dict[str, str], mortal: Mortal, writer: Writer
) -> None:
    dice = random.Random(writer.seed)
    print(f"seed {writer.seed}")
    for kill in range(4):
        mortal.brings(growth(log, dice.randint(1, 60)))
        mortal.kill()
        if kill == 2:
            shutil.rmtree(mortal.folder)
        mortal.start()
    writer.end()
    mortal.brings(lambda: not difference(*both(log)), lambda: str(difference(*both(log))[:20]))
    mortal.brings(lambda: committed(log) >= ends(log, Topic.LOG) - 8)
    windows, again = said(both(log)[1])
    print(f"{len(windows)} windows, {again} said again, {writer.second} s in the log")
    assert len(windows) > 100
    assert mortal.stop() == 0
    assert mortal.ended_by_itself <= 5, mortal.log()


def test_where_the_log_was_read_without_its_signer_list_nothing_is_counted_until_all_is_counted_anew(
    log: dict[str, str], tmp_path: Path
) -> None:
    writer = Writer(log, 7)
    writer.write(200, aborted=0)
    client = AdminClient(log)
    eventually(lambda: is_gone(client), what=lambda: "another test's member is still waited for")
    read_until = [TopicPartition(str(Topic.LOG), p, 60) for p in range(4)]
    consumer = Consumer({**log, "group.id": "kpis"})
    consumer.commit(offsets=read_until, asynchronous=False)  # as a version left it that kept no signer list
    consumer.close()
    writer.write(200, aborted=0)
    mortal = Mortal(log, tmp_path / "rows")
    try:
        assert mortal.ended() == 1
    finally:
        mortal.kill()
    assert "counted up to offset 60 without the signer list" in mortal.log()
    assert "delete the consumer group `kpis`, the topics `autopilot.kpis` and `autopilot.kpi-state`" in mortal.log()
    assert (ends(log, Topic.KPIS), ends(log, Topic.KPI_STATE), committed(log)) == (0, 0, 240)
    eventually(lambda: is_gone(client), what=mortal.log)
    for done in client.delete_topics([str(Topic.KPIS), str(Topic.KPI_STATE)]).values():
        done.result()
    shutil.rmtree(mortal.folder)
    eventually(lambda: bool(create_topics(log, 4)), what=mortal.log)
    mortal.start()
    try:
        writer.second += 3_600
        writer.write(1, aborted=0, opens=False)
        mortal.brings(lambda: not difference(*both(log)), lambda: str(difference(*both(log))[:20]))
        assert sum(event.payload.figures.authorized for event in both(log)[1]) > 0
    finally:
        mortal.kill()


def is_gone(client: AdminClient) -> bool:
    """Whether there is no group any more: it is not deleted while the broker still counts on a member's return."""
    (done,) = client.delete_consumer_groups(["kpis"]).values()
    error = done.exception()
    return error is None or error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def both(kafka: Mapping[str, str]) -> tuple[list[Any], list[Any]]:
    """The events of the log and of the KPIs' topic."""
    return list(read(kafka, REGISTRY, str(Topic.LOG))), list(read(kafka, REGISTRY, str(Topic.KPIS)))


def growth(kafka: Mapping[str, str], records: int) -> Callable[[], bool]:
    """Whether the rows' changelog has grown by so many records since."""
    enough = ends(kafka, Topic.KPI_STATE) + records
    return lambda: ends(kafka, Topic.KPI_STATE) >= enough
