"""The OpenTelemetry SDK as any service would set it up: one meter provider, exported over OTLP/HTTP once a second."""

from collections.abc import Callable
from typing import Any

import psutil
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

EXPORT_INTERVAL_MS = 1_000
EXPORT_TIMEOUT_S = 5
BUCKETS_MS = [10, 25, 50, 100, 250, 500, 1000]
_DELTA = AggregationTemporality.DELTA


class SilenceableExporter(OTLPMetricExporter):
    """The SDK's exporter, save that it sends nothing while `silenced()`; the service goes on."""

    def __init__(self, endpoint: str, silenced: Callable[[], bool]) -> None:
        temporality: dict[type, AggregationTemporality] = {
            Counter: _DELTA,
            ObservableCounter: _DELTA,
            Histogram: _DELTA,
        }
        super().__init__(endpoint, timeout=EXPORT_TIMEOUT_S, preferred_temporality=temporality)
        self._silenced = silenced

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Sends, or drops while silenced."""
        if self._silenced():
            return MetricExportResult.SUCCESS
        return super().export(metrics_data, timeout_millis, **kwargs)


class ServiceMetrics:
    """What one instance measures. Counts are observed, so that an idle second still reports a zero."""

    def __init__(self, *, service: str, instance: str, endpoint: str, silenced: Callable[[], bool]) -> None:
        reader = PeriodicExportingMetricReader(SilenceableExporter(endpoint, silenced), EXPORT_INTERVAL_MS)
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self._provider = MeterProvider([reader], resource)
        self.requests = 0
        self.errors = 0
        self.active = 0
        process = psutil.Process()
        meter = self._provider.get_meter("shop")
        meter.create_observable_counter("http.server.request.count", [_observing(lambda: self.requests)])
        meter.create_observable_counter("http.server.error.count", [_observing(lambda: self.errors)])
        meter.create_observable_gauge("http.server.active_requests", [_observing(lambda: self.active)])
        meter.create_observable_gauge("process.memory.usage", [_observing(lambda: process.memory_info().rss)], "By")
        self._duration = meter.create_histogram(
            "http.server.request.duration", "ms", explicit_bucket_boundaries_advisory=BUCKETS_MS
        )

    def finished(self, status: int, took_ms: float) -> None:
        """Counts a request that was answered."""
        self.requests += 1
        self.errors += status >= 500
        self._duration.record(took_ms)

    def shutdown(self) -> None:
        """Sends what was measured last."""
        self._provider.shutdown()


def _observing(read: Callable[[], int]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda _options: [Observation(read())]
