"""The projector on a real Kafka: killed again and again, rebuilt while it serves, asked over HTTP."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from long_log import PARTITIONS, course, long_log, write
from waiting import PATIENCE_S, eventually

from autopilot.infra.platform.ports import free_port
from autopilot.infra.platform.processes import wait_until
from autopilot.projections.answers import Reset, RowChange
from autopilot.projections.catalogue import NAMES, projections
from autopilot.projections.client import Client
from autopilot.projections.rebuild import Rebuilt, rebuild
from autopilot.projections.shelf import RebuildUnderWayError, Shelf
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.record import EVENT_TYPE, SIGNATURE

pytestmark = pytest.mark.kafka
PROGRAM = Path(__file__).with_name("projector_program.py")
KILLS = 8


class Process:
    """The projector as a process."""

    def __init__(self, kafka: Mapping[str, str], home: Path) -> None:
        self._kafka = kafka
        self.views = home / "views"
        self._log = home / "projector.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        command = [sys.executable, str(PROGRAM), self._kafka["bootstrap.servers"], str(self.views), str(self.port)]
        with self._log.open("a") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        if wait:
            wait_until(self.is_healthy, PATIENCE_S, "projector", self._log, self.is_alive)

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz").is_success
        except httpx.TransportError:
            return False

    def end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(120)

    def await_records(self, records: int) -> None:
        """Returns once every view holds so many records."""
        wait_until(lambda: self._holds(records), PATIENCE_S, "the views", self._log, self.is_alive)

    def _holds(self, records: int) -> bool:
        with Client(self.url) as client, contextlib.suppress(httpx.TransportError):
            return all(sum(state.as_of.values()) == records for state in client.projections())
        return False

    def is_alive(self) -> bool:
        return self._process.poll() is None


@pytest.fixture
def projector(cluster: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    process = Process(cluster, tmp_path)
    yield process
    with contextlib.suppress(AttributeError):
        process.end(signal.SIGKILL)


def rebuilt(kafka: Mapping[str, str], folder: Path, *names: str) -> dict[str, Rebuilt]:
    known = projections(PARTITIONS)
    wanted = [known[name] for name in names or NAMES]
    found = rebuild(kafka, BundledRegistry(), folder, wanted, lambda _done, _total: None)
    return {one.projection: one for one in found}


def digests(process: Process) -> dict[str, str]:
    with Client(process.url) as client:
        return {state.projection: state.digest for state in client.projections()}


def test_killed_at_any_point_it_neither_loses_nor_repeats(
    cluster: dict[str, str], projector: Process, tmp_path: Path
) -> None:
    records = list(long_log(course(60), 40))
    writing = threading.Thread(target=_trickle, args=(cluster, records, KILLS * 0.9))
    writing.start()
    for kill in range(KILLS):
        projector.start(wait=False)
        time.sleep(0.9 + 0.11 * kill)
        projector.end(signal.SIGKILL)
    writing.join()
    projector.start()
    projector.await_records(len(records))
    fresh = rebuilt(cluster, tmp_path / "fresh")
    assert digests(projector) == {name: one.digest for name, one in fresh.items()}
    assert fresh["incidents"].rows > 100


def _trickle(kafka: Mapping[str, str], records: list, seconds: float) -> None:
    pieces = 60
    size = -(-len(records) // pieces)
    for start in range(0, len(records), size):
        write(kafka, records[start : start + size])
        time.sleep(seconds / pieces)


def test_without_its_folders_it_comes_to_the_same_state(
    cluster: dict[str, str], projector: Process, tmp_path: Path
) -> None:
    count = write(cluster, course(60))
    projector.start()
    projector.await_records(count)
    before = digests(projector)
    projector.end(signal.SIGTERM)
    shutil.rmtree(projector.views)
    projector.start()
    projector.await_records(count)
    assert digests(projector) == before


def test_a_rebuild_takes_over_while_the_old_view_is_served(
    cluster: dict[str, str], projector: Process, tmp_path: Path
) -> None:
    records = course(60)
    write(cluster, records)
    projector.start()
    with Client(projector.url) as client:
        projector.await_records(len(records))
        before = {state.projection: state for state in client.projections()}
        incidents = client.incidents()
        found = rebuilt(cluster, projector.views, "incidents")["incidents"]
        assert client.incidents().incidents == incidents.incidents
        eventually(lambda: _generation(client, "incidents") == 2)
        after = {state.projection: state for state in client.projections()}
        assert found.digest == after["incidents"].digest == before["incidents"].digest
        assert client.incidents() == incidents
        assert after["agents"] == before["agents"]
        assert [path.name for path in Shelf(projector.views, projections(4)["incidents"]).path.glob("0*")] == ["000002"]
        more = write(cluster, long_log(records, 2)) + len(records)
        projector.await_records(more)
        assert len(client.incidents().incidents) == 2 * len(incidents.incidents)


def test_copies_of_signed_words_change_no_view_and_no_rebuild_also_after_a_restart(
    cluster: dict[str, str], projector: Process, tmp_path: Path
) -> None:
    records = course(60)
    signed = [r for r in records if SIGNATURE in r.headers and r.headers[EVENT_TYPE] != b"ConfigurationActivated"]
    count = write(cluster, records)
    projector.start()
    projector.await_records(count)
    before = digests(projector)
    for _ in range(2):
        projector.end(signal.SIGKILL)
        count += write(cluster, signed)
        projector.start()
        projector.await_records(count)
        assert digests(projector) == before
    assert {name: one.digest for name, one in rebuilt(cluster, tmp_path / "fresh").items()} == before


@contextlib.contextmanager
def _listening(process: Process, projection: str) -> Iterator[Iterator[str]]:
    """The data of a feed that has begun: of all that comes from now on."""
    asked = {"projection": projection}
    with httpx.stream("GET", f"{process.url}/v1/changes", params=asked, timeout=PATIENCE_S) as answer:
        heard = (line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: "))
        assert next(heard) == "{}"  # its hello
        yield heard


def _generation(client: Client, name: str) -> int:
    return next(state.generation for state in client.projections() if state.projection == name)


def test_a_rebuild_that_fails_leaves_the_served_view_alone_and_another_one_waits(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    write(cluster, course(20))
    incidents = projections(PARTITIONS)["incidents"]
    rebuilt(cluster, tmp_path, "incidents")
    shelf = Shelf(tmp_path, incidents)

    def fail(_done: int, _total: int) -> None:
        with pytest.raises(RebuildUnderWayError):
            rebuilt(cluster, tmp_path, "incidents")
        raise InterruptedError

    with pytest.raises(InterruptedError):
        rebuild(cluster, BundledRegistry(), tmp_path, [incidents], fail)
    assert shelf.generation() == 1
    assert rebuilt(cluster, tmp_path, "incidents")["incidents"].rows > 0
    assert shelf.generation() == 2


def test_a_feed_of_changes_goes_on_where_it_was_even_after_a_restart(
    cluster: dict[str, str], projector: Process, tmp_path: Path
) -> None:
    records = course(60)
    projector.start()
    with _listening(projector, "incidents") as heard:
        write(cluster, records)
        first = RowChange.model_validate_json(next(heard))
    with Client(projector.url) as client:
        projector.await_records(len(records))
        projector.end(signal.SIGKILL)
        projector.start()
        rows = {row.incident_id: row for row in client.incidents().incidents}
        seen = {first.key: first.row}
        for change in client.changes(first.id, ["incidents"]):
            assert isinstance(change, RowChange)
            seen[change.key] = change.row
            if len(seen) == len(rows) and all(row and row["closed"] for row in seen.values()):
                break
        assert seen == {key: row.model_dump(mode="json") for key, row in rows.items()}
        rebuilt(cluster, projector.views, "incidents")
        eventually(lambda: _generation(client, "incidents") == 2)
        assert isinstance(next(client.changes(first.id, ["incidents"])), Reset)


def test_the_client_reads_every_view_and_errors_are_errors(
    cluster: dict[str, str], projector: Process, tmp_path: Path
) -> None:
    count = write(cluster, course(60))
    projector.start()
    with Client(projector.url) as client:
        projector.await_records(count)
        assert client.wait_for(client.incidents().as_of)
        rows = client.incidents().incidents
        assert [row.domain for row in client.incidents(domain="domain-1").incidents] == ["domain-1"] * 2
        assert client.incidents(open_only=True).incidents == []
        course_of_it = client.incident(rows[0].incident_id)
        assert course_of_it.incident == rows[0]
        assert course_of_it.timeline.lines[-1].event == "IncidentClosed"
        assert {service.service for service in client.services().services} == {f"svc-{i:03}" for i in range(4)}
        assert client.approvals().approvals == []
        assert client.scoreboard().versions[0].allowed == len(rows)
        assert sum(one.budget.authorised for one in client.budgets().budgets) == len(rows)
        assert {agent.agent for agent in client.agents().agents} >= {"observer", "policy", "effector"}
        assert client.health().status == "ok"
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            client.incident("inc-0000000000000000")
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            next(client.changes("nonsense", reconnect=False))


def test_it_holds_no_producer_and_answers_no_write(cluster: dict[str, str], projector: Process) -> None:
    projector.start()
    with httpx.Client(base_url=projector.url) as http:
        document = http.get("/openapi.json").json()
        assert {method for path in document["paths"].values() for method in path} == {"get"}
        assert http.post("/v1/incidents", json={}).status_code == 405
        page = http.get("/")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert http.get("/page/..%2fapp.py").status_code == 404
    loaded = [
        *Path(PROGRAM).parents[2].joinpath("projections").glob("*.py"),
        *Path(PROGRAM).parents[2].joinpath("infra", "api").glob("*.py"),
    ]
    assert not any("Producer" in path.read_text() or "PartitionWriter" in path.read_text() for path in loaded)
