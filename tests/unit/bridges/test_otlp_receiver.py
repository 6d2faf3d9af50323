"""The receiver over real HTTP, with a publisher that stands in for Kafka."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from autopilot.infra.bridges.otlp import OtlpReceiver
from autopilot.schemas.envelope import Draft
from autopilot.schemas.errors import InvalidError
from autopilot.schemas.events.telemetry import SeriesKind, TelemetryBatch

PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Written:
    """Keeps what was flushed. `broken` makes flushing fail; `gate` holds it up until it is set."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.flushes = 0
        self.broken = False
        self.refuses = ""
        self.gate = threading.Event()
        self.gate.set()
        self.held = threading.Event()
        self._pending: list[Draft] = []

    def publish(self, draft: Draft, partition: int | None = None) -> None:
        if draft.service == self.refuses:
            raise InvalidError("service", draft.service, "another one")
        self._pending.append(draft)

    def flush(self) -> None:
        self.held.set()
        assert self.gate.wait(120)
        pending, self._pending = self._pending, []
        if self.broken:
            raise TimeoutError("no broker answers")
        self.flushes += 1
        self.drafts += pending

    def batches(self) -> list[TelemetryBatch]:
        return [draft.payload for draft in self.drafts if isinstance(draft.payload, TelemetryBatch)]


@contextmanager
def serving(publisher: Written, max_waiting: int = 64) -> Iterator[str]:
    stop = threading.Event()
    receiver = OtlpReceiver(publisher=publisher, host="127.0.0.1", port=0, max_waiting=max_waiting)
    thread = threading.Thread(target=receiver.run, args=(stop,))
    thread.start()
    try:
        assert receiver.ready.wait(120)
        yield f"http://127.0.0.1:{receiver.port}"
    finally:
        publisher.gate.set()
        stop.set()
        thread.join(120)
        assert not thread.is_alive()


@pytest.fixture
def publisher() -> Written:
    return Written()


@pytest.fixture
def url(publisher: Written) -> Iterator[str]:
    with serving(publisher) as address:
        yield address


def body(service: str = "cart") -> bytes:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    if service:
        resource.resource.attributes.add(key="service.name").value.string_value = service
    metric = resource.scope_metrics.add().metrics.add(name="queue.length", unit="1")
    metric.gauge.data_points.add(time_unix_nano=10**18, as_double=4.0)
    return request.SerializeToString()


def post(url: str, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(f"{url}/v1/metrics", content=content, headers=headers or PROTOBUF, timeout=120)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_opentelemetry_sdk_is_understood(url: str, publisher: Written, compression: Compression) -> None:
    delta: dict[type, AggregationTemporality] = {
        Counter: AggregationTemporality.DELTA,
        Histogram: AggregationTemporality.DELTA,
    }
    exporter = OTLPMetricExporter(f"{url}/v1/metrics", compression=compression, preferred_temporality=delta)
    resource = Resource.create({"service.name": "cart", "service.instance.id": "cart-1"})
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 60_000)], resource)
    meter = provider.get_meter("test")
    meter.create_counter("http.server.request.count").add(7, {"http.route": "/cart"})
    duration = meter.create_histogram(
        "http.server.request.duration", "ms", explicit_bucket_boundaries_advisory=[10, 250]
    )
    duration.record(3)
    duration.record(20)
    meter.create_up_down_counter("http.server.active_requests").add(2)
    assert provider.force_flush()
    provider.shutdown()
    series = {(s.metric, s.attributes.get("le", "")): s for batch in publisher.batches() for s in batch.series}
    assert {draft.service for draft in publisher.drafts} == {"cart"}
    assert series["http.server.request.count", ""].values == [7.0]
    assert series["http.server.request.count", ""].kind == SeriesKind.DELTA
    buckets = [series["http.server.request.duration.bucket", le].values for le in ("10", "250", "+Inf")]
    assert buckets == [[1.0], [2.0], [2.0]]
    assert series["http.server.active_requests", ""].kind == SeriesKind.GAUGE
    assert all(s.attributes["service.instance.id"] == "cart-1" for s in series.values())


def test_the_json_encoding_is_understood_and_answered_in_json(url: str, publisher: Written) -> None:
    point = '{"timeUnixNano":"1000000000000000000","asDouble":4.0}'
    metric = f'{{"name":"queue.length","gauge":{{"dataPoints":[{point}]}}}}'
    name = '{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]}'
    text = f'{{"resourceMetrics":[{{"resource":{name},"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}'
    answer = post(url, text.encode(), {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert publisher.batches()[0].series[0].values == [4.0]


def test_a_gzip_body_is_inflated(url: str, publisher: Written) -> None:
    answer = post(url, gzip.compress(body()), {**PROTOBUF, "Content-Encoding": "gzip"})
    assert answer.status_code == 200
    assert len(publisher.drafts) == 1


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\x0a\xff\xff\xff", PROTOBUF, 400),
        (body()[:-3], PROTOBUF, 400),
        (b"{not json", {"Content-Type": "application/json"}, 400),
        (b"\xff\xfe", {"Content-Type": "application/json"}, 400),
        (b"not gzip at all", {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
        (body(), {"Content-Type": "text/plain"}, 415),
        (gzip.compress(b"\x00" * 20_000_000), {**PROTOBUF, "Content-Encoding": "gzip"}, 413),
    ],
)
def test_what_is_no_request_is_refused_and_nothing_is_written(
    url: str, publisher: Written, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = post(url, content, headers)
    assert answer.status_code == status, answer.text
    assert (publisher.drafts, publisher.flushes) == ([], 0)


def test_a_refusal_says_why(url: str) -> None:
    status = Status.FromString(post(url, b"\x0a\xff\xff\xff").content)
    assert "ExportMetricsServiceRequest" in status.message


def test_a_missing_service_name_is_a_partial_success(url: str, publisher: Written) -> None:
    answer = post(url, body(service=""))
    response = ExportMetricsServiceResponse.FromString(answer.content)
    assert (answer.status_code, response.partial_success.rejected_data_points) == (200, 1)
    assert "service.name" in response.partial_success.error_message
    assert publisher.drafts == []


def test_without_an_acknowledgement_the_client_is_told_to_come_again(url: str, publisher: Written) -> None:
    publisher.broken = True
    answer = post(url, body())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "no broker answers" in Status.FromString(answer.content).message
    publisher.broken = False
    assert post(url, body()).status_code == 200
    assert len(publisher.drafts) == 1


def test_a_draft_that_breaks_its_contract_fails_its_own_request_only(url: str, publisher: Written) -> None:
    publisher.refuses = "bad"
    assert post(url, body("bad")).status_code == 400
    assert post(url, body("good")).status_code == 200


def test_when_too_many_wait_the_next_is_turned_away_and_the_waiting_are_written_together(publisher: Written) -> None:
    with serving(publisher, max_waiting=2) as url:
        publisher.gate.clear()
        statuses: list[int] = []
        clients = [threading.Thread(target=lambda: statuses.append(post(url, body()).status_code)) for _ in range(6)]
        clients[0].start()
        assert publisher.held.wait(120)
        for client in clients[1:]:
            client.start()
        until = time.monotonic() + 120
        while len(statuses) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert statuses == [503, 503, 503], "those for whom there is no room are not kept waiting"
        publisher.gate.set()
        for client in clients:
            client.join(120)
    assert sorted(statuses) == [200, 200, 200, 503, 503, 503]
    assert (len(publisher.drafts), publisher.flushes) == (3, 2)
