"""What the processes say of themselves: traces and metrics by OTLP/HTTP, metrics on a Prometheus page.

Both are off until a setting asks for them; the instruments in `autopilot.streams.observability` then cost next to
nothing.
"""

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import start_http_server

from autopilot.infra.platform.ports import HOST
from autopilot.streams.observability import DerivedIds

EXPORT_INTERVAL_MS = 10_000


def export_telemetry(process: str, instance: str, *, endpoint: str = "", prometheus_port: int = 0) -> None:
    """Sends this process's traces and metrics to the OTLP address, and serves its metrics on the port.

    An empty address and a port of 0 turn the respective one off. To be called once, before any work.
    """
    resource = Resource.create({"service.name": f"autopilot-{process}", "service.instance.id": instance})
    readers: list[MetricReader] = []
    if endpoint:
        base = endpoint.rstrip("/")
        tracers = TracerProvider(resource=resource, id_generator=DerivedIds())
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces")))
        trace.set_tracer_provider(tracers)
        exporter = OTLPMetricExporter(f"{base}/v1/metrics")
        readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_INTERVAL_MS))
    if prometheus_port:
        start_http_server(prometheus_port, addr=HOST)
        readers.append(PrometheusMetricReader())
    if readers:
        metrics.set_meter_provider(MeterProvider(metric_readers=readers, resource=resource))
