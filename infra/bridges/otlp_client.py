"""Samples of several services as one OTLP/HTTP request, for bridges whose source is no OpenTelemetry SDK."""

import time
import urllib.request
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.error import URLError

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

TIMEOUT_S = 5.0


class Sample(NamedTuple):
    """A value of one series now; a `delta` counts what has happened since the series' last sample."""

    metric: str
    attributes: Mapping[str, str]
    value: float
    unit: str = "1"
    delta: bool = False


def export_request(samples: Mapping[str, Iterable[Sample]], at_ns: int) -> ExportMetricsServiceRequest:
    """The samples of each service, all of them at one time."""
    resources = [
        ResourceMetrics(
            resource=Resource(attributes=_pairs({"service.name": service})),
            scope_metrics=[ScopeMetrics(metrics=[_metric(one, at_ns) for one in of_service])],
        )
        for service, of_service in samples.items()
    ]
    return ExportMetricsServiceRequest(resource_metrics=resources)


def send(endpoint: str, samples: Mapping[str, Iterable[Sample]]) -> bool:
    """Sends the samples as of now to an address such as `http://127.0.0.1:4318/v1/metrics`; whether they were taken."""
    body = export_request(samples, time.time_ns()).SerializeToString()
    request = urllib.request.Request(endpoint, body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            answer.read()
    except (URLError, OSError):
        return False
    return True


def _metric(sample: Sample, at_ns: int) -> Metric:
    point = NumberDataPoint(attributes=_pairs(sample.attributes), time_unix_nano=at_ns, as_double=sample.value)
    if not sample.delta:
        return Metric(name=sample.metric, unit=sample.unit, gauge=Gauge(data_points=[point]))
    total = Sum(
        data_points=[point],
        aggregation_temporality=AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
        is_monotonic=True,
    )
    return Metric(name=sample.metric, unit=sample.unit, sum=total)


def _pairs(texts: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=name, value=AnyValue(string_value=text)) for name, text in sorted(texts.items())]
