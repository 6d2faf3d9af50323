"""The effector on Kafka: a consumer group of its own, one journal and one transactional writer for each partition.

It starts as an agent does, and only so: writer (fences the old owner), committed offset, snapshot, fold, live. Before
anything is begun at a target the partition is read to its end. Targets are worked on by a pool of threads, so that a
long step never costs the partition; only this loop writes.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.gate_state import GateState
from autopilot.infra.effector.jobs import Jobs
from autopilot.infra.effector.journal import PartitionJournal
from autopilot.infra.effector.port import Driver
from autopilot.infra.effector.watch import OBSERVE_EVERY_S, TargetWatch
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.errors import StreamError, UnreachableError
from autopilot.streams.fold import PartitionFold
from autopilot.streams.kafka import (
    REQUEST_TIMEOUT_S,
    PartitionWriter,
    group_consumer,
    plain_consumer,
    read_some,
    watermarks,
)
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing, Record
from autopilot.streams.recovery import recover, snapshot_records
from autopilot.streams.trust import SIGNS

GROUP = "effector"
THREADS = 8
MAX_BATCH = 500
IDLE_POLL_S = 0.05
BUSY_POLL_S = 0.002
END_TIMEOUT_S = 30.0
DRAIN_S = 20.0
"""How long a stopping effector waits for the acts that are under way; what takes longer is taken up at the start."""
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
SNAPSHOT_EVERY = 50_000

_LOG = str(Topic.LOG)


@dataclass
class _Partition:
    journal: PartitionJournal
    watch: TargetWatch
    writer: PartitionWriter
    since_snapshot: int


def _wall_clock_us() -> int:
    return time.time_ns() // 1_000


class EffectorWorker:
    """Runs the effector until it is told to stop. Only one process of it may run. It signs what it says with `key`."""

    def __init__(
        self,
        *,
        kafka: Mapping[str, str],
        registry: SchemaRegistry,
        partitions: int,
        drivers: Mapping[str, Driver],
        run: str = LIVE_RUN,
        key: SigningKey | None = None,
        pinned_administrators: frozenset[str] = frozenset(),
        observe_every_s: float = OBSERVE_EVERY_S,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self._kafka = kafka
        self._partitions = partitions
        self._drivers = drivers
        self._run = run
        self._gate = Gate(pinned_administrators)
        self._codec = Codec(registry)
        self._mint = Mint(self._codec, GROUP, partitions, run, key, SIGNS[GROUP])
        self._observe_every_s = observe_every_s
        self._snapshot_every = snapshot_every
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="effector")
        self._jobs = Jobs(self._pool)
        self._owned: dict[int, _Partition] = {}
        # ends are asked for on a connection of their own: on the consumer's they would wait behind its long fetch
        self._ends = plain_consumer(kafka, f"{GROUP}-ends")
        self._log = structlog.get_logger("autopilot.effector")

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`, starting anew after every error; then records what is being finished, and leaves."""
        failures = 0
        try:
            while not stop.is_set():
                started = time.monotonic()
                try:
                    self._session(stop)
                except (StreamError, KafkaException) as error:
                    failures = 0 if time.monotonic() - started > 30 else failures + 1
                    pause = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                    self._log.warning("session ended, starting anew", error=str(error) or repr(error), pause_s=pause)
                    stop.wait(pause)
        finally:
            self._ends.close()
            self._pool.shutdown(wait=False, cancel_futures=True)

    # -- one session -------------------------------------------------------------------------------------------------

    def _session(self, stop: threading.Event) -> None:
        consumer = group_consumer(self._kafka, GROUP, GROUP)
        try:
            consumer.subscribe([_LOG], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
            while not stop.is_set():
                self._read(consumer)
                for number in sorted(self._owned):
                    if number in self._owned:  # reading may take another one away
                        self._advance(number, consumer)
            self._drain(consumer)
        finally:
            for number in sorted(self._owned):
                self._give_up(number)
            consumer.close()

    def _drain(self, consumer: Consumer) -> None:
        """Begins nothing more; records what is finished within a while, and snapshots."""
        until = time.monotonic() + DRAIN_S
        while any(p.journal.acting for p in self._owned.values()) and time.monotonic() < until:
            self._read(consumer)
            for number in sorted(self._owned):
                self._record_results(number, consumer)
        for number in sorted(self._owned):
            self._snapshot(number, consumer)

    def _read(self, consumer: Consumer, *, busy: bool = False) -> None:
        """Reads and folds whatever is there, waiting for it only briefly when there is something else to do."""
        wait_s = BUSY_POLL_S if busy or self._jobs.under_way else IDLE_POLL_S
        for number, records in read_some(consumer, wait_s, MAX_BATCH).items():
            if number in self._owned:
                self._fold(number, records, consumer)

    def _fold(self, number: int, records: Sequence[Record], consumer: Consumer) -> None:
        partition = self._owned[number]
        unheard = partition.journal.unheard
        outgoing = partition.journal.step(records)
        if partition.journal.unheard != unheard:
            self._tell_heard(number, partition.journal.unheard)
        partition.since_snapshot += len(records)
        if outgoing:
            self._commit(number, outgoing, consumer)
        if partition.since_snapshot >= self._snapshot_every:
            self._snapshot(number, consumer)

    def _tell_heard(self, number: int, unheard: str | None) -> None:
        if unheard is None:
            self._log.info("what is recorded counts", partition=number)
        else:
            self._log.error("nothing is done", partition=number, why=unheard)

    # -- acting ------------------------------------------------------------------------------------------------------

    def _advance(self, number: int, consumer: Consumer) -> None:
        """Goes as far as it can with what is asked for on one partition."""
        partition = self._owned[number]
        partition.journal.look()
        self._record_results(number, consumer)
        if partition.journal.wants_end:
            if not self._read_to_end(number, consumer):
                return
            begun = partition.journal.at_end()
            if begun:
                self._commit(number, [outgoing for one in begun for outgoing in one.outgoing], consumer)
                partition.journal.committed(begun)
        self._say_observed(number, consumer)

    def _record_results(self, number: int, consumer: Consumer) -> None:
        journal = self._owned[number].journal
        results = journal.results()
        if results:
            self._commit(number, [outgoing for _, outgoing in results], consumer)
            journal.written(results)

    def _say_observed(self, number: int, consumer: Consumer) -> None:
        partition = self._owned[number]
        runtime, heard = partition.journal.fold.runtime, partition.journal.unheard is None
        drafts = list(partition.watch.turn(runtime.configuration, runtime.placements, heard=heard))
        if drafts:
            now_us = max(_wall_clock_us(), runtime.now_us)
            said = [self._mint.from_outside(draft, now_us, runtime.placements) for draft in drafts]
            self._commit(number, [replace(outgoing, partition=number) for outgoing in said], consumer)

    def _read_to_end(self, number: int, consumer: Consumer) -> bool:
        """Folds everything that was committed to the partition before this call; False when it was lost meanwhile."""
        partition = self._owned[number]
        place = TopicPartition(_LOG, number)
        _, end = watermarks(self._ends, _LOG, number)
        until = time.monotonic() + END_TIMEOUT_S
        while self._owned.get(number) is partition:
            position = max(consumer.position([place])[0].offset, partition.journal.fold.runtime.next_offset)
            if position >= end:
                return True
            if time.monotonic() > until:
                raise UnreachableError(f"partition {number} could not be read to its end within {END_TIMEOUT_S:.0f} s")
            self._read(consumer, busy=True)
        return False

    # -- writing -----------------------------------------------------------------------------------------------------

    def _commit(self, number: int, outgoing: Sequence[Outgoing], consumer: Consumer) -> None:
        partition = self._owned[number]
        offsets = [TopicPartition(_LOG, number, partition.journal.fold.runtime.next_offset)]
        partition.writer.commit(outgoing, offsets, consumer.consumer_group_metadata())

    def _snapshot(self, number: int, consumer: Consumer) -> None:
        partition = self._owned[number]
        if partition.since_snapshot:
            self._commit(number, snapshot_records(self._mint, partition.journal.fold, Topic.LOG, number), consumer)
            partition.since_snapshot = 0

    # -- rebalancing -------------------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for assigned in partitions:
            self._recover(assigned.partition, consumer)
        consumer.assign([TopicPartition(_LOG, p.partition, self._next_offset(p.partition)) for p in partitions])

    def _next_offset(self, number: int) -> int:
        return self._owned[number].journal.fold.runtime.next_offset

    def _recover(self, number: int, consumer: Consumer) -> None:
        writer = PartitionWriter(self._kafka, f"{GROUP}.{number}")
        (stored,) = consumer.committed([TopicPartition(_LOG, number)], timeout=REQUEST_TIMEOUT_S)
        fold: PartitionFold[GateState] = PartitionFold(self._gate, self._codec, self._mint, reads_run=self._run)
        recovered = recover(self._kafka, self._codec, fold, Topic.LOG, number, stored.offset)
        journal = PartitionJournal(self._gate, fold, self._mint, self._drivers, self._jobs, _wall_clock_us)
        watch = TargetWatch(
            self._drivers,
            self._jobs,
            partition=number,
            partitions=self._partitions,
            every_s=self._observe_every_s,
        )
        self._owned[number] = _Partition(journal, watch, writer, recovered.folded)
        if recovered.upgrade is not None:
            upgrade = self._mint.from_outside(recovered.upgrade, fold.runtime.now_us, {})
            snapshot = snapshot_records(self._mint, fold, Topic.LOG, number)
            self._commit(number, [replace(upgrade, partition=number), *snapshot], consumer)
            self._owned[number].since_snapshot = 0
        self._log.info("partition recovered", partition=number, next_offset=fold.runtime.next_offset)
        if journal.unheard is not None:
            self._tell_heard(number, journal.unheard)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for revoked in partitions:
            if revoked.partition in self._owned:
                self._snapshot(revoked.partition, consumer)
                self._give_up(revoked.partition)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for lost in partitions:
            if lost.partition in self._owned:
                self._give_up(lost.partition)

    def _give_up(self, number: int) -> None:
        partition = self._owned.pop(number)
        partition.journal.close()
        partition.watch.close()
        partition.writer.close()
