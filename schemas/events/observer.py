"""What the observer says: signals, telemetry quality, baselines and measurements."""

from enum import StrEnum

from autopilot.schemas.contract import BasisPoints, Contract, DurationMs, Payload, TimestampUs, described, optional


class SignalKind(StrEnum):
    """What kind of thing was noticed."""

    SLO_BURN = "slo_burn"
    """An error budget burns too fast (SRE workbook, chapter 5, multi-window multi-burn-rate)."""
    ANOMALY = "anomaly"
    """A series left its robust baseline."""
    TELEMETRY_LOST = "telemetry_lost"
    """A service's telemetry stopped or became unusable. It says nothing about the service itself."""


class Severity(StrEnum):
    """How urgently a person would be told."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


class SliKind(StrEnum):
    """What an SLO measures."""

    LATENCY = "latency"
    ERRORS = "errors"
    AVAILABILITY = "availability"
    SATURATION = "saturation"


class EvidenceRange(Contract):
    """Records of one partition that a conclusion rests on, first and last offset inclusive."""

    topic: str = described("Kafka topic.")
    partition: int = described("Partition.", ge=0)
    first_offset: int = described("Offset of the first record.", ge=0)
    last_offset: int = described("Offset of the last record.", ge=0)


class Quality(Contract):
    """How far a service's telemetry can be believed; each score is the worst over its required series."""

    freshness_bp: BasisPoints = described("10000 when the newest sample is within the expected interval; 0 when stale.")
    completeness_bp: BasisPoints = described("Share of the expected samples that arrived in the quality window.")
    validity_bp: BasisPoints = described("Share of arrived samples that were finite, plausible in time and well typed.")
    order_bp: BasisPoints = described("Share of arrived samples that came in order of time.")

    @property
    def worst_bp(self) -> int:
        """The lowest of the four scores."""
        return min(self.freshness_bp, self.completeness_bp, self.validity_bp, self.order_bp)


class BurnWindow(Contract):
    """One pair of windows of a burn-rate alert as it was evaluated."""

    long_window_ms: DurationMs = described("Length of the long window.")
    short_window_ms: DurationMs = described("Length of the short window.")
    threshold_milli: int = described("Burn rate that fires the alert, in thousandths (14400 is 14.4).", ge=0)
    long_burn_milli: int = described("Burn rate seen over the long window, in thousandths.", ge=0)
    short_burn_milli: int = described("Burn rate seen over the short window, in thousandths.", ge=0)


class SignalRaised(Payload):
    """Something was noticed about a service. Raised once; updated and cleared under the same `signal_id`."""

    signal_id: str = described("Identity of the signal, from its first event to its clearing.")
    kind: SignalKind = described("One of `slo_burn`, `anomaly`, `telemetry_lost`.")
    severity: Severity = described("One of `page`, `ticket`, `info`.")
    slo: str = described("Name of the SLO that burns; empty for other kinds.")
    sli: str = described("What it measures: `latency`, `errors`, `availability`, `saturation`; empty when none.")
    summary: str = described("One sentence for people, with the values seen.")
    windows: list[BurnWindow] = described("The windows evaluated, the one that fired first; empty for other kinds.")
    confidence_bp: BasisPoints = described("How sure the observer is, lowered by poor telemetry quality.")
    quality: Quality = described("Telemetry quality of the service when the signal was raised.")
    started_at_us: TimestampUs = described("Time of the earliest sample that belongs to the condition.")
    evidence: list[EvidenceRange] = described("Telemetry records that the conclusion rests on.")


class SignalUpdated(Payload):
    """A raised signal changed in severity or materially in strength."""

    signal_id: str = described("Identity of the signal.")
    severity: Severity = described("One of `page`, `ticket`, `info`.")
    summary: str = described("One sentence for people, with the values seen.")
    windows: list[BurnWindow] = described("The windows evaluated.")
    confidence_bp: BasisPoints = described("How sure the observer is.")
    quality: Quality = described("Telemetry quality of the service now.")
    evidence: list[EvidenceRange] = described("Telemetry records that the conclusion rests on.")


class SignalCleared(Payload):
    """The condition of a signal has ended."""

    signal_id: str = described("Identity of the signal.")
    reason: str = described("Why it cleared, with the values seen.")
    quality: Quality = described("Telemetry quality of the service when it cleared.")


class TelemetryQualityChanged(Payload):
    """A service's telemetry quality crossed a level."""

    quality: Quality = described("The scores now.")
    previous: Quality = described("The scores when last reported.")
    worst_series: str = described("The series with the lowest score; empty when all are good.")
    reason: str = described("What changed, for people.")


class SliSummary(Contract):
    """One SLO's indicator over a summary period."""

    slo: str = described("Name of the SLO.")
    good: float = described("Good events in the period.")
    total: float = described("All events in the period.")


class BaselineSummarised(Payload):
    """A service's indicators and quality over the last summary period, five minutes by default."""

    from_us: TimestampUs = described("Start of the period, inclusive.")
    until_us: TimestampUs = described("End of the period, exclusive.")
    indicators: list[SliSummary] = described("One entry for each SLO of the service.")
    quality: Quality = described("Telemetry quality at the end of the period.")


class Samples(Contract):
    """Buckets of one indicator or metric. A bucket without data is left out, never filled in."""

    name: str = described("`slo:NAME` for an indicator's share of bad events, `metric:NAME` for a metric.")
    unit: str = described("`1` for a share of bad events (0..1); the metric's own unit otherwise.")
    bucket_starts_us: list[int] = described(
        "Start of each bucket, microseconds since the epoch.", json_schema_extra={"items": "timestamp-micros"}
    )
    values: list[float] = described("One value for each bucket.")
    weights: list[float] = described("Events or samples behind each value.")


class MeasurementTaken(Payload):
    """The answer to a measurement request. An indicator that had no data at all has empty columns."""

    measurement_id: str = described("Identity of the request.")
    purpose: str = described("As requested: `before` or `after`.")
    from_us: TimestampUs = described("Start of the window, inclusive.")
    until_us: TimestampUs = described("End of the window, exclusive.")
    bucket_ms: DurationMs = described("Width of a bucket.")
    samples: list[Samples] = described("One entry for each indicator and metric asked for.")
    quality: Quality = described("Telemetry quality at the end of the window.")
    missing: list[str] = optional("Names asked for of which nothing is known.", [])
    evidence: list[EvidenceRange] = described("Telemetry records that the samples come from.")
