"""The whole audit: seals against records, and the chain of evidence within the log, in one pass over each partition."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.envelope import Event
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.seals import SealedSegment
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.evidence import Evidence
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.audit.links import Links
from autopilot.streams.audit.partition_check import PartitionCheck
from autopilot.streams.audit.seal_chain import check_seals, compare_with_file, sealers_in
from autopilot.streams.audit.source import Source, is_log
from autopilot.streams.record import EVENT_TYPE, Record
from autopilot.streams.seal_file import Seal
from autopilot.streams.seals import Partition, WholeRecord
from autopilot.streams.trust import check_activation
from autopilot.streams.whole_reader import plain_record

Announce = Callable[[str], None]


@dataclass(frozen=True)
class AuditOptions:
    """What is audited. Times are Kafka's record timestamps, milliseconds since the epoch."""

    run: str = LIVE_RUN
    from_ms: int | None = None
    to_ms: int | None = None
    against: Sequence[Seal] | None = None
    """Seals of a file kept outside; they are used in place of the source's own, which are compared with them."""
    sealers: Sequence[str] = ()
    """Pinned public keys that may seal, besides those that the log's signer lists name."""


@dataclass(frozen=True)
class Audited:
    """One partition as it was audited: offsets `first` up to, not including, `end`."""

    partition: Partition
    first: int
    end: int
    records: int
    verified: int


@dataclass
class AuditReport:
    """What was audited and what was found."""

    partitions: list[Audited] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seals: int = 0
    last_sealed_at_us: int = 0

    @property
    def violations(self) -> list[Finding]:
        """The findings that mean that something is wrong."""
        return [finding for finding in self.findings if finding.violation]

    @property
    def notes(self) -> list[Finding]:
        """The findings that are worth knowing."""
        return [finding for finding in self.findings if not finding.violation]


class Audit:
    """One audit of one source."""

    def __init__(
        self, source: Source, registry: SchemaRegistry, options: AuditOptions, announce: Announce = lambda _: None
    ) -> None:
        self._source = source
        self._registry = registry
        self._options = options
        self._announce = announce
        self._own_seals = source.seals()  # before the bounds, so that what is sealed is within them
        self._bounds = source.bounds()
        self._links = Links(registry)
        self._starts: dict[Partition, int] = {}

    def run(self) -> AuditReport:
        """Reads everything once, the log's first partition twice, and reports by position."""
        report = AuditReport()
        segments = self._checked_segments(report)
        for partition in self._bounds:
            self._announce(f"auditing {partition}")
            self._audit(partition, segments.get(partition, []), report)
        for partition in segments.keys() - self._bounds.keys():
            self._announce(f"{partition} is sealed and not there")
            report.findings += PartitionCheck(partition, segments[partition]).finish()
        report.findings += [f for f in self._links.findings() if self._is_asked_for(f)]
        report.findings += self._source.faults()
        report.findings.sort(key=lambda finding: finding.position)
        return report

    # -- seals -------------------------------------------------------------------------------------------------------

    def _checked_segments(self, report: AuditReport) -> dict[Partition, list[SealedSegment]]:
        own, findings = self._own_seals
        report.findings += findings
        outside = self._options.against
        seals = list(own if outside is None else outside)
        if outside is not None:
            report.findings += compare_with_file(own, outside)
            known = max((seal.content.sequence for seal in outside), default=0)
            seals += [seal for seal in own if seal.content.sequence > known]
        checked = check_seals(seals, [*self._options.sealers, *self._sealers()])
        report.findings += checked.findings
        report.seals, report.last_sealed_at_us = checked.seals, checked.last_sealed_at_us
        return dict(checked.segments)

    def _sealers(self) -> Iterator[str]:
        """Every key that a configuration in force ever allowed to seal, by the log's first partition."""
        partition = next((p for p in self._bounds if is_log(p)), None)
        if partition is None:
            return
        codec, configuration = Codec(self._registry), Configuration()
        name = ConfigurationActivated.event_type().encode()
        for batch in self._source.read(partition, *self._bounds[partition]):
            for whole in batch:
                record = plain_record(partition, whole)
                if record.headers.get(EVENT_TYPE) != name:
                    continue
                configuration = self._after(record, codec, configuration)
                yield from sealers_in(configuration.signers())

    @staticmethod
    def _after(record: Record, codec: Codec, configuration: Configuration) -> Configuration:
        """The configuration in force after an activation; one that does not count changes nothing."""
        try:
            event: Event[Any] = codec.decode(record.value)
        except ContractError:
            return configuration
        if not isinstance(event.payload, ConfigurationActivated):
            return configuration
        outcome = check_activation(record, event, configuration)
        return outcome if isinstance(outcome, Configuration) else configuration

    # -- one partition -----------------------------------------------------------------------------------------------

    def _audit(self, partition: Partition, segments: Sequence[SealedSegment], report: AuditReport) -> None:
        low, high = self._bounds[partition]
        start, end = self._range(partition)
        self._starts[partition] = start
        within = [segment for segment in segments if segment.first_offset < end]
        read_to = max([end, *(segment.next_offset for segment in within[-1:])])
        check = PartitionCheck(partition, within, low=low, start=start if start > low else 0)
        begin = low if is_log(partition) else check.first_offset
        evidence = Evidence(self._registry, self._options.run) if is_log(partition) and low == 0 else None
        self._links.cover(partition, begin, min(high, read_to))
        for batch in self._source.read(partition, begin, min(high, read_to)):
            check.feed([whole for whole in batch if whole.offset >= max(start, check.first_offset)])
            self._take_events(partition, batch, evidence)
        found = check.finish() + (evidence.finish() if evidence else [])
        report.findings += [finding for finding in found if self._is_asked_for(finding)]
        first = max(start, check.first_offset)
        report.partitions.append(Audited(partition, first, min(high, read_to), check.records, check.verified))

    def _take_events(self, partition: Partition, batch: Sequence[WholeRecord], evidence: Evidence | None) -> None:
        records = [plain_record(partition, whole) for whole in batch]
        for record in records:
            self._links.add(record)
        if evidence is not None:
            evidence.feed(records)

    def _range(self, partition: Partition) -> tuple[int, int]:
        low, high = self._bounds[partition]
        start, end = low, high
        if self._options.from_ms is not None:
            found = self._source.offset_at(partition, self._options.from_ms)
            start = high if found is None else max(low, found)
        if self._options.to_ms is not None:
            found = self._source.offset_at(partition, self._options.to_ms)
            end = high if found is None else min(high, found)
        return start, end

    def _is_asked_for(self, finding: Finding) -> bool:
        topic, number, _ = finding.position
        return finding.kind is Kind.EXPIRED or finding.last_offset >= self._starts.get(Partition(topic, number), 0)
