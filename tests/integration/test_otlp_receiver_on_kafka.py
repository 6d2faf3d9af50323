"""From the OpenTelemetry SDK over HTTP into a real Kafka: what was answered 200 stands in the telemetry topic."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from autopilot.infra.bridges.otlp import OtlpReceiver
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.partition import partition_of
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

REGISTRY = BundledRegistry()
PARTITIONS = 4

pytestmark = pytest.mark.kafka


@contextmanager
def receiving(publisher: Publisher) -> Iterator[str]:
    stop = threading.Event()
    receiver = OtlpReceiver(publisher=publisher, host="127.0.0.1", port=0)
    thread = threading.Thread(target=receiver.run, args=(stop,))
    thread.start()
    try:
        assert receiver.ready.wait(120)
        yield f"http://127.0.0.1:{receiver.port}/v1/metrics"
    finally:
        stop.set()
        thread.join(20)


@pytest.fixture
def url(cluster: dict[str, str]) -> Iterator[str]:
    publisher = Publisher(kafka=cluster, registry=REGISTRY, producer="otlp", partitions=PARTITIONS)
    with receiving(publisher) as address:
        yield address
    publisher.close()


def test_what_an_sdk_exports_stands_in_its_services_partition(url: str, cluster: dict[str, str]) -> None:
    services = ("cart", "checkout", "inventory")
    for service in services:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(url), 60_000)
        resource = Resource.create({"service.name": service, "service.instance.id": f"{service}-1"})
        provider = MeterProvider([reader], resource)
        provider.get_meter("test").create_counter("http.server.request.count").add(5)
        assert provider.force_flush()
        provider.shutdown()
    found = list(read(cluster, REGISTRY, str(Topic.TELEMETRY), types=(TelemetryBatch,)))
    assert {recorded.envelope.service for recorded in found} == set(services)
    for recorded in found:
        assert recorded.position.partition == partition_of(recorded.envelope.service, PARTITIONS)
        assert isinstance(recorded.payload, TelemetryBatch)
        (series,) = (one for one in recorded.payload.series if one.metric == "http.server.request.count")
        assert series.values[0] == 5.0


def test_many_clients_at_once_lose_nothing(url: str, cluster: dict[str, str]) -> None:
    def send(client: int) -> None:
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="service.name").value.string_value = f"service-{client}"
        metric = resource.scope_metrics.add().metrics.add(name="n")
        point = metric.gauge.data_points.add(as_int=0)
        with httpx.Client(headers={"Content-Type": "application/x-protobuf"}, timeout=30) as http:
            for number in range(20):
                point.time_unix_nano, point.as_int = 10**18 + number, number
                assert http.post(url, content=request.SerializeToString()).status_code == 200

    clients = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(120)
    seen: dict[str, list[float]] = {}
    for recorded in read(cluster, REGISTRY, str(Topic.TELEMETRY), types=(TelemetryBatch,)):
        if isinstance(recorded.payload, TelemetryBatch):
            seen.setdefault(recorded.envelope.service, []).extend(recorded.payload.series[0].values)
    assert seen == {f"service-{number}": [float(n) for n in range(20)] for number in range(8)}


def test_a_broken_request_writes_nothing(url: str, cluster: dict[str, str]) -> None:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "cart"
    resource.scope_metrics.add().metrics.add(name="n").gauge.data_points.add(time_unix_nano=10**18, as_int=1)
    good = request.SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    statuses = [
        httpx.post(url, content=body, headers=headers).status_code for body in (good, good[:-2], good + b"\x0a")
    ]
    assert statuses == [200, 400, 400]
    assert len(list(read(cluster, REGISTRY, str(Topic.TELEMETRY)))) == 1
