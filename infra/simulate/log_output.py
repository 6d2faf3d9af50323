"""A simulation's topics as an archive: sealed, and readable by every command that reads archives.

The seal is made with the simulation's own key, which follows from its seed: it finds damage, and proves no more.
"""

from collections.abc import Iterator
from pathlib import Path

from autopilot.infra.archive.log_file import SUFFIX as AVRO
from autopilot.infra.archive.log_file import write_log
from autopilot.infra.archive.manifest import (
    MANIFEST,
    SCHEMAS,
    SEALS_FILE,
    ArchivedFile,
    Manifest,
    sha256_of,
    write_json,
)
from autopilot.infra.archive.telemetry_file import SUFFIX as PARQUET
from autopilot.infra.archive.telemetry_file import write_telemetry
from autopilot.schemas.avro_schema import Schema
from autopilot.schemas.codec import HEADER_BYTES
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft, Position
from autopilot.schemas.events.seals import LogSealed, SealedSegment
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.in_process import InProcess
from autopilot.streams.mint import Mint
from autopilot.streams.record import Record
from autopilot.streams.seal_file import Seal, SealFile
from autopilot.streams.seals import OpenSegment, Partition, WholeRecord
from autopilot.streams.simulation.simulation import SEALER, key_of

SEGMENT_RECORDS = 50_000
"""Records of one sealed segment at most; also of one row group."""
_MARKER = b"autopilot-simul\0"
"""Between the blocks of the log's file: the same each time, so that the same seed gives the same bytes."""


def write_topics(runner: InProcess, folder: Path, seed: int) -> Manifest:
    """Writes log, telemetry and dead letters of a finished run into an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[ArchivedFile] = []
    segments: list[list[SealedSegment]] = []
    for topic in (Topic.LOG, Topic.TELEMETRY):
        partition = Partition(str(topic), 0)
        records = runner.topics[partition.topic][0]
        segments.append(_sealed(partition, records))
        files.append(_write(partition, records, folder, runner))
    schemas = _schemas(record for name in (Topic.LOG, Topic.TELEMETRY) for record in runner.topics[str(name)][0])
    write_json(folder / SCHEMAS, {str(number): schemas[number] for number in sorted(schemas)})
    SealFile(folder / SEALS_FILE).append(_seals(segments, runner, seed), BundledRegistry())
    manifest = Manifest().with_files(files)
    write_json(folder / MANIFEST, manifest.model_dump())
    return manifest


def _write(partition: Partition, records: list[Record], folder: Path, runner: InProcess) -> ArchivedFile:
    is_log = partition.topic == Topic.LOG
    path = folder / f"{partition.topic}-{partition.number}-{0:020d}{AVRO if is_log else PARQUET}"
    if is_log:
        write_log(path, _whole(records), _MARKER)
    else:
        write_telemetry(path, _whole(records), runner.codec)
    return ArchivedFile(
        name=path.name, topic=partition.topic, partition=partition.number, first_offset=0,
        next_offset=len(records), records=len(records), sha256=sha256_of(path),
    )  # fmt: skip


def _whole(records: list[Record]) -> Iterator[list[WholeRecord]]:
    for start in range(0, len(records), SEGMENT_RECORDS):
        yield [
            WholeRecord(
                record.position.offset, record.timestamp_ms, record.key, record.value, (*record.headers.items(),)
            )
            for record in records[start : start + SEGMENT_RECORDS]
        ]


def _sealed(partition: Partition, records: list[Record]) -> list[SealedSegment]:
    made, segment = [], OpenSegment(partition)
    for batch in _whole(records):
        segment.add(batch)
        sealed, segment = segment.cut()
        made.append(sealed)
    return made


def _seals(partitions: list[list[SealedSegment]], runner: InProcess, seed: int) -> list[Seal]:
    """One seal after another, each over the next segment of every partition that has one."""
    key = key_of(SEALER, seed)
    mint = Mint(runner.codec, SEALER, 1, runner.run, key, frozenset({LogSealed.event_type()}))
    seals: list[Seal] = []
    for number in range(max(map(len, partitions))):
        content = LogSealed(
            sequence=number + 1,
            previous_seal=seals[-1].digest if seals else b"",
            sealed_at_us=runner.now_us,
            public_key=key.public_key,
            segments=[segments[number] for segments in partitions if number < len(segments)],
        )
        out = mint.from_outside(Draft(content, ""), runner.now_us, {})
        position = Position(str(Topic.SEALS), 0, number)
        seals.append(Seal(Record(position, runner.now_us // 1000, out.key, out.value, out.headers), content))
    return seals


def _schemas(records: Iterator[Record]) -> dict[int, Schema]:
    registry = BundledRegistry()
    numbers = {int.from_bytes(record.value[1:HEADER_BYTES], "big") for record in records}
    return {number: registry.schema_for(number) for number in numbers}
