"""An archive folder as a source of records and seals: audited exactly as the live topics are."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from autopilot.infra.archive.log_file import SUFFIX as AVRO
from autopilot.infra.archive.log_file import read_log
from autopilot.infra.archive.manifest import (
    MANIFEST,
    SEALS_FILE,
    ArchivedFile,
    ArchivedSchemas,
    ArchiveError,
    Damage,
    Manifest,
    read_manifest,
    sha256_of,
)
from autopilot.infra.archive.telemetry_file import read_telemetry
from autopilot.schemas.envelope import Position
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.seal_file import Seal, SealFile
from autopilot.streams.seals import Partition, SealError, WholeRecord


class ArchiveFolder:
    """A folder that `autopilot archive` wrote. Implements the audit's `Source`; offsets are the original ones."""

    def __init__(self, folder: Path) -> None:
        if not (folder / MANIFEST).exists():
            raise ArchiveError(f"`{folder}` has no `{MANIFEST}`: it is no archive")
        self.path = folder
        self.manifest: Manifest = read_manifest(folder)
        self.schemas = ArchivedSchemas.read(folder)
        self._faults: set[Finding] = set()

    def bounds(self) -> Mapping[Partition, tuple[int, int]]:
        """First archived offset and first offset after the last, of every partition with a file."""
        return {p: (files[0].first_offset, files[-1].next_offset) for p, files in self._files().items()}

    def read(self, partition: Partition, start: int, end: int) -> Iterator[list[WholeRecord]]:
        """The records that stand in the files, whatever the manifest says of them; `faults` says what does not."""
        for file in self._files().get(partition, []):
            if file.next_offset > start and file.first_offset < end:
                for batch in self._read_file(file):
                    yield [record for record in batch if start <= record.offset < end]

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int | None:
        """By reading."""
        for file in self._files().get(partition, []):
            for batch in self._read_file(file):
                for record in batch:
                    if record.timestamp_ms >= timestamp_ms:
                        return record.offset
        return None

    def seals(self) -> tuple[list[Seal], list[Finding]]:
        """The seals that were copied along. Raises `ArchiveError`."""
        try:
            return SealFile(self.path / SEALS_FILE).read(), []
        except SealError as error:
            raise ArchiveError(f"`{self.path / SEALS_FILE}`: {error}") from None

    def faults(self) -> list[Finding]:
        """What could not be read of the files that were read, each range once."""
        return sorted(self._faults, key=lambda finding: finding.position)

    def _read_file(self, file: ArchivedFile) -> Iterator[list[WholeRecord]]:
        path = self.path / file.name
        if not path.is_file() or not path.stat().st_size:
            self._note(file, file.first_offset, file.next_offset, f"`{file.name}` is not there")
            return
        if sha256_of(path) != file.sha256:
            self._note(file, file.first_offset, file.next_offset, f"`{file.name}` is not what its manifest says")
        expected, damage = file.first_offset, ""
        for part in read_log(path) if path.suffix == AVRO else read_telemetry(path):
            if isinstance(part, Damage):
                damage = damage or part.detail
            elif part:
                if damage:
                    self._note(file, expected, part[0].offset, damage)
                expected, damage = part[-1].offset + 1, ""
                yield part
        if damage:
            self._note(file, expected, file.next_offset, damage)

    def _note(self, file: ArchivedFile, first: int, end: int, detail: str) -> None:
        position = Position(file.topic, file.partition, first)
        self._faults.add(Finding(Kind.DAMAGED, position, detail, max(first, end - 1), 0))

    def _files(self) -> dict[Partition, list[ArchivedFile]]:
        files: dict[Partition, list[ArchivedFile]] = {}
        for file in self.manifest.files:
            files.setdefault(file.of, []).append(file)
        return dict(sorted(files.items()))
