"""Tampering with a live topic and with archives of it: each found and located. Expired is told from removed."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from seals.live import KEY, REGISTRY, seal, tick
from waiting import eventually

from autopilot.infra.archive.archiver import Archiver
from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.log_file import read_log, write_log
from autopilot.infra.archive.manifest import ArchiveError
from autopilot.infra.archive.restore import restore
from autopilot.infra.archive.telemetry_file import read_telemetry
from autopilot.infra.platform.topics import recreate_topics
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft, Position
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch
from autopilot.streams.audit.audit import Audit, AuditOptions, AuditReport
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.audit.source import LiveTopics
from autopilot.streams.errors import UnreachableError
from autopilot.streams.kafka import producer
from autopilot.streams.publisher import Publisher
from autopilot.streams.seal_file import SealFile
from autopilot.streams.sealer import SEALED_TOPICS
from autopilot.streams.seals import Partition, WholeRecord
from autopilot.streams.whole_reader import bounds_of, read_whole

LOG = Partition(str(Topic.LOG), 0)
TICKS = 30
FOREIGN = WholeRecord(0, 0, b"*", b"foreign", (("event-type", b"Tick"),))

pytestmark = pytest.mark.kafka
Deed = Callable[[list[WholeRecord]], list[WholeRecord]]


def altered(records: list[WholeRecord]) -> list[WholeRecord]:
    value = records[7].value or b""
    return [*records[:7], records[7]._replace(value=value[:-1] + bytes([value[-1] ^ 1])), *records[8:]]


def removed(records: list[WholeRecord]) -> list[WholeRecord]:
    return records[:7] + records[8:]


def swapped(records: list[WholeRecord]) -> list[WholeRecord]:
    a, b = records[7], records[12]
    first = b._replace(offset=a.offset, timestamp_ms=a.timestamp_ms)
    second = a._replace(offset=b.offset, timestamp_ms=b.timestamp_ms)
    return [*records[:7], first, *records[8:12], second, *records[13:]]


def inserted(records: list[WholeRecord]) -> list[WholeRecord]:
    """At the offset of the transaction marker after the seventh record."""
    foreign = FOREIGN._replace(offset=records[7].offset + 1, timestamp_ms=records[7].timestamp_ms)
    return [*records[:8], foreign, *records[8:]]


def rewritten(records: list[WholeRecord]) -> list[WholeRecord]:
    return [*records[:20], *(record._replace(key=b"rewritten") for record in records[20:])]


def offset_of(tick_number: int) -> int:
    """Each tick is a transaction: a record and its marker."""
    return 2 * tick_number


DEEDS: dict[str, tuple[Deed, list[tuple[Kind, int]]]] = {
    "a changed byte": (altered, [(Kind.ALTERED, offset_of(7))]),
    "a removed record": (removed, [(Kind.MISSING, offset_of(7))]),
    "two swapped records": (swapped, [(Kind.SWAPPED, offset_of(7)), (Kind.SWAPPED, offset_of(12))]),
    "an inserted record": (inserted, [(Kind.INSERTED, offset_of(7) + 1)]),
    "a rewritten tail": (rewritten, [(Kind.REWRITTEN_TAIL, offset_of(20))]),
}
INSERTED_IN_A_COPY = 8
"""A copy has no markers between its records, so that the foreign one is the ninth."""


@pytest.fixture
def seals(cluster: dict[str, str], tmp_path: Path) -> Path:
    """The seal file of a log of ticks and of telemetry, sealed whole."""
    return sealed(cluster, tmp_path / "seals.jsonl")


def sealed(cluster: dict[str, str], file: Path) -> Path:
    """Writes ticks and telemetry to empty topics and seals all of it."""
    tick(cluster, TICKS)
    publisher = Publisher(kafka=cluster, registry=REGISTRY, producer="services", partitions=4)
    for i in range(40):
        series = Series(
            metric="latency",
            kind=SeriesKind.GAUGE,
            unit="ms",
            attributes={"le": str(i)},
            timestamps_us=[i],
            values=[0.5],
        )
        publisher.publish(Draft(TelemetryBatch(source="test", series=[series]), "", f"service-{i}"))
    publisher.flush()
    publisher.close()
    seal(cluster, file, 8 * TICKS + 40)
    return file


def audited(cluster: dict[str, str], seals: Path) -> AuditReport:
    options = AuditOptions(against=SealFile(seals).read(), sealers=[KEY.public_key])
    return Audit(LiveTopics(cluster, REGISTRY), REGISTRY, options).run()


def audited_archive(folder: Path, seals: Path | None = None) -> AuditReport:
    archive = ArchiveFolder(folder)
    against = SealFile(seals).read() if seals else None
    return Audit(archive, archive.schemas, AuditOptions(against=against, sealers=[KEY.public_key])).run()


def of_the_seals(findings: list[Finding], partition: Partition = LOG) -> list[tuple[Kind, int]]:
    """Kind and offset of what was found in a partition, but for what follows from a copy having new offsets."""
    seals_say = {Kind.ALTERED, Kind.MISSING, Kind.SWAPPED, Kind.INSERTED, Kind.REWRITTEN_TAIL, Kind.RESTAMPED}
    return [(f.kind, f.position.offset) for f in findings if f.kind in seals_say and f.position[:2] == tuple(partition)]


def rewrite_live_topic(cluster: dict[str, str], deed: Deed) -> None:
    """Deletes the log and makes it anew with altered content and the original timestamps."""
    copies = {n: [r for batch in read_whole(cluster, LOG._replace(number=n)) for r in batch] for n in range(4)}
    copies[0] = deed(copies[0])
    admin = AdminClient(dict(cluster))
    admin.delete_topics([LOG.topic])[LOG.topic].result()
    eventually(lambda: LOG.topic not in admin.list_topics(timeout=60).topics)
    keeps_stamps = {"message.timestamp.type": "CreateTime"}
    admin.create_topics([NewTopic(LOG.topic, 4, config=keeps_stamps)])[LOG.topic].result()
    wait_for_topics(cluster)
    forger = producer(cluster, "forger")
    for number, records in copies.items():
        for record in records:
            forger.produce(
                LOG.topic,
                record.value,
                record.key,
                number,
                timestamp=record.timestamp_ms,
                headers=list(record.headers),
            )
    assert forger.flush(60) == 0


@pytest.mark.parametrize("name", DEEDS)
def test_tampering_with_a_live_topic_is_found_and_located(cluster: dict[str, str], seals: Path, name: str) -> None:
    deed, expected = DEEDS[name]
    assert audited(cluster, seals).violations == []
    rewrite_live_topic(cluster, deed)
    if name == "an inserted record":
        expected = [(Kind.INSERTED, INSERTED_IN_A_COPY)]
    violations = audited(cluster, seals).violations
    assert of_the_seals(violations) == expected
    assert Kind.MOVED in {finding.kind for finding in violations}, "a copy has other offsets, and that is said as well"
    for other in (1, 2, 3):
        assert of_the_seals(violations, LOG._replace(number=other)) == []


def wait_for_topics(cluster: dict[str, str]) -> None:
    """Returns once the broker knows the topics that were just made anew."""
    deadline = time.monotonic() + 120
    while True:
        try:
            bounds_of(cluster, SEALED_TOPICS)
            return
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture
def live_archive(cluster: dict[str, str], seals: Path, tmp_path: Path) -> Path:
    """An archive of all that is sealed of the live log."""
    return archived(cluster, tmp_path / "archive")


def archived(cluster: dict[str, str], folder: Path) -> Path:
    """Archives everything."""
    made = Archiver(cluster, REGISTRY, folder).archive()
    assert sum(file.records for file in made) == 8 * TICKS + 40
    return folder


@pytest.fixture(scope="module")
def stored(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive and the seal file of what was its log; nobody changes it."""
    config, folder = {"bootstrap.servers": kafka}, tmp_path_factory.mktemp("stored")
    recreate_topics(config, 4)
    sealed(config, folder / "seals.jsonl")
    archived(config, folder / "archive")
    return folder


@pytest.fixture
def archive(stored: Path, tmp_path: Path) -> Path:
    """An archive of one's own."""
    return shutil.copytree(stored / "archive", tmp_path / "archive")


def log_file(archive: Path) -> Path:
    return next(archive.glob("autopilot.log-0-*.avro"))


def telemetry_file(archive: Path, number: int = 0) -> Path:
    return next(archive.glob(f"autopilot.telemetry-{number}-*.parquet"))


@pytest.mark.parametrize("name", DEEDS)
def test_tampering_with_an_archived_log_is_found_and_located(archive: Path, stored: Path, name: str) -> None:
    deed, expected = DEEDS[name]
    assert audited_archive(archive).violations == []
    records = [record for part in read_log(log_file(archive)) if isinstance(part, list) for record in part]
    write_log(log_file(archive), [deed(records)])
    for against in (None, stored / "seals.jsonl"):
        violations = audited_archive(archive, against).violations
        assert of_the_seals(violations) == expected
        assert Kind.DAMAGED in {finding.kind for finding in violations}, "the manifest knows the file's digest"


@pytest.mark.parametrize("name", DEEDS)
def test_tampering_with_archived_telemetry_is_found_and_located(archive: Path, name: str) -> None:
    deed, expected = DEEDS[name]
    path = telemetry_file(archive)
    table = pq.read_table(path)
    records = [record for part in read_telemetry(path) if isinstance(part, list) for record in part]
    rows = [r._asdict() | {"headers": [{"name": n, "value": v} for n, v in r.headers]} for r in deed(records)]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert of_the_seals(audited_archive(archive).violations, Partition(str(Topic.TELEMETRY), 0)) == expected


def test_any_byte_that_changes_in_an_archived_file_is_found(archive: Path) -> None:
    for path in (log_file(archive), telemetry_file(archive)):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 12)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
            assert audited_archive(archive).violations, f"byte {at} of {path.name}"
        path.write_bytes(whole)
    assert audited_archive(archive).violations == []


def test_a_file_that_is_gone_is_found_with_its_range(archive: Path) -> None:
    log_file(archive).unlink()
    violations = audited_archive(archive).violations
    assert (Kind.MISSING, 0) in of_the_seals(violations)
    assert any(f.kind is Kind.DAMAGED and f.last_offset == offset_of(TICKS - 1) for f in violations)


def test_what_retention_took_is_expired_under_seal_and_verifies_in_the_archive(
    cluster: dict[str, str], seals: Path, live_archive: Path
) -> None:
    upto = offset_of(10)
    admin = AdminClient(dict(cluster))
    admin.delete_records([TopicPartition(LOG.topic, 0, upto)])[TopicPartition(LOG.topic, 0, upto)].result()
    report = audited(cluster, seals)
    assert report.violations == []
    (expired,) = [finding for finding in report.notes if finding.kind is Kind.EXPIRED]
    assert (expired.position, expired.last_offset) == (Position(LOG.topic, 0, 0), upto - 1)
    assert audited_archive(live_archive, seals).violations == []


def test_archiving_goes_on_where_it_was_and_expires_telemetry_alone(
    cluster: dict[str, str], seals: Path, live_archive: Path
) -> None:
    assert Archiver(cluster, REGISTRY, live_archive).archive() == []
    tick(cluster, 5, 10_000)
    seal(cluster, seals, 8 * TICKS + 40 + 40)
    again = Archiver(cluster, REGISTRY, live_archive)
    assert sum(file.records for file in again.archive()) == 40
    kept = again.expire()
    assert {partition.topic for partition in kept} == {str(Topic.TELEMETRY)}
    assert audited_archive(live_archive, seals).violations == audited(cluster, seals).violations == []
    assert {f.kind for f in audited(cluster, seals).notes} == {Kind.EXPIRED}


def test_what_is_not_what_was_sealed_is_never_archived(cluster: dict[str, str], seals: Path, tmp_path: Path) -> None:
    rewrite_live_topic(cluster, altered)
    with pytest.raises(ArchiveError, match="nothing more was archived"):
        Archiver(cluster, REGISTRY, tmp_path / "refused").archive()
    assert list((tmp_path / "refused").iterdir()) == []


def test_archived_telemetry_has_its_samples_as_columns(archive: Path) -> None:
    rows = [row for number in range(4) for row in pq.read_table(telemetry_file(archive, number)).to_pylist()]
    batches = [row for row in rows if row["event_type"] == "TelemetryBatch"]
    assert len(batches) == 40
    by_service = {row["service"]: row["series"] for row in batches}
    assert by_service["service-7"] == [
        {
            "metric": "latency",
            "kind": "gauge",
            "unit": "ms",
            "attributes": [("le", "7")],
            "timestamps_us": [7],
            "values": [0.5],
        }
    ]


def test_a_restored_archive_has_every_record_in_its_order_with_where_it_stood(
    cluster: dict[str, str], live_archive: Path
) -> None:
    originals = [record for batch in read_whole(cluster, LOG) for record in batch]
    with pytest.raises(ArchiveError, match="is not empty"):
        restore(ArchiveFolder(live_archive), cluster, lambda _: None)
    recreate_topics(cluster, 4)
    wait_for_topics(cluster)
    restored = restore(ArchiveFolder(live_archive), cluster, lambda _: None)
    assert sum(restored.records.values()) == 8 * TICKS + 40
    copies = [record for batch in read_whole(cluster, LOG) for record in batch]
    assert [(r.key, r.value) for r in copies] == [(r.key, r.value) for r in originals]
    for copy, original in zip(copies, originals, strict=True):
        assert copy.headers == [
            *original.headers,
            ("archived-offset", str(original.offset).encode()),
            ("archived-timestamp-ms", str(original.timestamp_ms).encode()),
        ]


def test_an_archive_needs_nothing_but_itself(archive: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(archive, elsewhere)
    report = audited_archive(elsewhere)
    assert report.violations == []
    assert sum(part.verified for part in report.partitions) == 8 * TICKS + 40
    assert json.loads((elsewhere / "schemas.json").read_bytes())
    with log_file(elsewhere).open("rb") as file:
        assert next(iter(fastavro.reader(file))).keys() == {"offset", "timestamp_ms", "key", "value", "headers"}
