"""The whole loop on a secure Kafka: every part a process with its own password, one incident from signal to outcome."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleet import FileFleet
from harness import REGISTRY, Tally, World
from invariants import missing_links, unsigned_steps
from processes import AGENTS, PARTITIONS

from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import create_topics
from autopilot.infra.security.ground import Ground
from autopilot.infra.security.principals import GRANTS, PEOPLE
from autopilot.infra.security.provision import provision
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.planner import IncidentClosed
from autopilot.streams.reader import read_raw
from autopilot.streams.record import Record

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("secure_process.py")
TESTS = Path(__file__).parents[1]
PARTS = (*AGENTS, "effector", "clock")


@contextmanager
def running(names: Sequence[str], arguments: Sequence[str], logs: Path) -> Iterator[dict[str, int]]:
    """The processes, while the context lasts; their output goes to files of their own."""
    logs.mkdir()
    paths = os.pathsep.join(str(TESTS / folder) for folder in ("chaos", "unit"))
    environment = {**os.environ, "PYTHONPATH": paths}
    processes = {}
    try:
        for name in names:
            with (logs / f"{name}.log").open("ab") as log:
                command = [sys.executable, str(PROGRAM), name, *arguments]
                processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        yield {name: process.pid for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            process.wait(120)


def test_an_incident_is_ended_by_processes_with_their_own_passwords(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ground.ensure(list(GRANTS))
    broker = EmbeddedKafka(tmp_path / "kafka", security=ground)
    broker.start()
    try:
        provision(ground, broker.admin_config())
        create_topics(broker.admin_config(), PARTITIONS)
        raw = one_incident(broker, ground, tmp_path)
    finally:
        broker.stop()
    codec = Codec(REGISTRY)
    log = [Recorded(r.position, codec.decode(r.value), None, r.timestamp_ms) for part in raw for r in part]
    closed = [one.payload for one in log if isinstance(one.payload, IncidentClosed)]
    assert [one.resolution for one in closed] == ["remediated"]
    assert missing_links(log) == []
    assert unsigned_steps(log, raw) == []
    assert "is Denied operation" not in broker.log.read_text()


def one_incident(broker: EmbeddedKafka, ground: Ground, folder: Path) -> list[list[Record]]:
    """Breaks a service, waits for the end of its incident, and gives the log's records by partition."""

    def client(name: str) -> dict[str, str]:
        return {"bootstrap.servers": broker.bootstrap, **ground.client(ground.credentials(name))}

    fleet = FileFleet(folder / "fleet", ["svc-000", "svc-001"])
    fleet.create()
    World(client(PEOPLE), fleet).configure(1)
    services, tally = World(client("services"), fleet), Tally(client("dashboards"))
    with running(PARTS, [broker.bootstrap, str(folder), str(folder / "fleet")], folder / "logs") as pids:
        services.start()
        try:
            time.sleep(8)
            assert_no_password_is_shown(pids, ground)
            fleet.switch("svc-000", "bad", "fault")
            deadline = time.monotonic() + 240
            while not tally.closed:
                assert time.monotonic() < deadline, f"no incident was closed; logs in {folder / 'logs'}"
                tally.update()
                time.sleep(0.5)
        finally:
            services.stop()
    return [list(read_raw(client("dashboards"), Topic.LOG, partitions=[p])) for p in range(PARTITIONS)]


def assert_no_password_is_shown(pids: dict[str, int], ground: Ground) -> None:
    """Neither command lines nor environments, which every process of the user can read, have one."""
    passwords = [ground.credentials(name).read_text().split("sasl.password=")[1].strip() for name in GRANTS]
    for name, pid in pids.items():
        seen = (Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()).decode()
        assert name in seen
        assert not [password for password in passwords if password in seen]
