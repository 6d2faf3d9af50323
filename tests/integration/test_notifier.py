"""The notifier on a real Kafka with real receivers: said once in the log, delivered at least once, also when killed."""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from killable import Killable
from receiver import Receiver
from sagas import ADA, BOB, signers
from waiting import eventually

from autopilot.infra.cli.main import main
from autopilot.infra.webhook_signature import is_authentic
from autopilot.schemas.configuration import Domain, Fleet, Service, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationFailed, NotificationRequested
from autopilot.schemas.events.people import ConfigurationActivated, Halt
from autopilot.schemas.events.planner import NoPlanFound
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

PROGRAM = Path(__file__).with_name("notifier_program.py")
REGISTRY = BundledRegistry()
SECRET = "the key of the pager"
PATH = "/services/T0/B0/very-secret-path"

pytestmark = pytest.mark.kafka


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()
    yield it
    it.close()


class Notifier(Killable):
    """The process, and what it logs."""

    def __init__(self, cluster: dict[str, str], folder: Path, channels: list[dict[str, Any]]) -> None:
        path = folder / "channels.yaml"
        path.write_text(yaml.safe_dump({"channels": channels}))
        self.log = folder / "notifier.log"
        super().__init__(PROGRAM, cluster["bootstrap.servers"], str(path), log=self.log)


@contextmanager
def notifying(cluster: dict[str, str], folder: Path, *channels: dict[str, Any]) -> Iterator[Notifier]:
    notifier = Notifier(cluster, folder, list(channels))
    try:
        yield notifier
    finally:
        notifier.stop()


@pytest.fixture
def people(cluster: dict[str, str]) -> Iterator[Publisher]:
    """Ada, after she put a fleet and its signers in force."""
    domains = [Domain(name=f"d{i}", partition=i) for i in range(4)]
    services = [Service(name=f"s{i}", domain=f"d{i}", tier=1, owner="payments") for i in range(4)]
    documents = [document(Fleet(name="f", domains=domains, services=services).model_dump(mode="json")), signers()]
    publisher = Publisher(kafka=cluster, registry=REGISTRY, producer="ada", partitions=4, key=ADA)
    publisher.broadcast(Draft(ConfigurationActivated(revision="r", documents=documents, author="ada", comment=""), ""))
    yield publisher
    publisher.close()


def escalate(publisher: Publisher, first: int, count: int) -> None:
    for i in range(first, first + count):
        payload = NoPlanFound(incident_id=f"inc-{i}", reason="no remedy applies", considered=[], look_at=["it"])
        publisher.publish(Draft(payload, f"d{i % 4}", f"s{i % 4}", f"inc-{i}"), partition=i % 4)
    publisher.flush()


def events(cluster: dict[str, str], *kinds: type[Payload], topic: Topic = Topic.LOG) -> list[Recorded[Any]]:
    return list(read(cluster, REGISTRY, topic, types=kinds))


def pager(receiver: Receiver, folder: Path, **changes: Any) -> dict[str, Any]:
    secret = folder / "secret"
    secret.write_text(SECRET)
    return {"name": "pager", "kind": "webhook", "url": receiver.url, "secret_file": str(secret), **changes}


def test_killed_again_and_again_it_says_each_thing_once_and_delivers_all(
    cluster: dict[str, str], people: Publisher, receiver: Receiver, tmp_path: Path
) -> None:
    seed, total = random.randrange(10_000), 120
    print(f"seed {seed}")
    chance = random.Random(seed)
    with notifying(cluster, tmp_path, pager(receiver, tmp_path)) as notifier:
        for first in range(0, total, 20):
            escalate(people, first, 20)
            time.sleep(chance.uniform(1.0, 2.5))
            notifier.kill()
        eventually(lambda: len(events(cluster, NotificationDelivered)) >= total)
        time.sleep(1.0)
    requested = events(cluster, NotificationRequested)
    assert Counter(event.payload.incident_id for event in requested) == Counter(f"inc-{i}" for i in range(total))
    ids = {event.payload.notification_id for event in requested}
    assert len(ids) == total
    assert Counter(event.payload.notification_id for event in events(cluster, NotificationDelivered)) == Counter(ids)
    assert set(receiver.ids) == ids
    again = sum(receiver.ids.values()) - total
    print(f"{again} of {total} were sent twice")
    assert {(e.envelope.domain, e.position.partition) for e in requested} == {(f"d{i}", i) for i in range(4)}


def test_what_is_sent_is_signed_and_what_is_not_taken_is_sent_again(
    cluster: dict[str, str], people: Publisher, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.refusals = [503, 429]
    with notifying(cluster, tmp_path, pager(receiver, tmp_path)):
        escalate(people, 0, 1)
        eventually(lambda: len(events(cluster, NotificationDelivered)) == 1)
    (delivered,) = events(cluster, NotificationDelivered)
    assert delivered.payload.attempts == 3
    assert (delivered.envelope.domain, delivered.envelope.correlation_id) == ("d0", "inc-0")
    (headers,) = receiver.headers
    assert is_authentic(SECRET.encode(), headers, headers["raw"].encode(), int(time.time()))
    assert receiver.bodies[0]["incident_id"] == "inc-0"


def test_slack_is_told_in_its_payload_and_its_address_is_told_nowhere(
    cluster: dict[str, str], people: Publisher, receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "slack").write_text(f"{receiver.url}{PATH}\n")
    (tmp_path / "closed").write_text(f"http://127.0.0.1:1{PATH}\n")
    slack = {"name": "sre", "kind": "slack", "url_file": str(tmp_path / "slack")}
    closed = {"name": "closed", "kind": "slack", "url_file": str(tmp_path / "closed"), "max_attempts": 2}
    with notifying(cluster, tmp_path, slack, closed) as notifier:
        escalate(people, 0, 1)
        eventually(lambda: len(events(cluster, NotificationDelivered, NotificationFailed)) == 2)
    (body,) = receiver.bodies
    assert body["path"] == PATH
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "context"]
    assert "`autopilot timeline inc-0`" in body["blocks"][1]["text"]["text"]
    (failed,) = events(cluster, NotificationFailed)
    assert (failed.payload.channel, failed.payload.attempts) == ("closed", 2)
    assert "ConnectError" in failed.payload.reason
    assert "very-secret" not in failed.payload.reason + notifier.log.read_text()


def test_a_channel_is_tried_from_the_command_line(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "channels.yaml"
    closed = {**pager(receiver, tmp_path, name="closed"), "url": "http://127.0.0.1:1"}
    path.write_text(yaml.safe_dump({"channels": [pager(receiver, tmp_path), closed]}))
    monkeypatch.setenv("AUTOPILOT_NOTIFICATIONS", str(path))
    for words, code in ((["test", "pager"], 0), (["test"], 1), (["test", "nobody"], 1), (["channels"], 0)):
        monkeypatch.setattr(sys, "argv", ["autopilot", "notifications", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code, words
    out = capsys.readouterr().out
    assert "ConnectError" in out
    assert [body["reason"] for body in receiver.bodies] == ["test", "test"]


def test_what_was_asked_for_while_nobody_could_send_is_sent_later_or_is_too_old(
    cluster: dict[str, str], people: Publisher, receiver: Receiver, tmp_path: Path
) -> None:
    with notifying(cluster, tmp_path):
        escalate(people, 0, 2)
        eventually(lambda: len(events(cluster, NotificationRequested)) == 2)
    late = pager(receiver, tmp_path, name="late", max_age_s=0.1)
    with notifying(cluster, tmp_path, pager(receiver, tmp_path), late):
        eventually(lambda: len(events(cluster, NotificationDelivered, NotificationFailed)) == 4)
    assert sorted(receiver.ids.values()) == [1, 1]
    for event in events(cluster, NotificationFailed):
        assert (event.payload.channel, event.payload.attempts) == ("late", 0)
        assert "older than" in event.payload.reason


def test_a_halt_is_told_once_and_one_that_does_not_count_is_not(
    cluster: dict[str, str], people: Publisher, receiver: Receiver, tmp_path: Path
) -> None:
    bob = Publisher(kafka=cluster, registry=REGISTRY, producer="bob", partitions=4, key=BOB)
    eve = Publisher(kafka=cluster, registry=REGISTRY, producer="eve", partitions=4)
    with notifying(cluster, tmp_path, pager(receiver, tmp_path)):
        eve.broadcast(Draft(Halt(scope="*", ordered_by="eve", reason="mischief"), ""))
        bob.broadcast(Draft(Halt(scope="*", ordered_by="bob", reason="migration"), ""))
        escalate(people, 0, 4)
        eventually(lambda: len(events(cluster, NotificationDelivered)) == 5)
    bob.close()
    eve.close()
    titles = sorted(body["title"] for body in receiver.bodies)
    assert titles == ["Halted by bob: everything", *(f"No remedy: inc-{i}" for i in range(4))]
    assert events(cluster, DeadLettered, topic=Topic.DEAD_LETTERS) == []
