"""Commands that read ask the views that are served, and read the log itself when none are."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from long_log import PARTITIONS, course

from autopilot.infra.api.app import Source, create_app
from autopilot.infra.cli import views
from autopilot.infra.cli.incidents import incidents, timeline
from autopilot.infra.cli.remedy_history import list_remedies
from autopilot.infra.cli.views import from_views, waiting
from autopilot.infra.platform.ports import PortBook
from autopilot.infra.settings import Settings
from autopilot.projections.admission import Admission
from autopilot.projections.catalogue import projections
from autopilot.projections.projector import View
from autopilot.projections.shelf import Shelf
from autopilot.schemas.codec import Codec
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.registry import BundledRegistry

KNOWN = projections(PARTITIONS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """The views of a real log of the five agents, and where it ends."""
    folder, records = tmp_path_factory.mktemp("views"), course()
    known = {name: View(Shelf(folder, projection)) for name, projection in KNOWN.items()}
    admission = Admission(Codec(BundledRegistry()), EVENT_TYPES.values(), {})
    events = [event for record in records if (event := admission.admit(record)) is not None]
    ends = {record.position.partition: record.position.offset + 1 for record in records}
    for name, view in known.items():
        for event in events:
            if type(event.payload) in KNOWN[name].handles:
                KNOWN[name].apply(view.store, event)
        view.store.commit(ends)
    yield Source(KNOWN, known, ends)
    for view in known.values():
        view.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose Kafka accepts connections and says nothing: who reads the log fails."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("AUTOPILOT_KAFKA", f"127.0.0.1:{listening.getsockname()[1]}")
        yield tmp_path


@pytest.fixture
def served(source: Source, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home whose query API serves them."""
    monkeypatch.setattr(views, "ends", lambda kafka, topic: source.ends)
    port = PortBook(home / ".autopilot").port("api", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(source), "127.0.0.1", port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.02)
    yield Settings()
    server.should_exit = True
    thread.join(10)


def test_incidents_timeline_and_remedies_are_read_from_the_views(
    served: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.run == "live"
    incidents(as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert {row["stage"] for row in shown} == {"remediated"}
    timeline(shown[0]["incident_id"][:12], as_json=True)
    course_shown = json.loads(capsys.readouterr().out)
    assert course_shown["incident_id"] == shown[0]["incident_id"]
    assert course_shown["lines"][0]["event"] == "SignalRaised"
    list_remedies(as_json=True)
    remedies = json.loads(capsys.readouterr().out)
    assert sum(row["verified"] for row in remedies) == len(shown)
    assert all(row["brier"] is not None for row in remedies if row["verified"])
    list_remedies(calibration=True)
    printed = capsys.readouterr()
    assert f"{len(shown)} plans judged; Brier" in printed.out
    assert printed.err == ""
    assert waiting(served) == []


def test_without_views_the_log_is_read_and_a_line_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert from_views(Settings(), lambda _: "views", lambda: "log") == "log"
    assert "no views are served here: reading the whole log" in capsys.readouterr().err
    PortBook(home / ".autopilot").port("api", 0)
    assert from_views(Settings(), lambda _: "views", lambda: "log") == "log"
    assert "does not answer" in capsys.readouterr().err


def test_views_that_do_not_come_to_the_end_of_the_log_or_are_of_another_run_are_not_asked(
    served: Settings, source: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PATIENCE_S", 0.1)
    assert from_views(served.model_copy(update={"run": "shadow:x"}), lambda _: "views", lambda: "log") == "log"
    assert from_views(served, lambda _: "views", lambda: "log") == "views"
    ends = source.ends
    source.ends = {**ends, 0: ends[0] + 1}
    try:
        assert from_views(served, lambda _: "views", lambda: "log") == "log"
    finally:
        source.ends = ends
    assert "the views are 1 records behind" in capsys.readouterr().err
