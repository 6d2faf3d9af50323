"""What an archive folder holds: `manifest.json`, the files that it names, `schemas.json` and `seals.jsonl`.

The manifest only finds files; nothing is believed because it says so. What stands in the files is held against seals.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.errors import UnknownSchemaError
from autopilot.streams.seals import Partition

MANIFEST, SCHEMAS, SEALS_FILE = "manifest.json", "schemas.json", "seals.jsonl"


class ArchiveError(RuntimeError):
    """The folder is no archive, or one that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Where records of a file could not be read, and why."""

    detail: str


class ArchivedFile(BaseModel):
    """One file: the records of a partition in the offsets from `first_offset` up to, not including, `next_offset`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    records: int
    sha256: str

    @property
    def of(self) -> Partition:
        """The partition that it is of."""
        return Partition(self.topic, self.partition)


class Manifest(BaseModel):
    """The files of an archive, by partition and offset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    files: list[ArchivedFile] = []

    def end_of(self, partition: Partition) -> int:
        """The first offset of the partition that is not archived yet; 0 when nothing is."""
        return max((file.next_offset for file in self.files if file.of == partition), default=0)

    def with_files(self, files: list[ArchivedFile]) -> "Manifest":
        """The manifest with further files."""
        return Manifest(files=sorted([*self.files, *files], key=lambda file: (file.of, file.first_offset)))


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest; an empty one when there is none yet. Raises `ArchiveError`."""
    path = folder / MANIFEST
    if not path.exists():
        return Manifest()
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArchiveError(f"`{path}` is no manifest of an archive: {error.errors()[0]['msg']}") from None


def write_json(path: Path, content: Any) -> None:
    """Replaces a file whole, on disk before it returns."""
    beside = path.with_name(path.name + ".part")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ArchivedSchemas:
    """The schemas that the archived records were written with, by the ids in their bytes. A `SchemaRegistry`."""

    def __init__(self, schemas: dict[int, Schema]) -> None:
        self.schemas = schemas
        self._of_present: dict[int, Schema] = {}

    @classmethod
    def read(cls, folder: Path) -> "ArchivedSchemas":
        """The schemas of a folder. Raises `ArchiveError`."""
        path = folder / SCHEMAS
        try:
            content = json.loads(path.read_bytes()) if path.exists() else {}
            return cls({int(schema_id): schema for schema_id, schema in content.items()})
        except ValueError as error:
            raise ArchiveError(f"`{path}` does not hold schemas: {error}") from None

    def id_for(self, model: type[Payload]) -> int:
        """The id under which the archive has the model's schema, so that a replay makes the same bytes.

        A schema that the archive does not have, as of a type that has changed since, gets an id that it does not use.
        """
        present = schema_of(model)
        for known in (self.schemas, self._of_present):
            for number, schema in known.items():
                if schema == present:
                    return number
        fresh = max([0, *self.schemas, *self._of_present]) + 1
        self._of_present[fresh] = present
        return fresh

    def schema_for(self, schema_id: int) -> Schema:
        """The schema of an id. Raises `UnknownSchemaError`."""
        known = self.schemas if schema_id in self.schemas else self._of_present
        if schema_id not in known:
            raise UnknownSchemaError("schema id", str(schema_id), "one that the archive brings")
        return known[schema_id]
