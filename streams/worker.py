"""The worker: one agent as a member of its consumer group, each partition a fold of its own.

There is one way to start, and it is recovery. On assignment, in this order: make the partition's transactional writer
(it fences the old owner and ends what that one left open), read the committed offset, load the newest snapshot, fold
up to the committed offset without writing, go live. A batch is folded and its outputs are written with the offsets in
one transaction; a batch without outputs writes nothing, and its offsets ride with the next one or with a snapshot.
Whatever goes wrong - fenced, aborted, unreachable - ends the session: all state is dropped and a new one starts.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from autopilot.agents.agent import Agent
from autopilot.schemas.codec import Codec
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams import observability as seen
from autopilot.streams.errors import StreamError
from autopilot.streams.fold import BatchFaultError, PartitionFold
from autopilot.streams.kafka import REQUEST_TIMEOUT_S, PartitionWriter, group_consumer, read_some
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, Outgoing, Record
from autopilot.streams.recovery import recover, snapshot_records

MAX_BATCH = 500
POLL_S = 0.1
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
DEFAULT_SNAPSHOT_EVERY = 50_000


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker needs besides its agent."""

    kafka: Mapping[str, str]
    registry: SchemaRegistry
    partitions: int
    instance: str
    run: str = LIVE_RUN
    reads_run: str = LIVE_RUN
    key: SigningKey | None = None
    signs: frozenset[str] = frozenset()
    snapshot_every: int = DEFAULT_SNAPSHOT_EVERY


@dataclass
class _Partition:
    """A partition that this worker owns."""

    fold: PartitionFold[Any]
    writer: PartitionWriter
    since_snapshot: int


class Beside(Protocol):
    """Work beside a fold, such as sending what it asks for. It must not block: the partition waits for it."""

    def turn(self, partition: int, fold: PartitionFold[Any], position: int) -> Sequence[Outgoing]:
        """Goes as far as it can, and gives what is to be recorded of it. `position` is the offset to be read next.

        After a recovery the fold is another object; what was given and is not in the log then must be given again.
        """
        ...


class AgentWorker:
    """Runs one agent until it is told to stop, and what is done beside it."""

    def __init__(self, agent: Agent[Any], options: WorkerOptions, beside: Beside | None = None) -> None:
        self._agent = agent
        self._beside = beside
        self._options = options
        self._codec = Codec(options.registry)
        self._group = agent.name if options.run == LIVE_RUN else f"{agent.name}.{options.run}"
        self._mint = Mint(self._codec, agent.name, options.partitions, options.run, options.key, options.signs)
        self._topic = str(agent.reads)
        self._owned: dict[int, _Partition] = {}
        self._one_by_one: set[int] = set()
        self._log = structlog.get_logger("autopilot.worker").bind(agent=agent.name, instance=options.instance)
        self._attributes = {"agent": agent.name}

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`, starting anew after every error; then snapshots what it owns and leaves."""
        failures = 0
        while not stop.is_set():
            started = time.monotonic()
            try:
                self._session(stop)
            except (StreamError, KafkaException, BatchFaultError) as error:
                failures = 0 if time.monotonic() - started > 30 else failures + 1
                pause = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                seen.RESTARTS.add(1, self._attributes)
                self._log.warning("session ended, starting anew", error=str(error) or repr(error), pause_s=pause)
                stop.wait(pause)

    # -- one session -------------------------------------------------------------------------------------------------

    def _session(self, stop: threading.Event) -> None:
        consumer = group_consumer(self._options.kafka, self._group, self._options.instance)
        try:
            consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
            while not stop.is_set():
                self._turn(consumer)
            for number in sorted(self._owned):
                self._snapshot(number, consumer)
        finally:
            for partition in self._owned.values():
                partition.writer.close()
            self._owned.clear()
            consumer.close()

    def _turn(self, consumer: Consumer) -> None:
        for number, records in read_some(consumer, POLL_S, MAX_BATCH).items():
            if number in self._owned:
                self._fold(number, records, consumer)
        if self._beside is not None:
            self._turn_beside(self._beside, consumer)

    def _turn_beside(self, beside: Beside, consumer: Consumer) -> None:
        for number, partition in sorted(self._owned.items()):
            (place,) = consumer.position([TopicPartition(self._topic, number)])
            position = max(place.offset, partition.fold.runtime.next_offset)
            outgoing = beside.turn(number, partition.fold, position)
            if outgoing:
                self._commit(number, list(outgoing), consumer)

    def _fold(self, number: int, records: list[Record], consumer: Consumer) -> None:
        partition = self._owned[number]
        started = seen.now_ms()
        try:
            outgoing = partition.fold.step(records)
        except BatchFaultError:
            self._one_by_one.add(number)
            raise
        seen.HANDLE_TIME.record(seen.now_ms() - started, self._attributes)
        seen.BATCH_SIZE.record(len(records), self._attributes)
        partition.since_snapshot += len(records)
        if outgoing:
            self._commit(number, outgoing, consumer)
            self._report(records, outgoing, consumer)
        if partition.since_snapshot >= self._options.snapshot_every:
            self._snapshot(number, consumer)

    def _commit(self, number: int, outgoing: list[Outgoing], consumer: Consumer) -> None:
        partition = self._owned[number]
        next_offset = partition.fold.runtime.next_offset
        started = seen.now_ms()
        offsets = [TopicPartition(self._topic, number, next_offset)]
        partition.writer.commit(outgoing, offsets, consumer.consumer_group_metadata())
        seen.TRANSACTION_TIME.record(seen.now_ms() - started, self._attributes)

    def _snapshot(self, number: int, consumer: Consumer) -> None:
        partition = self._owned[number]
        if partition.since_snapshot:
            self._commit(number, snapshot_records(self._mint, partition.fold, self._agent.reads, number), consumer)
            partition.since_snapshot = 0

    def _report(self, records: list[Record], outgoing: list[Outgoing], consumer: Consumer) -> None:
        last = records[-1].position
        attributes = {**self._attributes, "partition": str(last.partition)}
        seen.END_TO_END.record(max(0.0, time.time() * 1_000 - records[0].timestamp_ms), self._attributes)
        _, high = consumer.get_watermark_offsets(TopicPartition(last.topic, last.partition), cached=True)
        seen.LAG.set(max(0, high - last.offset - 1), attributes)
        dead = sum(out.headers.get(EVENT_TYPE) == b"DeadLettered" for out in outgoing)
        if dead:
            seen.DEAD_LETTERS.add(dead, self._attributes)
            self._log.warning("records put into dead-letters", count=dead, up_to=str(last))

    # -- rebalancing -------------------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for assigned in partitions:
            self._recover(assigned.partition, consumer)
        consumer.assign([TopicPartition(self._topic, p.partition, self._next_offset(p.partition)) for p in partitions])

    def _next_offset(self, number: int) -> int:
        return self._owned[number].fold.runtime.next_offset

    def _recover(self, number: int, consumer: Consumer) -> None:
        """Recovers one partition, in the order that the module's docstring gives."""
        started = seen.now_ms()
        writer = PartitionWriter(self._options.kafka, f"{self._group}.{number}")
        (stored,) = consumer.committed([TopicPartition(self._topic, number)], timeout=REQUEST_TIMEOUT_S)
        fold = PartitionFold(
            self._agent,
            self._codec,
            self._mint,
            reads_run=self._options.reads_run,
            one_by_one=number in self._one_by_one,
            watch=seen.SpanWatch(self._agent.name, self._options.run),
        )
        try:
            recovered = recover(self._options.kafka, self._codec, fold, self._agent.reads, number, stored.offset)
        except BatchFaultError:
            self._one_by_one.add(number)
            raise
        self._owned[number] = _Partition(fold, writer, recovered.folded)
        if recovered.upgrade is not None:
            upgrade = self._mint.from_outside(recovered.upgrade, fold.runtime.now_us, {})
            snapshot = snapshot_records(self._mint, fold, self._agent.reads, number)
            self._commit(number, [replace(upgrade, partition=number), *snapshot], consumer)
            self._owned[number].since_snapshot = 0
        self._log.info(
            "partition recovered",
            partition=number,
            next_offset=fold.runtime.next_offset,
            folded=recovered.folded,
            from_snapshot=recovered.from_snapshot,
            took_ms=round(seen.now_ms() - started),
        )

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for revoked in partitions:
            if revoked.partition in self._owned:
                self._snapshot(revoked.partition, consumer)
                self._owned.pop(revoked.partition).writer.close()

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for lost in partitions:
            if lost.partition in self._owned:
                self._owned.pop(lost.partition).writer.close()
