"""The sealer: independent of the agents, it seals every partition of the log and of telemetry as records come.

After so many records, or so much time, it writes one signed `LogSealed` with a segment for each partition, in a
transaction of its own, and appends the same to a file outside Kafka. Crash-only: it starts at its last seal on the
topic and reads on from there. Its writer's transactional id is stable, so that of two sealers the older one is fenced,
and a seal that a crash interrupted is either whole on the topic or not there.

It refuses to go on (`SealError`) when the file knows seals that the topic does not have, or when a partition ends
before what is sealed of it: then something was rewritten, and a person must look.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.seals import LogSealed
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.errors import StreamError, UnreachableError
from autopilot.streams.kafka import REQUEST_TIMEOUT_S, PartitionWriter, plain_consumer, raise_for
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing
from autopilot.streams.seal_file import SealFile, seal_of
from autopilot.streams.seals import OpenSegment, Partition, SealError, WholeRecord, follows
from autopilot.streams.whole_reader import bounds_of, last_record, plain_record, read_whole, whole_record

SEALED_TOPICS = (str(Topic.LOG), str(Topic.TELEMETRY))
SEALS = Partition(str(Topic.SEALS), 0)
MOST_RECORDS = 50_000
"""Most records that one seal can take: it must stay well below the largest record that is written."""

_BATCH = 2_000
_POLL_S = 0.2
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class SealerOptions:
    """What the sealer needs. A seal is written after `every_records` records or `every_s` seconds with any."""

    kafka: Mapping[str, str]
    registry: SchemaRegistry
    key: SigningKey
    file: Path
    every_records: int = 10_000
    every_s: float = 30.0
    run: str = LIVE_RUN


class Sealer:
    """Seals until it is told to stop."""

    def __init__(self, options: SealerOptions) -> None:
        if not 0 < options.every_records <= MOST_RECORDS - _BATCH:
            raise ValueError(f"`every_records` is {options.every_records}, expected 1 to {MOST_RECORDS - _BATCH}")
        self._options = options
        self._codec = Codec(options.registry)
        self._mint = Mint(self._codec, "sealer", 1, options.run, options.key, frozenset({LogSealed.event_type()}))
        self._file = SealFile(options.file)
        self._log = structlog.get_logger("autopilot.sealer")

    def run(self, stop: threading.Event) -> None:
        """Seals until `stop`, starting anew after a broken connection; seals what is left and leaves.

        Raises `SealError` when what is sealed was rewritten.
        """
        failures = 0
        while not stop.is_set():
            try:
                _Session(self._options, self._mint, self._codec, self._file).run(stop)
            except (StreamError, KafkaException) as error:
                pause = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
                failures += 1
                self._log.warning("session ended, starting anew", error=str(error), pause_s=pause)
                stop.wait(pause)


class _Session:
    """From one recovery to the next."""

    def __init__(self, options: SealerOptions, mint: Mint, codec: Codec, file: SealFile) -> None:
        self._options = options
        self._mint = mint
        self._codec = codec
        self._file = file
        self._writer = PartitionWriter(options.kafka, "sealer.0")
        self._seals = plain_consumer(options.kafka, "sealer-reading-back")
        self._open: dict[Partition, OpenSegment] = {}
        self._pending = 0
        self._sequence = 0
        self._previous = b""
        self._sealed_at = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        consumer = plain_consumer(self._options.kafka, "sealer", **{"auto.offset.reset": "error"})
        try:
            self._recover()
            consumer.assign([TopicPartition(p.topic, p.number, s.next_offset) for p, s in self._open.items()])
            while not stop.is_set():
                self._take(consumer)
                if self._is_due():
                    self._seal()
            if self._pending:
                self._seal()
        finally:
            self._writer.close()
            self._seals.close()
            consumer.close()

    # -- recovery ----------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Takes up where the last seal on the topic ends; brings the file up to it first."""
        last = last_record(self._options.kafka, SEALS)
        self._catch_up_file(last)
        after = 0 if last is None else last.offset + 1
        self._seals.assign([TopicPartition(SEALS.topic, SEALS.number, after)])
        if last is not None:
            seal = seal_of(plain_record(SEALS, last), self._codec)
            self._sequence, self._previous = seal.content.sequence, seal.digest
            self._open = {segment.partition: segment for segment in map(follows, seal.content.segments)}
        for partition, (low, high) in bounds_of(self._options.kafka, SEALED_TOPICS).items():
            segment = self._open.setdefault(partition, OpenSegment(partition, low))
            if high < segment.next_offset:
                raise SealError(f"{partition} ends at offset {high}, but is sealed up to {segment.next_offset}")
            segment.first_offset = max(segment.first_offset, low)

    def _catch_up_file(self, last: WholeRecord | None) -> None:
        known = self._file.read()
        if known and (last is None or last.offset < known[-1].record.position.offset):
            raise SealError(f"{self._file.path} knows a seal at {known[-1].record.position} that the topic has not")
        start = known[-1].record.position.offset if known else 0
        batches = read_whole(self._options.kafka, SEALS, start)
        seals = [seal_of(plain_record(SEALS, whole), self._codec) for batch in batches for whole in batch]
        if known and (not seals or seals[0].digest != known[-1].digest):
            raise SealError(f"another seal stands at {known[-1].record.position} than {self._file.path} knows")
        self._file.append(seals[1:] if known else seals, self._options.registry)

    # -- sealing -----------------------------------------------------------------------------------------------------

    def _take(self, consumer: Consumer) -> None:
        taken: dict[Partition, list[WholeRecord]] = {}
        for message in consumer.consume(min(_BATCH, self._options.every_records), timeout=_POLL_S):
            error = message.error()
            if error is not None:
                raise_for(error)
                continue
            partition = Partition(str(message.topic()), int(message.partition() or 0))
            taken.setdefault(partition, []).append(whole_record(message))
        for partition, records in taken.items():
            self._open[partition].add(records)
            self._pending += len(records)

    def _is_due(self) -> bool:
        if not self._pending:
            return False
        return (
            self._pending >= self._options.every_records or time.monotonic() - self._sealed_at >= self._options.every_s
        )

    def _seal(self) -> None:
        """Writes the seal; on the topic first, so that the file never knows what the topic does not."""
        cuts = [self._open[partition].cut() for partition in sorted(self._open)]
        now_us = time.time_ns() // 1_000
        content = LogSealed(
            sequence=self._sequence + 1,
            previous_seal=self._previous,
            sealed_at_us=now_us,
            public_key=self._options.key.public_key,
            segments=[sealed for sealed, _ in cuts],
        )
        out: Outgoing = self._mint.from_outside(Draft(content, ""), now_us, {})
        self._writer.commit([out])
        self._open = {segment.partition: segment for _, segment in cuts}
        self._pending = 0
        self._sealed_at = time.monotonic()
        self._record_in_file(content.sequence)

    def _record_in_file(self, sequence: int) -> None:
        """Reads the seal back: the file has it as it stands on the topic, position and all."""
        seal = seal_of(plain_record(SEALS, self._read_back()), self._codec)
        if seal.content.sequence != sequence:
            raise SealError(f"seal {sequence} was written and {seal.content.sequence} stands in its place")
        self._sequence, self._previous = sequence, seal.digest
        self._file.append([seal], self._options.registry)

    def _read_back(self) -> WholeRecord:
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while time.monotonic() < deadline:
            message = self._seals.poll(_POLL_S)
            if message is not None:
                error = message.error()
                if error is None:
                    return whole_record(message)
                raise_for(error)
        raise UnreachableError("the seal that was written does not come back")
