"""Incidents keep coming while every agent and the effector are killed in turn; then the whole log is examined.

`CHAOS_INCIDENTS`, `CHAOS_KILLS` and `CHAOS_BROKER_RESTARTS` change the size, `CHAOS_SEED` repeats a run.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from fleet import FileFleet
from harness import REGISTRY, Plan, Platform, Tally, World, await_told, open_channel, run_incidents
from invariants import (
    duplicates,
    effects,
    missing_links,
    orphans,
    results,
    unfinished,
    unsigned_steps,
    untold,
)
from kpi_count import difference, fresh_count
from loop import five_agents
from processes import MORTALS, PARTITIONS, SEALER
from receiver import Receiver

from autopilot.agents.agent import Agent
from autopilot.infra.notifier.notices import Notices
from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import create_topics
from autopilot.projections.catalogue import projections
from autopilot.projections.projector import Projector
from autopilot.projections.rebuild import rebuild
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationFailed
from autopilot.streams.audit.audit import Audit, AuditOptions
from autopilot.streams.audit.source import LiveTopics
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.reader import read, read_raw
from autopilot.streams.record import EVENT_TYPE, Record
from autopilot.streams.replay import Recordings, replay
from autopilot.streams.snapshots import latest

INCIDENTS = int(os.environ.get("CHAOS_INCIDENTS", "200"))
KILLS = int(os.environ.get("CHAOS_KILLS", "12"))
RESTARTS = int(os.environ.get("CHAOS_BROKER_RESTARTS", "0"))
ANSWERS = {model.event_type().encode() for model in (NotificationDelivered, NotificationFailed)}
"""What the notifier says beside its fold."""
SERVICES = 48
DOMAINS = 4

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 + 3 * INCIDENTS)]


@dataclass
class Aftermath:
    """What is left when the dust has settled."""

    kafka: dict[str, str]
    raw: dict[Topic, list[list[Record]]]
    log: list[Recorded]
    telemetry: list[Recorded]
    fleet: FileFleet
    kills: list[str]
    tally: Tally
    codec: Codec
    arrived: Counter[str]
    """How often each notification came."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker of its own, since it may be restarted."""
    broker = EmbeddedKafka(tmp_path_factory.mktemp("chaos-kafka"))
    broker.start(print)
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def aftermath(broker: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """The log after the incidents and the kills."""
    config = {"bootstrap.servers": broker.bootstrap}
    create_topics(config, PARTITIONS)
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    plan = Plan(INCIDENTS, KILLS, RESTARTS, seed)
    folder = tmp_path_factory.mktemp("chaos")
    print(f"\n{plan}; logs in {folder}", flush=True)
    fleet = FileFleet(folder / "fleet", [f"svc-{i:03}" for i in range(SERVICES)])
    fleet.create()
    world, platform, tally = World(config, fleet), Platform(config, folder / "fleet", folder / "logs"), Tally(config)
    world.configure(DOMAINS)
    receiver = Receiver()
    receiver.refusals = [503] * 10
    open_channel(folder, receiver.url)
    platform.start_all()
    world.start()
    try:
        run_incidents(world, platform, tally, broker, plan)
        await_told(config, platform, lambda: receiver.ids)
    finally:
        world.stop()
        platform.stop()
        receiver.close()
    return examine(config, fleet, platform, tally, receiver.ids)


def examine(
    config: dict[str, str], fleet: FileFleet, platform: Platform, tally: Tally, arrived: Counter[str]
) -> Aftermath:
    """Reads everything that was committed."""
    codec = Codec(REGISTRY)
    raw = {t: [list(read_raw(config, t, partitions=[p])) for p in range(PARTITIONS)] for t in Topic if t != Topic.SEALS}
    decoded = {
        topic: [
            Recorded(record.position, codec.decode(record.value), None, record.timestamp_ms)
            for partition in raw[topic]
            for record in partition
        ]
        for topic in (Topic.LOG, Topic.TELEMETRY)
    }
    log, telemetry = decoded[Topic.LOG], decoded[Topic.TELEMETRY]
    return Aftermath(config, raw, log, telemetry, fleet, platform.kills, tally, codec, arrived)


def test_every_part_was_killed_and_every_incident_reached_its_end(aftermath: Aftermath) -> None:
    assert len(aftermath.kills) == KILLS + RESTARTS
    if len(MORTALS) <= KILLS:
        assert set(aftermath.kills) >= set(MORTALS)
    assert unfinished(aftermath.log) == []
    ends = Counter(aftermath.tally.closed.values())
    print(f"\n{len(aftermath.log)} events, incidents ended: {dict(ends)}", flush=True)
    assert sum(ends.values()) >= INCIDENTS
    assert not [name for name in aftermath.fleet.names if aftermath.fleet.is_bad(name)]


def test_no_event_stands_twice_and_none_is_without_its_cause(aftermath: Aftermath) -> None:
    assert duplicates([*aftermath.log, *aftermath.telemetry]) == []
    assert orphans(aftermath.log, aftermath.telemetry) == []


def test_no_link_is_missing_from_signal_to_outcome(aftermath: Aftermath) -> None:
    assert missing_links(aftermath.log) == []


def test_no_step_was_started_without_a_signed_decision_and_each_has_one_result(aftermath: Aftermath) -> None:
    assert unsigned_steps(aftermath.log, aftermath.raw[Topic.LOG]) == []
    assert results(aftermath.log) == []


def test_each_effect_happened_as_often_as_the_log_says(aftermath: Aftermath) -> None:
    assert effects(aftermath.log, aftermath.fleet.history.read_text().splitlines()) == []


def test_people_were_told_of_each_action_and_escalation_once_in_the_log_and_at_least_once_at_the_receiver(
    aftermath: Aftermath,
) -> None:
    assert untold(aftermath.log, aftermath.arrived) == []
    again = sum(times - 1 for times in aftermath.arrived.values())
    print(f"\n{len(aftermath.arrived)} notifications arrived, {again} of them again", flush=True)
    assert len(aftermath.arrived) >= INCIDENTS


def folding() -> list[Agent[Any]]:
    """Whatever folds the log and says what follows."""
    return [*five_agents(), Notices()]


@pytest.mark.parametrize("index", range(6), ids=[agent.name for agent in folding()])
def test_a_fresh_fold_decides_the_same_and_ends_in_the_same_state(aftermath: Aftermath, index: int) -> None:
    agent, codec = folding()[index], aftermath.codec
    recordings = Recordings(codec, [agent.name])
    places = {record.position: record for topic in aftermath.raw.values() for part in topic for record in part}
    for topic in (Topic.LOG, Topic.TELEMETRY):
        for records in aftermath.raw[topic]:
            recordings.take(record for record in records if record.headers.get(EVENT_TYPE) not in ANSWERS)
    replayed = replay(
        agent, codec, [[records] for records in aftermath.raw[agent.reads]], recordings, places.__getitem__
    )
    assert replayed.divergences == []
    for partition in range(PARTITIONS):
        snapshot = latest(
            aftermath.raw[Topic.SNAPSHOTS][partition], codec, agent=agent.name, topic=agent.reads, partition=partition
        )
        assert snapshot is not None
        fold = PartitionFold(agent, codec, Mint(codec, agent.name, PARTITIONS), reads_run="live")
        records = aftermath.raw[agent.reads][partition]
        fold.step([record for record in records if record.position.offset < snapshot.manifest.next_offset])
        assert fold.dump() == snapshot.state


def test_the_audit_finds_nothing_wrong(aftermath: Aftermath) -> None:
    source = LiveTopics(aftermath.kafka, REGISTRY)
    report = Audit(source, REGISTRY, AuditOptions(sealers=[SEALER.public_key])).run()
    print(f"\n{report.seals} seals over {sum(p.verified for p in report.partitions)} records", flush=True)
    assert report.violations == []
    assert report.seals > 0


def test_every_projection_equals_a_fresh_fold(aftermath: Aftermath, tmp_path: Path) -> None:
    everything = projections(PARTITIONS)
    fresh = rebuild(aftermath.kafka, REGISTRY, tmp_path, list(everything.values()), lambda *_: None)
    projector, stop = Projector(aftermath.kafka, REGISTRY, aftermath.fleet.folder.parent / "views", everything), Event()
    following = Thread(target=projector.run, args=(stop,))
    following.start()
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = {name: view.digest() for name, view in projector.views.items()}
            if all(found[one.projection][1] == one.as_of for one in fresh):
                break
            time.sleep(0.5)
    finally:
        stop.set()
        following.join()
        projector.close()
    assert {name: digest for name, (digest, _) in found.items()} == {one.projection: one.digest for one in fresh}
    assert all(one.rows > 0 for one in fresh if one.projection in {"incidents", "services", "agents"})


def test_the_kpis_equal_a_fresh_count(aftermath: Aftermath) -> None:
    folder = aftermath.fleet.folder
    platform = Platform(aftermath.kafka, folder, folder.parent / "logs")
    platform.start("kpis")
    deadline = time.monotonic() + 120
    try:
        while (findings := kpi_findings(aftermath)) and time.monotonic() < deadline:
            platform.revive()
            time.sleep(0.5)
    finally:
        platform.stop()
    assert findings == []
    windows = fresh_count(aftermath.log)
    minutes = Counter[str]()
    for (*_, length, _), counted in windows.items():
        minutes += counted if length == 60_000 else Counter()
    print(f"\n{len(windows)} windows of the KPIs equal a fresh count: {dict(minutes)}", flush=True)
    assert minutes["PlanAuthorized"] > 0


def kpi_findings(aftermath: Aftermath) -> list[str]:
    """Where what the topology has said by now is not what the log gives."""
    said = list(read(aftermath.kafka, REGISTRY, str(Topic.KPIS)))
    return difference(aftermath.log, said, read_raw(aftermath.kafka, str(Topic.KPI_STATE)))
