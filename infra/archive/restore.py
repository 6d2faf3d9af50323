"""Restoring an archive into the empty topics of a fresh cluster.

Every record comes back into its partition, in its order, with its key, value and headers. Kafka gives it a new offset
and, where the topic says so, a new timestamp; two headers say what they were. Positions inside events still name the
original ones. Seals do not fit the new offsets, so they are not restored: the sealer of the new cluster begins anew,
and the original ones go on proving the archive.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.manifest import ArchiveError
from autopilot.streams.errors import UnreachableError
from autopilot.streams.kafka import REQUEST_TIMEOUT_S, producer
from autopilot.streams.record import ARCHIVED_OFFSET
from autopilot.streams.seals import Partition, WholeRecord
from autopilot.streams.whole_reader import bounds_of

"""Header: the record's offset in the partition that it was archived from, in decimal digits."""
ARCHIVED_TIMESTAMP = "archived-timestamp-ms"
"""Header: its Kafka timestamp there, milliseconds since the epoch, in decimal digits."""


@dataclass
class Restored:
    """How many records came back into each partition."""

    records: dict[Partition, int] = field(default_factory=dict)


def restore(archive: ArchiveFolder, kafka: Mapping[str, str], announce: Callable[[str], None]) -> Restored:
    """Writes the archive's records. Audit the archive first: this trusts what stands in it.

    Raises `ArchiveError` when a topic is not empty or has no such partition, `UnreachableError` when the broker does
    not take a record; then the topics are to be made anew before another try.
    """
    bounds = bounds_of(kafka, sorted({partition.topic for partition in archive.bounds()}))
    for partition in archive.bounds():
        low, high = bounds.get(partition, (0, -1))
        if high < 0:
            raise ArchiveError(f"{partition} is archived, and the cluster's topic has no such partition")
        if high > low:
            raise ArchiveError(f"{partition} is not empty: an archive is restored into empty topics only")
    writer = _Writer(kafka)
    restored = Restored()
    for partition, (low, end) in archive.bounds().items():
        announce(f"restoring {partition}")
        restored.records[partition] = 0
        for batch in archive.read(partition, low, end):
            writer.write(partition, batch)
            restored.records[partition] += len(batch)
        writer.flush()
    return restored


class _Writer:
    def __init__(self, kafka: Mapping[str, str]) -> None:
        self._producer: Producer = producer(kafka, "autopilot-restore", **{"linger.ms": 20})
        self._failure: KafkaError | None = None

    def write(self, partition: Partition, batch: list[WholeRecord]) -> None:
        for record in batch:
            headers: list[tuple[str, str | bytes | None]] = [
                *record.headers,
                (ARCHIVED_OFFSET, str(record.offset).encode()),
                (ARCHIVED_TIMESTAMP, str(record.timestamp_ms).encode()),
            ]
            self._produce(partition, record, headers)

    def _produce(
        self, partition: Partition, record: WholeRecord, headers: list[tuple[str, str | bytes | None]]
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    partition.topic,
                    record.value,
                    record.key,
                    partition.number,
                    timestamp=record.timestamp_ms,
                    headers=headers,
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.05)

    def flush(self) -> None:
        left = self._producer.flush(REQUEST_TIMEOUT_S)
        if left or self._failure is not None:
            raise UnreachableError(f"{left} records not acknowledged: {self._failure or 'time-out'}")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = error
