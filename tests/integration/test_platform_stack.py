"""`autopilot up` whole: real Kafka, real registry, every process; then what people do on the command line."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner
from waiting import eventually

from autopilot.infra.cli.main import application
from autopilot.infra.composition import PROCESSES, publisher_of, registry_of
from autopilot.infra.effector.driver_file import TargetsFileError
from autopilot.infra.keys import ensure_key, public_key_of
from autopilot.infra.platform.ports import PortInUseError, free_port
from autopilot.infra.platform.processes import ProcessError
from autopilot.infra.platform.supervision import Supervision
from autopilot.infra.platform.topics import TopicsError
from autopilot.infra.settings import Settings, kafka_config
from autopilot.infra.signers import signers_of
from autopilot.infra.stack import Stack
from autopilot.schemas.configuration import Principal, Role, Signers
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.people import ApprovalGranted, ConfigurationActivated, Halt
from autopilot.schemas.events.planner import IncidentOpened
from autopilot.schemas.events.policy import ApprovalRequested, Decision
from autopilot.schemas.signing import SigningKey
from autopilot.streams.reader import read
from autopilot.streams.record import Outgoing

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

APP = application()
FLEET = """\
kind: Fleet
name: shop
domains: [{name: shop, partition: 1}]
services:
  - name: checkout
    domain: shop
    tier: 1
    owner: team
    telemetry: {interval_ms: 1000, required_metrics: [requests], stale_after_ms: 86400000, lost_after_ms: 86400000}
"""
RUNNER = CliRunner()


def autopilot(*arguments: str, code: int = 0) -> str:
    result = RUNNER.invoke(APP, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def as_json(*arguments: str, code: int = 0) -> Any:
    result = RUNNER.invoke(APP, [*arguments, "--json"])
    assert result.exit_code == code, (result.output, result.exception)
    return json.loads(result.stdout)


def log(*types: type[Payload]) -> list[Recorded[Payload]]:
    settings = Settings()
    return list(read(kafka_config(settings), registry_of(settings), str(Topic.LOG), types=types))


def pids() -> dict[str, int]:
    return {part["name"]: part["pid"] for part in as_json("status")}


@pytest.fixture(scope="module", autouse=True)
def home() -> Iterator[Path]:
    """A home in which all of it is up; its settings are in the environment, as an operator's would be."""
    folder = Path(tempfile.mkdtemp(prefix="autopilot-stack-"))
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("AUTOPILOT_HOME", str(folder / "home"))
    patch.setenv("AUTOPILOT_OTLP_PORT", str(free_port()))
    stack = Stack(Settings(), print)
    try:
        stack.up()
        yield folder
    finally:
        stack.down()
        patch.undo()
        shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def configured(home: Path) -> Path:
    """The configuration folder, applied."""
    folder = home / "config"
    folder.mkdir()
    (folder / "fleet.yaml").write_text(FLEET)
    autopilot("apply", str(folder))
    return folder


def up() -> list[str]:
    """What a further `up` says that it does."""
    said: list[str] = []
    Stack(Settings(), said.append).up()
    return said


def test_everything_runs_and_a_second_up_changes_nothing_and_says_so() -> None:
    before = pids()
    assert set(before) == {"kafka", "registry", *PROCESSES}
    assert all(before.values())
    assert up() == ["nothing to do: all of it runs, with these settings"]
    assert pids() == before


def test_a_changed_setting_restarts_only_whom_it_concerns(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, was, now = pids(), Settings().otlp_port, free_port()
    targets = home / "targets.yaml"
    targets.write_text("drivers: []\n")
    monkeypatch.setenv("AUTOPILOT_OTLP_PORT", str(now))
    monkeypatch.setenv("AUTOPILOT_TARGETS", str(targets))
    effector, otlp, starting = sorted(up())
    assert effector.startswith(f"restarting effector: AUTOPILOT_TARGETS (none) -> {str(targets)[:20]}")
    assert otlp == f"restarting otlp: AUTOPILOT_OTLP_PORT {was} -> {now}"
    assert starting == "starting effector, otlp"
    after = pids()
    assert {name for name in before if after[name] != before[name]} == {"effector", "otlp"}
    targets.write_text("drivers: [{driver: none}]\n")
    with pytest.raises(TargetsFileError, match=r"drivers\[0\]\.driver is 'none', expected one of"):
        up()
    assert pids() == after
    monkeypatch.undo()
    assert len(up()) == 3


def test_what_was_stopped_is_started_again_and_nothing_else() -> None:
    before = pids()
    Supervision(Settings().home).stop(["clock", "kpis"])
    assert up() == ["starting clock, kpis"]
    after = pids()
    assert {name for name in before if after[name] != before[name]} == {"clock", "kpis"}
    assert after["clock"] > 0


def test_settings_that_do_not_fit_the_topics_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pids()
    monkeypatch.setenv("AUTOPILOT_PARTITIONS", "8")
    with pytest.raises(TopicsError):
        up()
    assert pids() == before


def test_a_killed_process_is_started_again() -> None:
    before = pids()["planner"]
    os.kill(before, signal.SIGKILL)

    def planner() -> dict[str, Any]:
        parts = json.loads(RUNNER.invoke(APP, ["status", "--json"]).stdout)
        found: dict[str, Any] = next(part for part in parts if part["name"] == "planner")
        return found

    eventually(lambda: planner()["pid"] not in (0, before) and planner()["state"] == "RUNNING")
    assert pids()["planner"] != before


def test_a_taken_port_is_named_before_anything_starts(home: Path) -> None:
    other = Settings(home=home / "other", kafka_port=pids_port("kafka"))
    with pytest.raises(PortInUseError, match="AUTOPILOT_KAFKA_PORT"):
        Stack(other, print).up()
    assert all(part.state == "STOPPED" for part in Stack(other, print).status())


def test_an_existing_cluster_is_used_as_it_is(home: Path) -> None:
    ours = {part["name"]: part["detail"] for part in as_json("status")}
    settings = Settings(home=home / "guest", kafka=ours["kafka"], registry=ours["registry"], otlp_port=free_port())
    stack = Stack(settings, print)
    stack.prepare(30)
    try:
        parts = {part.name: part.state for part in stack.up(["otlp"])}
    finally:
        assert stack.down()
    assert (parts["kafka"], parts["registry"], parts["otlp"]) == ("EXTERNAL", "EXTERNAL", "RUNNING")
    assert not (home / "guest" / "kafka").exists()
    assert pids()["kafka"]


def test_a_cluster_that_does_not_answer_is_named(home: Path) -> None:
    settings = Settings(home=home / "lost", kafka="127.0.0.1:9", registry="http://127.0.0.1:9", otlp_port=free_port())
    stack = Stack(settings, print)
    try:
        with pytest.raises(ProcessError, match=r"kafka at `127\.0\.0\.1:9` does not answer \(`AUTOPILOT_KAFKA`\)"):
            stack.up()
        assert {part.name: part.state for part in stack.status()}["kafka"] == "UNREACHABLE"
    finally:
        stack.down()


def pids_port(name: str) -> int:
    address: str = next(part["detail"] for part in as_json("status") if part["name"] == name)
    return int(address.rsplit(":", 1)[1])


def test_configuration_is_broadcast_once_and_known_afterwards(configured: Path) -> None:
    activations = log(ConfigurationActivated)
    assert sorted(event.position.partition for event in activations) == [0, 1, 2, 3]
    assert len({event.envelope.event_id for event in activations}) == 1
    assert "in force already" in autopilot("apply", str(configured))
    (configured / "fleet.yaml").write_text(FLEET.replace("partition: 1", "partition: 2"))
    try:
        refused = as_json("apply", str(configured), code=1)
    finally:
        (configured / "fleet.yaml").write_text(FLEET)
    assert refused["event_id"] == ""
    assert [finding["field"] for finding in refused["findings"]] == ["domains.0.partition"]
    assert len(log(ConfigurationActivated)) == 4


def test_an_approver_may_not_activate(configured: Path) -> None:
    refused = as_json("apply", str(configured), "--as", "approver", "--dry-run", code=1)
    assert "administrator" in refused["findings"][0]["expected"]


def test_a_second_administrator_is_noted_with_the_setting_that_the_effector_needs(tmp_path: Path) -> None:
    eve = SigningKey.generate("eve")
    listed = signers_of(Settings().keys)
    both = [*listed.signers, Principal(name="eve", public_key=eve.public_key, roles=[Role.ADMINISTRATOR])]
    (tmp_path / "signers.yaml").write_text(yaml.safe_dump(Signers(name="local", signers=both).model_dump(mode="json")))
    (note,) = as_json("apply", str(tmp_path), "--dry-run")["notes"]
    assert note.startswith("`eve` is an administrator")
    assert note.endswith(f'{public_key_of(Settings().keys, "admin")} {eve.public_key}"')
    assert as_json("apply", str(tmp_path), "--dry-run")["findings"] == []


def test_a_broken_record_is_listed_shown_and_driven_again() -> None:
    settings = Settings()
    publisher = publisher_of(settings, "broken")
    publisher.send(Outgoing(str(Topic.LOG), 1, b"shop", b"nonsense", {"event-type": b"SignalRaised"}))
    publisher.flush()
    publisher.close()
    letter = eventually(lambda: next((x for x in as_json("dead-letters", "list") if "planner" in x["readers"]), None))
    assert (letter["source_topic"], letter["source_partition"], letter["error_class"]) == (
        str(Topic.LOG),
        1,
        "undecodable",
    )
    shown = as_json("dead-letters", "show", letter["id"])
    assert bytes.fromhex(shown["value"]) == b"nonsense"
    assert autopilot("dead-letters", "redrive", letter["id"]) == "1 record written again\n"
    again = eventually(
        lambda: [
            x
            for x in as_json("dead-letters", "list")
            if "planner" in x["readers"] and x["source_offset"] > letter["source_offset"]
        ]
    )
    assert bytes.fromhex(as_json("dead-letters", "show", again[0]["id"])["value"]) == b"nonsense"


def test_an_approval_is_signed_bound_to_the_request_and_answered() -> None:
    decision = Decision(
        decision_id="dec-x",
        plan_id="plan-x",
        incident_id="inc-x",
        plan_hash="sha256:plan",
        bundle="",
        bundle_digest="",
        rules=[],
        facts=[],
        facts_digest="sha256:facts",
    )
    request = ApprovalRequested(
        approval_id="apr-x",
        decision=decision,
        group="approver",
        needed=1,
        summary="scale checkout",
        expires_at_us=time.time_ns() // 1_000 + 600_000_000,
    )
    opened = IncidentOpened(incident_id="inc-x", signal_ids=[], severity="page", title="slow", started_at_us=0)
    for name, payload in (("planner", opened), ("policy", request)):
        publisher = publisher_of(Settings(), "test", ensure_key(Settings().keys, name))
        publisher.publish(Draft(payload, "shop", "checkout", "inc-x"), partition=1)
        publisher.flush()
        publisher.close()

    (waiting,) = as_json("approvals")
    assert (waiting["approval_id"], waiting["group"], waiting["plan_id"]) == ("apr-x", "approver", "plan-x")
    answered = autopilot("approve", "apr-x", "--as", "approver", "--comment", "fine", "--wait", "120", code=1)
    assert "ApprovalRefused" in answered  # the policy agent never asked for it
    (granted,) = log(ApprovalGranted)
    assert isinstance(granted.payload, ApprovalGranted)
    assert (granted.position.partition, granted.envelope.correlation_id) == (1, "inc-x")
    assert (granted.payload.plan_hash, granted.payload.facts_digest) == ("sha256:plan", "sha256:facts")

    def course() -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = as_json("timeline", "inc-x")["lines"]
        return lines if any(line["event"] == "NotificationRequested" for line in lines) else []

    lines = eventually(course, what=lambda: "the notifier has not said whom it tells")
    said = [line["event"] for line in lines if line["producer"] != "notifier"]
    assert said[:3] == ["IncidentOpened", "ApprovalRequested", "ApprovalGranted"]
    assert "approved by approver: fine" in autopilot("timeline", "inc-x")
    assert [row["incident_id"] for row in as_json("incidents", "--open")] == ["inc-x"]


def test_a_halt_reaches_every_partition_and_another_person_ends_it() -> None:
    assert "nothing halts shop" in autopilot("resume", "--domain", "shop", "--reason", "x", "--as", "admin", code=1)
    said = autopilot("halt", "--domain", "shop", "--reason", "migration", "--as", "admin")
    assert said == "halted: shop; to end it: approver\n"
    assert sorted(event.position.partition for event in log(Halt)) == [0, 1, 2, 3]
    refused = autopilot("resume", "--domain", "shop", "--reason", "done", "--as", "admin", code=1)
    assert "stays halted by admin" in refused
    assert "resumed" not in refused
    (row,) = as_json("halts")
    assert (row["scope"], row["halted_by"], row["reason"], row["may_end_it"]) == (
        "shop",
        "admin",
        "migration",
        ["approver"],
    )
    ended = autopilot("resume", "--domain", "shop", "--reason", "done", "--as", "approver")
    assert ended == "ended: the halt of shop by admin: migration\nresumed: shop\n"
    assert as_json("halts") == []


def test_two_people_who_both_halted_end_each_others_halt() -> None:
    for person in ("admin", "approver"):
        autopilot("halt", "--reason", "what is it doing?", "--as", person)
    half = autopilot("resume", "--reason", "seen", "--as", "admin", code=1)
    assert "ended: the halt of everything by approver" in half
    assert "stays halted by admin: who gave a halt does not end it; to end it: approver" in half
    assert "resumed: everything" in autopilot("resume", "--reason", "seen", "--as", "approver")


def test_a_halt_of_a_domain_that_is_not_there_is_refused_before_it_is_said() -> None:
    before = len(log(Halt))
    assert "the fleet has shop" in autopilot("halt", "--domain", "shpo", "--reason", "x", "--as", "admin", code=2)
    assert len(log(Halt)) == before


def test_logs_are_json_lines() -> None:
    last = autopilot("logs", "planner", "-n", "1")
    assert json.loads(last)["process"] == "planner"


def test_data_stays_between_runs(configured: Path) -> None:
    """Last of all: it takes everything down and up again."""
    before = [event.envelope.event_id for event in log(ConfigurationActivated)]
    assert autopilot("down").endswith("down\n")
    assert all(part["pid"] == 0 for part in as_json("status", code=1))
    autopilot("up")
    assert [event.envelope.event_id for event in log(ConfigurationActivated)] == before
    assert "in force already" in autopilot("apply", str(configured))
