"""Where an audit reads from: the live topics, or anything that has the same to say, such as an archive."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.errors import ContractError
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.findings import Finding, Kind, at
from autopilot.streams.seal_file import Seal, seal_of
from autopilot.streams.sealer import SEALED_TOPICS, SEALS
from autopilot.streams.seals import Partition, SealError, WholeRecord
from autopilot.streams.whole_reader import bounds_of, offset_at, plain_record, read_whole


class Source(Protocol):
    """Sealed partitions, their records and their seals."""

    def bounds(self) -> Mapping[Partition, tuple[int, int]]:
        """First offset kept and first offset after the last, of every sealed partition, in order."""
        ...

    def read(self, partition: Partition, start: int, end: int) -> Iterator[list[WholeRecord]]:
        """Batches of the partition's committed records in a range of offsets, in order."""
        ...

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int | None:
        """The first offset whose record is not older; None when all are older."""
        ...

    def seals(self) -> tuple[list[Seal], list[Finding]]:
        """The seals in order, and what stands among them that is none."""
        ...

    def faults(self) -> list[Finding]:
        """What could not be read so far."""
        ...


class LiveTopics:
    """The topics of a cluster."""

    def __init__(self, kafka: Mapping[str, str], registry: SchemaRegistry) -> None:
        self._kafka = kafka
        self._registry = registry

    def bounds(self) -> Mapping[Partition, tuple[int, int]]:
        """From the broker. Raises `UnreachableError`."""
        return bounds_of(self._kafka, SEALED_TOPICS)

    def read(self, partition: Partition, start: int, end: int) -> Iterator[list[WholeRecord]]:
        """Read-committed, outside any group."""
        return read_whole(self._kafka, partition, start, end)

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int | None:
        """From the broker's time index."""
        return offset_at(self._kafka, partition, timestamp_ms)

    def seals(self) -> tuple[list[Seal], list[Finding]]:
        """From the seals topic."""
        codec = Codec(self._registry)
        seals: list[Seal] = []
        findings: list[Finding] = []
        for batch in read_whole(self._kafka, SEALS):
            for whole in batch:
                record = plain_record(SEALS, whole)
                try:
                    seals.append(seal_of(record, codec))
                except (ContractError, SealError) as error:
                    findings.append(at(Kind.SEAL_BROKEN, record.position, f"no seal stands there: {error}"))
        return seals, findings

    def faults(self) -> list[Finding]:
        """None: what the broker does not give is an error."""
        return []


def is_log(partition: Partition) -> bool:
    """Whether the partition is one of the event log."""
    return partition.topic == Topic.LOG
