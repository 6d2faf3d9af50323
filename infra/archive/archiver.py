"""Archiving: sealed segments of the live topics into files, verified before they count as archived."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from autopilot.infra.archive.log_file import SUFFIX as AVRO
from autopilot.infra.archive.log_file import write_log
from autopilot.infra.archive.manifest import (
    MANIFEST,
    SCHEMAS,
    SEALS_FILE,
    ArchivedFile,
    ArchivedSchemas,
    ArchiveError,
    Manifest,
    read_manifest,
    sha256_of,
    write_json,
)
from autopilot.infra.archive.telemetry_file import SUFFIX as PARQUET
from autopilot.infra.archive.telemetry_file import write_telemetry
from autopilot.schemas.avro_schema import Schema
from autopilot.schemas.codec import HEADER_BYTES, Codec
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.seals import SealedSegment
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.audit.source import LiveTopics, is_log
from autopilot.streams.errors import UnreachableError
from autopilot.streams.seal_file import Seal, SealFile
from autopilot.streams.seals import Partition, WholeRecord, partition_of

FILE_RECORDS = 500_000
"""About so many records go into one file."""
_TIMEOUT_S = 30.0

Announce = Callable[[str], None]


class Archiver:
    """Archives what is sealed and not archived yet. Run again, it goes on where it was."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        registry: SchemaRegistry,
        folder: Path,
        announce: Announce = lambda _: None,
        file_records: int = FILE_RECORDS,
    ) -> None:
        self._kafka = kafka
        self._registry = registry
        self._source = LiveTopics(kafka, registry)
        self._folder = folder
        self._announce = announce
        self._file_records = file_records
        self._schemas: dict[int, Schema] = {}

    def archive(self) -> list[ArchivedFile]:
        """Writes the files, then the manifest, schemas and seals; gives the new files.

        Raises `ArchiveError` when what stands in a topic is not what was sealed: that is never archived as if it were.
        """
        seals, findings = self._source.seals()
        if findings:
            raise ArchiveError(f"{findings[0].position}: {findings[0].detail}")
        self._folder.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(self._folder)
        lows = {partition: low for partition, (low, _) in self._source.bounds().items()}
        made: list[ArchivedFile] = []
        for partition, segments in _by_partition(seals).items():
            start = max(manifest.end_of(partition), lows.get(partition, 0))
            made += [self._write(partition, part) for part in self._portions(segments, start)]
        self._finish(manifest.with_files(made), seals)
        return made

    def expire(self) -> dict[Partition, int]:
        """Deletes from the topics what is archived; gives the first offset that each partition keeps.

        Only for telemetry: the log is kept for ever, since agents recover from it.
        """
        manifest = read_manifest(self._folder)
        partitions = sorted({file.of for file in manifest.files if not is_log(file.of)})
        wanted = [TopicPartition(p.topic, p.number, manifest.end_of(p)) for p in partitions]
        kept: dict[Partition, int] = {}
        if not wanted:
            return kept
        client = AdminClient(dict(self._kafka))  # its answers come only as long as it is held
        try:
            for at, future in client.delete_records(wanted, request_timeout=_TIMEOUT_S).items():
                kept[Partition(at.topic, at.partition)] = future.result(_TIMEOUT_S).low_watermark
        except KafkaException as error:
            raise UnreachableError(f"records cannot be deleted: {error.args[0].str()}") from error
        return kept

    # -- one file ----------------------------------------------------------------------------------------------------

    def _portions(self, segments: Iterable[SealedSegment], start: int) -> Iterator[list[SealedSegment]]:
        """The segments from `start` on, grouped into files."""
        portion: list[SealedSegment] = []
        for segment in segments:
            if segment.first_offset < start or not segment.records:
                continue
            portion.append(segment)
            if sum(one.records for one in portion) >= self._file_records:
                yield portion
                portion = []
        if portion:
            yield portion

    def _write(self, partition: Partition, segments: list[SealedSegment]) -> ArchivedFile:
        first, end = segments[0].first_offset, segments[-1].next_offset
        suffix = AVRO if is_log(partition) else PARQUET
        path = self._folder / f"{partition.topic}-{partition.number}-{first:020d}{suffix}"
        self._announce(f"archiving {partition} offsets {first} to {end - 1}")
        check = PartitionCheck(partition, segments, low=first)
        beside = path.with_name(path.name + ".part")
        batches = self._checked(partition, first, end, check)
        if suffix == AVRO:
            write_log(beside, batches)
        else:
            write_telemetry(beside, batches, Codec(self._registry))
        wrong = [finding for finding in check.finish() if finding.violation]
        if wrong:
            beside.unlink()
            raise ArchiveError(f"{wrong[0].position} {wrong[0].kind}: {wrong[0].detail}; nothing more was archived")
        _to_disk(beside)
        beside.replace(path)
        return ArchivedFile(
            name=path.name,
            topic=partition.topic,
            partition=partition.number,
            first_offset=first,
            next_offset=end,
            records=check.records,
            sha256=sha256_of(path),
        )

    def _checked(
        self, partition: Partition, first: int, end: int, check: PartitionCheck
    ) -> Iterator[list[WholeRecord]]:
        for batch in self._source.read(partition, first, end):
            check.feed(batch)
            for record in batch:
                self._remember_schema(record.value)
            yield batch

    def _remember_schema(self, value: bytes | None) -> None:
        if value is None or len(value) < HEADER_BYTES or value[0]:
            return
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        if schema_id not in self._schemas:
            try:
                self._schemas[schema_id] = self._registry.schema_for(schema_id)
            except ContractError:
                return

    def _finish(self, manifest: Manifest, seals: list[Seal]) -> None:
        schemas = ArchivedSchemas.read(self._folder).schemas | self._schemas
        write_json(self._folder / SCHEMAS, {str(schema_id): schemas[schema_id] for schema_id in sorted(schemas)})
        write_json(self._folder / MANIFEST, manifest.model_dump())
        beside = self._folder / (SEALS_FILE + ".part")
        beside.unlink(missing_ok=True)
        SealFile(beside).append(seals, self._registry)
        beside.replace(self._folder / SEALS_FILE)


def _by_partition(seals: Iterable[Seal]) -> dict[Partition, list[SealedSegment]]:
    segments = sorted(
        (segment for seal in seals for segment in seal.content.segments),
        key=lambda segment: (partition_of(segment), segment.first_offset, segment.next_offset),
    )
    return {partition: list(group) for partition, group in groupby(segments, key=partition_of)}


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
