"""The KPI topology: Faust around the fold. It consumes the log, keeps a row for each domain, and says ended windows.

The rows are a Faust table in RocksDB with a changelog in `autopilot.kpi-state`, partitioned as the log is: a row is
keyed by partition and domain, and nothing is repartitioned. Faust delivers at least once. That no record counts twice
rests on three things: a row knows the offsets that it has applied; records are acknowledged together, and only when
the broker has what was said because of them, the changelog has the changed rows, and RocksDB has them after it; and a
window's event has the window's own id.

Crash-only: whatever goes wrong ends the process, unacknowledged, and whoever supervises it starts another.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import faust
import structlog
from faust.types import TP, EventT, FutureMessage, RecordMetadata

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Position
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.errors import UnknownTrustError
from autopilot.streams.kpis.fold import DomainRow
from autopilot.streams.kpis.partition import NO_DOMAIN, PRODUCER, PartitionKpis, TrustRow, trust_of
from autopilot.streams.kpis.transport import ReadCommittedTransport, worker_settings
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing, Record

GROUP = "kpis"
STOP_S = 5.0
WRITE_EVERY_S = 0.05
MOST_PENDING = 2_000
POLL_S = 0.1
SESSION_S = 6.0
_ROCKSDB = {"driver": "rocksdict", "write_buffer_size": 4 << 20, "block_cache_size": 16 << 20}


@dataclass(frozen=True)
class KpiOptions:
    """What the topology needs. `folder` holds its copy of the rows; without it the changelog restores them."""

    kafka: Mapping[str, str]
    registry: SchemaRegistry
    partitions: int
    folder: Path
    instance: str = "1"
    run: str = LIVE_RUN


class KeptMessage(NamedTuple):
    """A changelog record as a store takes it up."""

    tp: TP
    offset: int
    key: bytes
    value: bytes

    @property
    def partition(self) -> int:
        """Its partition."""
        return self.tp.partition


class KeptEvent(NamedTuple):
    """What a store expects around it."""

    message: KeptMessage


class FollowingTable(faust.Table[bytes, bytes]):
    """A table whose RocksDB follows its changelog and is never ahead of it."""

    async def keep(self, rows: Mapping[tuple[int, bytes], bytes]) -> None:
        """Writes rows, each to its partition: to the changelog, and when the broker has them all, to RocksDB.

        Raises when the broker does not take one.
        """
        sent = [(self.send_changelog(place[0], place[1], row), place, row) for place, row in rows.items()]
        kept = []
        for future, (_, key), row in sent:
            written: RecordMetadata = await future
            kept.append(KeptEvent(KeptMessage(written.topic_partition, written.offset, key, row)))
        store: Any = self.data
        store.apply_changelog_batch(kept, bytes, bytes)

    def _on_changelog_sent(self, fut: FutureMessage) -> None:
        """Nothing: the changelog's offset goes into RocksDB with the rows, not before them."""


@dataclass
class Pending:
    """What was folded and is not yet written."""

    begun: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    """The trust rows of partitions that are read from their begin; they come before anything else."""
    said: list[Outgoing] = field(default_factory=list)
    rows: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    events: list[EventT[bytes]] = field(default_factory=list)


class KpiTopology:
    """The topology as a process."""

    def __init__(self, options: KpiOptions) -> None:
        self._options = options
        self._group = GROUP if options.run == LIVE_RUN else f"{GROUP}.{options.run}"
        codec = Codec(options.registry)
        self._codec = codec
        self._mint = Mint(codec, PRODUCER, options.partitions, options.run)
        self._partitions: dict[int, PartitionKpis] = {}
        self._pending = Pending()
        self._writing = asyncio.Lock()
        self._failure: BaseException | None = None
        self._log = structlog.get_logger("autopilot.kpis")

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`, then ends the process: Faust's own way out waits for tasks that do not end.

        A fault ends the process as well, with exit code 1. Nothing is lost by either: what is not acknowledged is
        delivered again.
        """
        asyncio.run(self._work_or_end(stop))
        os._exit(0)

    async def _work_or_end(self, stop: threading.Event) -> None:
        try:
            await self._work(stop)
        except Exception as error:
            self._log.exception("the topology has failed", error=repr(error))
            os._exit(1)  # here: the event loop's own end would wait for Faust's tasks, some of which do not end

    async def _work(self, stop: threading.Event) -> None:
        app = self._app()
        await app.start()
        writing = asyncio.create_task(self._write_on())
        while not stop.is_set():
            await asyncio.sleep(POLL_S)
            failure = self._failure or app.crash_reason
            if failure is not None:
                raise failure
            if writing.done():
                await writing
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leave(app), STOP_S)
        self._log.info("the topology has stopped")
        os._exit(0)

    async def _leave(self, app: faust.App) -> None:
        await self._write()
        await app.consumer.commit()

    # -- Faust -------------------------------------------------------------------------------------------------------

    def _app(self) -> faust.App:
        """The app: one agent on the log, one table."""
        options = self._options
        app = faust.App(
            self._group,
            **worker_settings(options.kafka),
            autodiscover=False,
            broker_client_id=f"{GROUP}-{options.instance}",
            broker_commit_interval=1.0,
            broker_heartbeat_interval=1.0,
            broker_session_timeout=SESSION_S,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=f"{GROUP}-{options.instance}",
            datadir=options.folder,
            producer_acks=-1,
            producer_compression_type="lz4",
            producer_max_request_size=1_000_000,
            store="rocksdb://",
            stream_recovery_delay=0.0,
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        app.transport = ReadCommittedTransport(app.conf.broker_consumer, app)
        self._faust = app
        raw: dict[str, Any] = dict.fromkeys(("key_serializer", "value_serializer"), "raw")
        log = app.topic(str(Topic.LOG), partitions=options.partitions, **raw)
        self._kpis = app.topic(str(Topic.KPIS), partitions=options.partitions, **raw)
        self._rows = FollowingTable(
            app,
            name="domains",
            key_type=bytes,
            value_type=bytes,
            partitions=options.partitions,
            changelog_topic=app.topic(str(Topic.KPI_STATE), partitions=options.partitions, compacting=True, **raw),
            options=dict(_ROCKSDB),
            on_recover=self._settle,
        )
        app.tables.add(self._rows)
        app.on_partitions_revoked.connect(self._settle)
        app.on_partitions_assigned.connect(self._settle)
        app.agent(log, name="kpis")(self._follow)
        return app

    async def _follow(self, stream: Any) -> None:
        """Folds one record after another, in memory; `_write_on` writes."""
        async for event in stream.noack().events():
            try:
                self._fold(event)
                if len(self._pending.events) >= MOST_PENDING:
                    await self._write()
            except Exception as error:
                self._failure = error
                await asyncio.Event().wait()  # Faust would go on behind the record: the process ends first

    def _fold(self, event: EventT[bytes]) -> None:
        record = _record(event.message)
        number = record.position.partition
        kpis = self._partitions.get(number)
        if kpis is None:
            rows, trust = self._load(record.position)
            kpis = self._partitions[number] = PartitionKpis(number, rows, self._codec, self._mint, trust)
        for change in kpis.take(record):
            self._pending.said += change.said
            self._pending.rows[number, _key(number, change.domain)] = change.row.model_dump_json().encode()
        self._pending.events.append(event)

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            if self._pending.events:
                await self._write()

    async def _write(self) -> None:
        """Writes what was folded. After a failure nothing is written again: it would be acknowledged past the gap."""
        async with self._writing:
            if self._failure is not None:
                raise self._failure
            pending, self._pending = self._pending, Pending()
            try:
                await self._write_out(pending)
            except BaseException as error:
                self._failure = error
                raise

    async def _write_out(self, pending: Pending) -> None:
        await self._rows.keep(pending.begun)
        sent = [await self._kpis.send(**_sending(out)) for out in pending.said]
        for one in sent:
            await one
        trust = {place: row for place, row in pending.rows.items() if place[1] == _key(place[0], NO_DOMAIN)}
        await self._rows.keep({place: row for place, row in pending.rows.items() if place not in trust})
        await self._rows.keep(trust)  # it says that every record before it is applied
        for event in pending.events:
            event.ack()

    async def _settle(self, *_: Any, **__: Any) -> None:
        """Writes all, and forgets the rows in memory: after a change of owner the table's are newer."""
        while self._pending.events or self._writing.locked():
            await self._write()
        self._partitions.clear()

    def _load(self, position: Position) -> tuple[dict[str, DomainRow], TrustRow]:
        partition = position.partition
        prefix = _key(partition, NO_DOMAIN)
        kept = {bytes(key): value for key, value in self._rows.items() if bytes(key).startswith(prefix)}
        known = TrustRow.model_validate_json(kept.pop(prefix)) if prefix in kept else None
        rows = {key.removeprefix(prefix).decode(): DomainRow.model_validate_json(row) for key, row in kept.items()}
        consumer: Any = self._faust.consumer
        try:
            trust = trust_of(known, rows, consumer.committed_offset(TP(position.topic, partition)))
        except UnknownTrustError as error:
            raise UnknownTrustError(f"{position.topic}[{partition}] was {error}: {self._anew()}") from None
        if known is None:
            self._pending.begun[partition, prefix] = trust.model_dump_json().encode()
        return rows, trust

    def _anew(self) -> str:
        return (
            f"delete the consumer group `{self._group}`, the topics `{Topic.KPIS}` and `{Topic.KPI_STATE}` and the "
            f"folder `{self._options.folder}`, then `autopilot up`: the whole log is counted anew (docs/kpis.md)"
        )


def _key(partition: int, domain: str) -> bytes:
    return f"{partition}/{domain}".encode()


def _sending(out: Outgoing) -> dict[str, Any]:
    return {"key": out.key, "value": out.value, "partition": out.partition, "headers": dict(out.headers)}


def _record(message: Any) -> Record:
    position = Position(message.topic, message.partition, message.offset)
    return Record(
        position,
        round(message.timestamp * 1_000),
        message.key or b"",
        message.value or b"",
        dict(message.headers or ()),
    )
