"""The sealer on a real Kafka: what it seals holds, and killed at any moment it goes on where it was."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from seals.live import KEY, REGISTRY, seal, tick

from autopilot.infra.platform.topics import recreate_topics
from autopilot.schemas.contract import Topic
from autopilot.streams.audit.audit import Audit, AuditOptions, AuditReport
from autopilot.streams.audit.findings import Kind
from autopilot.streams.audit.source import LiveTopics
from autopilot.streams.kafka import producer
from autopilot.streams.seal_file import SealFile
from autopilot.streams.seals import SealError

PROGRAM = Path(__file__).with_name("sealer_process.py")

pytestmark = pytest.mark.kafka


def abort_something(cluster: dict[str, str]) -> None:
    """Records of an aborted transaction: they take up offsets and are never seen."""
    writer = producer(cluster, "aborting", **{"transactional.id": "aborting"})
    writer.init_transactions(60)
    writer.begin_transaction()
    for _ in range(5):
        writer.produce(Topic.LOG, b"never said", b"k", 0)
    assert writer.flush(60) == 0
    writer.abort_transaction(60)


def audited(cluster: dict[str, str], file: Path | None = None) -> AuditReport:
    against = SealFile(file).read() if file else None
    return Audit(LiveTopics(cluster, REGISTRY), REGISTRY, AuditOptions(against=against, sealers=[KEY.public_key])).run()


def test_what_is_sealed_holds_markers_and_aborted_records_notwithstanding(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "seals.jsonl"
    tick(cluster, 20)
    abort_something(cluster)
    tick(cluster, 20, 100)
    seal(cluster, file, 320)
    tick(cluster, 3, 200)
    report = audited(cluster, file)
    assert report.violations == []
    assert sum(part.verified for part in report.partitions) == 320
    assert sum(finding.records for finding in report.notes if finding.kind is Kind.UNSEALED) == 24
    assert report.seals == len(SealFile(file).read()) >= 2


def test_killed_again_and_again_it_seals_every_record_once(cluster: dict[str, str], tmp_path: Path) -> None:
    file, dice = tmp_path / "seals.jsonl", random.Random(7)
    feeder = threading.Thread(target=lambda: [tick(cluster, 10, 1 + 10 * i) for i in range(30)])
    feeder.start()
    for _ in range(5):
        arguments = [sys.executable, str(PROGRAM), cluster["bootstrap.servers"], str(file)]
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
            time.sleep(dice.uniform(0.8, 1.6))
            os.kill(process.pid, signal.SIGKILL)
    feeder.join()
    seal(cluster, file, 2_400)
    report = audited(cluster, file)
    assert report.violations == []
    assert sum(part.verified for part in report.partitions) == 2_400
    sequences = [seal.content.sequence for seal in SealFile(file).read()]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_file_that_a_crash_left_behind_is_brought_up_to_the_topic(cluster: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "seals.jsonl"
    tick(cluster, 30)
    seal(cluster, file, 240)
    whole = file.read_bytes()
    assert len(SealFile(file).read()) > 2
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]) + b'{"sequence":2,"posi')
    tick(cluster, 5, 100)
    seal(cluster, file, 280)
    assert file.read_bytes().startswith(whole)
    assert audited(cluster, file).violations == []


def test_it_refuses_to_seal_over_a_topic_that_was_made_anew(cluster: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "seals.jsonl"
    tick(cluster, 10)
    seal(cluster, file, 80)
    recreate_topics(cluster, 4)
    with pytest.raises(SealError, match="that the topic has not"):
        seal(cluster, file, 160)
