"""OTLP metrics to telemetry batches: what an OpenTelemetry exporter sends, in this system's words. Pure.

Follows the OpenTelemetry protocol (OTLP 1.x) and metrics data model. `service.name` says whose telemetry it is; of the
resource only `service.instance.id` is kept beside it, since a version or a host name there would cut a series in two at
each release. A point's own attributes are all kept.

    Gauge                       gauge
    Sum, delta                  delta
    Sum, cumulative, monotonic  cumulative
    Sum, cumulative, otherwise  gauge: it goes up and down, so it is a level
    Histogram                   NAME.bucket (attribute `le`, cumulative over `le`), NAME.count, NAME.sum
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
)

from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch

MAX_SAMPLES = 10_000
"""Samples of one batch, as its contract bounds them."""
MAX_BATCH_BYTES = 700_000
"""Bound on a batch's estimated Avro size, well below what one record may hold."""
MAX_TEXT = 1_024
"""Longest name or attribute that is accepted, in characters."""
MAX_ATTRIBUTES = 128
"""Most attributes of one point, as the OpenTelemetry SDKs limit them."""

_SAMPLE_BYTES = 18
_SERIES_BYTES = 24
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_KINDS = {
    (AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA, True): SeriesKind.DELTA,
    (AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA, False): SeriesKind.DELTA,
    (AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE, True): SeriesKind.CUMULATIVE,
    (AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE, False): SeriesKind.GAUGE,
}


class Translated(NamedTuple):
    """The batches of a request by service, and what could not be taken: how many points, and why."""

    batches: list[tuple[str, TelemetryBatch]]
    rejected: int
    reasons: list[str]


class _Key(NamedTuple):
    metric: str
    kind: SeriesKind
    unit: str
    attributes: tuple[tuple[str, str], ...]


class _Point(NamedTuple):
    """One sample on its way into its series."""

    key: _Key
    at_us: int
    value: float


class _RefusedPointError(ValueError):
    """A point that cannot be taken; its message says why."""


@dataclass
class _Refusals:
    points: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def add(self, points: int, reason: str) -> None:
        self.points += points
        self.reasons[reason] = None


def translate(request: ExportMetricsServiceRequest, source: str) -> Translated:
    """The telemetry in `request`, which came from `source`. What it cannot take it counts and explains."""
    samples: dict[str, dict[_Key, list[_Point]]] = {}
    refusals = _Refusals()
    for resource in request.resource_metrics:
        attributes = _texts(resource.resource.attributes)
        service = attributes.get("service.name", "")
        if not 0 < len(service) <= MAX_TEXT:
            refusals.add(_count(resource), "the resource has no `service.name`, so it is nobody's telemetry")
            continue
        of_service = samples.setdefault(service, {})
        for point in _points(resource, attributes.get("service.instance.id", ""), refusals):
            of_service.setdefault(point.key, []).append(point)
    batches = [(service, batch) for service, keyed in samples.items() for batch in _batches(keyed, source)]
    return Translated(batches, refusals.points, list(refusals.reasons))


def bound_text(bound: float) -> str:
    """A bucket's upper bound as the attribute `le` has it: `250`, `0.5`, `+Inf`."""
    if bound == float("inf"):
        return "+Inf"
    return str(int(bound)) if bound.is_integer() else repr(bound)


def _count(resource: ResourceMetrics) -> int:
    metrics = (metric for scope in resource.scope_metrics for metric in scope.metrics)
    return sum(len(getattr(metric, data).data_points) for metric in metrics if (data := metric.WhichOneof("data")))


def _points(resource: ResourceMetrics, instance: str, refusals: _Refusals) -> Iterator[_Point]:
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            data = metric.WhichOneof("data")
            read = _READERS.get(data or "")
            if read is None:
                count = len(getattr(metric, data).data_points) if data else 0
                refusals.add(count, f"`{metric.name}`: {data or 'a metric without data'} is not supported")
                continue
            yield from read(metric, instance, refusals)


def _read_gauge(metric: Metric, instance: str, refusals: _Refusals) -> Iterator[_Point]:
    yield from _read_numbers(metric, metric.gauge.data_points, SeriesKind.GAUGE, instance, refusals)


def _read_sum(metric: Metric, instance: str, refusals: _Refusals) -> Iterator[_Point]:
    kind = _KINDS.get((metric.sum.aggregation_temporality, metric.sum.is_monotonic))
    if kind is None:
        refusals.add(len(metric.sum.data_points), f"`{metric.name}`: the sum states no temporality")
        return
    yield from _read_numbers(metric, metric.sum.data_points, kind, instance, refusals)


def _read_numbers(
    metric: Metric, points: Iterable[NumberDataPoint], kind: SeriesKind, instance: str, refusals: _Refusals
) -> Iterator[_Point]:
    for point in points:
        if point.flags & _NO_VALUE:
            continue
        try:
            key = _Key(_named(metric), kind, metric.unit, _attributes(point.attributes, instance))
            value = point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)
            yield _Point(key, _us(point.time_unix_nano), value)
        except _RefusedPointError as error:
            refusals.add(1, f"`{metric.name[:MAX_TEXT]}`: {error}")


def _read_histogram(metric: Metric, instance: str, refusals: _Refusals) -> Iterator[_Point]:
    kind = _KINDS.get((metric.histogram.aggregation_temporality, True))
    if kind is None:
        refusals.add(len(metric.histogram.data_points), f"`{metric.name}`: the histogram states no temporality")
        return
    for point in metric.histogram.data_points:
        if point.flags & _NO_VALUE:
            continue
        try:
            yield from _of_histogram(metric, point, kind, instance)
        except _RefusedPointError as error:
            refusals.add(1, f"`{metric.name[:MAX_TEXT]}`: {error}")


def _of_histogram(metric: Metric, point: HistogramDataPoint, kind: SeriesKind, instance: str) -> list[_Point]:
    name, attributes, at_us = _named(metric), _attributes(point.attributes, instance), _us(point.time_unix_nano)
    if point.bucket_counts and len(point.bucket_counts) != len(point.explicit_bounds) + 1:
        raise _RefusedPointError(f"{len(point.bucket_counts)} buckets for {len(point.explicit_bounds)} bounds")
    points = [_Point(_Key(f"{name}.count", kind, "1", attributes), at_us, float(point.count))]
    if point.HasField("sum"):
        points.append(_Point(_Key(f"{name}.sum", kind, metric.unit, attributes), at_us, point.sum))
    below = 0
    for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=False):
        below += count
        bucket = tuple(sorted([*attributes, ("le", bound_text(bound))]))
        points.append(_Point(_Key(f"{name}.bucket", kind, "1", bucket), at_us, float(below)))
    return points


_READERS: Mapping[str, Callable[[Metric, str, _Refusals], Iterator[_Point]]] = {
    "gauge": _read_gauge,
    "sum": _read_sum,
    "histogram": _read_histogram,
}


def _named(metric: Metric) -> str:
    if not 0 < len(metric.name) <= MAX_TEXT or len(metric.unit) > MAX_TEXT:
        raise _RefusedPointError(f"name and unit must have 1 to {MAX_TEXT} characters")
    return metric.name


def _us(nanoseconds: int) -> int:
    if nanoseconds == 0:
        raise _RefusedPointError("the point has no `time_unix_nano`")
    return nanoseconds // 1_000


def _attributes(pairs: Iterable[KeyValue], instance: str) -> tuple[tuple[str, str], ...]:
    texts = _texts(pairs)
    if instance:
        texts.setdefault("service.instance.id", instance)
    if len(texts) > MAX_ATTRIBUTES:
        raise _RefusedPointError(f"{len(texts)} attributes, at most {MAX_ATTRIBUTES} are taken")
    for name, text in texts.items():
        if len(name) > MAX_TEXT or len(text) > MAX_TEXT:
            raise _RefusedPointError(f"the attribute `{name[:40]}` is longer than {MAX_TEXT} characters")
    return tuple(sorted(texts.items()))


def _texts(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "array_value":
            return ",".join(_text(item) for item in value.array_value.values)
        case "kvlist_value":
            return ",".join(f"{pair.key}={_text(pair.value)}" for pair in value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case None:
            return ""
        case number:
            return str(getattr(value, number))


def _batches(keyed: Mapping[_Key, list[_Point]], source: str) -> Iterator[TelemetryBatch]:
    """The series in batches within the bounds; one too long series is cut along time."""
    series: list[Series] = []
    samples = size = 0
    for key, points in keyed.items():
        ordered = sorted(points, key=lambda point: point.at_us)
        for start in range(0, len(ordered), MAX_SAMPLES):
            part = ordered[start : start + MAX_SAMPLES]
            grown = _estimated_bytes(key, len(part))
            if series and (samples + len(part) > MAX_SAMPLES or size + grown > MAX_BATCH_BYTES):
                yield TelemetryBatch(source=source, series=series)
                series, samples, size = [], 0, 0
            series.append(_series(key, part))
            samples, size = samples + len(part), size + grown
    if series:
        yield TelemetryBatch(source=source, series=series)


def _estimated_bytes(key: _Key, samples: int) -> int:
    texts = (key.metric, key.unit, *(text for pair in key.attributes for text in pair))
    return _SERIES_BYTES + sum(len(text.encode()) + 2 for text in texts) + _SAMPLE_BYTES * samples


def _series(key: _Key, points: list[_Point]) -> Series:
    return Series(
        metric=key.metric,
        kind=key.kind,
        unit=key.unit,
        attributes=dict(key.attributes),
        timestamps_us=[point.at_us for point in points],
        values=[point.value for point in points],
    )
