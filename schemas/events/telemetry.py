"""Telemetry: what services and bridges say, and what may be asked of the observer. Written to the telemetry topic."""

from enum import StrEnum
from typing import ClassVar

from autopilot.schemas.contract import Contract, DurationMs, Payload, TimestampUs, Topic, described, optional


class SeriesKind(StrEnum):
    """How the values of a series add up over time."""

    GAUGE = "gauge"
    """A level, such as memory in use."""
    DELTA = "delta"
    """A count since the previous sample of the same series, such as requests in this interval."""
    CUMULATIVE = "cumulative"
    """A count since the process started; a value below the previous one is a reset."""


class Series(Contract):
    """The samples of one metric of one source, as two columns of equal length."""

    metric: str = described("OpenTelemetry metric name, such as `http.server.request.count`.")
    kind: SeriesKind = described("One of `gauge`, `delta`, `cumulative`.")
    unit: str = described("UCUM unit of the values, such as `ms`, `By` or `1`.")
    attributes: dict[str, str] = described("Attributes that tell this series apart, such as `service.instance.id`.")
    timestamps_us: list[int] = described(
        "Sample times, microseconds since the epoch, oldest first.", json_schema_extra={"items": "timestamp-micros"}
    )
    values: list[float] = described("Sample values in `unit`, one for each timestamp.")


class Group(Contract):
    """Some of a service's series, told apart by attributes, such as those of a canary's instances."""

    name: str = described("Name of the group, such as `canary` or `control`.")
    attributes: dict[str, str] = described(
        "Attributes that a series of the group has; a value that ends with `*` stands for all that begin so."
    )


class TelemetryBatch(Payload):
    """Some series of one service, as one exporter sent them. Keyed by service."""

    topic: ClassVar[Topic] = Topic.TELEMETRY

    source: str = described("Who sent it, such as an OTLP client's address or a file's name.")
    series: list[Series] = described("The series; at most 10,000 samples in all.")


def history_width_us(interval_ms: int) -> int:
    """Width of the buckets that measurements are made of, for a service that sends this often: half an interval."""
    return max(interval_ms * 500, 200_000)


class MeasurementRequested(Payload):
    """The verifier asks the observer for samples of one service between two times. Keyed by service."""

    topic: ClassVar[Topic] = Topic.TELEMETRY

    measurement_id: str = described("Identity of the request; the answer bears it.")
    purpose: str = described("What it is for: `before`, `after` or `stage`.")
    slo_names: list[str] = described("SLOs whose indicators are wanted; empty for all of the service.")
    guard_metrics: list[str] = described("Further metric names whose samples are wanted.")
    from_us: TimestampUs = described("Start of the window, inclusive.")
    until_us: TimestampUs = described("End of the window, exclusive; the answer is given once it has passed.")
    bucket_ms: DurationMs = described("Width of a sample: each is the aggregate of one bucket.")
    max_samples: int = optional("Bound on the samples of one indicator.", 600, ge=1, le=10_000)
    groups: list[Group] = optional(
        "Groups that are measured apart besides the whole; their samples are named `NAME@GROUP`.", []
    )
