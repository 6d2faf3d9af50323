"""What becomes of OTLP metrics: names, kinds, units, times and bounds."""

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from autopilot.infra.bridges.otlp_metrics import MAX_SAMPLES, Translated, bound_text, translate
from autopilot.schemas.codec import MAX_RECORD_BYTES, Codec
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.telemetry import Series, SeriesKind
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.mint import Mint

AT_NS = 1_700_000_000_123_456_789
AT_US = 1_700_000_000_123_456
DELTA, CUMULATIVE = 1, 2


def pairs(**texts: str) -> list[dict[str, object]]:
    return [{"key": key.replace("_", "."), "value": {"stringValue": text}} for key, text in texts.items()]


def request(
    *metrics: dict[str, object], service: str = "cart", instance: str = "cart-1"
) -> ExportMetricsServiceRequest:
    names = {"service_name": service, "service_instance_id": instance, "service_version": "v1"}
    resource = {"attributes": pairs(**{name: text for name, text in names.items() if text})}
    content = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": list(metrics)}]}]}
    return json_format.ParseDict(content, ExportMetricsServiceRequest())


def counter(
    name: str = "n", *, value: float = 3, temporality: int = DELTA, monotonic: bool = True
) -> dict[str, object]:
    points = [{"timeUnixNano": str(AT_NS), "asDouble": value, "attributes": pairs(http_route="/cart")}]
    return {
        "name": name,
        "unit": "1",
        "sum": {"aggregationTemporality": temporality, "isMonotonic": monotonic, "dataPoints": points},
    }


def histogram(counts: list[int], bounds: list[float]) -> dict[str, object]:
    point = {
        "timeUnixNano": str(AT_NS),
        "count": str(sum(counts)),
        "sum": 420.5,
        "bucketCounts": [str(count) for count in counts],
        "explicitBounds": bounds,
    }
    data = {"aggregationTemporality": DELTA, "dataPoints": [point]}
    return {"name": "http.server.request.duration", "unit": "ms", "histogram": data}


def series_of(translated: Translated) -> list[Series]:
    return [series for _, batch in translated.batches for series in batch.series]


def test_a_sums_temporality_decides_its_kind() -> None:
    kinds = {
        (DELTA, True): SeriesKind.DELTA,
        (DELTA, False): SeriesKind.DELTA,
        (CUMULATIVE, True): SeriesKind.CUMULATIVE,
        (CUMULATIVE, False): SeriesKind.GAUGE,
    }
    for (temporality, monotonic), kind in kinds.items():
        (series,) = series_of(translate(request(counter(temporality=temporality, monotonic=monotonic)), "s"))
        assert (series.kind, series.values, series.timestamps_us) == (kind, [3.0], [AT_US])


def test_a_series_is_told_apart_by_instance_and_point_attributes_and_by_nothing_else_of_the_resource() -> None:
    translated = translate(request(counter()), "otlp:here")
    ((service, batch),) = translated.batches
    assert (service, batch.source) == ("cart", "otlp:here")
    assert batch.series[0].attributes == {"http.route": "/cart", "service.instance.id": "cart-1"}


def test_a_histogram_becomes_cumulative_buckets_a_count_and_a_sum() -> None:
    found = series_of(translate(request(histogram([5, 3, 2], [10.0, 250.0])), "s"))
    by_name = {(s.metric, s.attributes.get("le", "")): (s.values, s.unit) for s in found}
    name = "http.server.request.duration"
    assert by_name == {
        (f"{name}.bucket", "10"): ([5.0], "1"),
        (f"{name}.bucket", "250"): ([8.0], "1"),
        (f"{name}.bucket", "+Inf"): ([10.0], "1"),
        (f"{name}.count", ""): ([10.0], "1"),
        (f"{name}.sum", ""): ([420.5], "ms"),
    }
    assert {s.kind for s in found} == {SeriesKind.DELTA}


def test_an_integer_gauge_keeps_its_unit() -> None:
    point = {"timeUnixNano": str(AT_NS), "asInt": "1048576"}
    (series,) = series_of(
        translate(request({"name": "process.memory.usage", "unit": "By", "gauge": {"dataPoints": [point]}}), "s")
    )
    assert (series.kind, series.unit, series.values) == (SeriesKind.GAUGE, "By", [1048576.0])


def test_points_of_one_series_are_put_in_order_of_time() -> None:
    points = [{"timeUnixNano": str(AT_NS + step * 10**9), "asDouble": step} for step in (2, 0, 1)]
    (series,) = series_of(translate(request({"name": "g", "gauge": {"dataPoints": points}}), "s"))
    assert series.values == [0.0, 1.0, 2.0]
    assert series.timestamps_us == [AT_US, AT_US + 1_000_000, AT_US + 2_000_000]


def test_a_resource_without_a_service_name_is_refused_and_the_others_are_taken() -> None:
    both = request(counter(), counter("m"), service="")
    both.MergeFrom(request(counter()))
    translated = translate(both, "s")
    assert [service for service, _ in translated.batches] == ["cart"]
    assert translated.rejected == 2
    assert "service.name" in translated.reasons[0]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (counter(temporality=0), "temporality"),
        (histogram([1, 2], [10.0, 20.0]), "2 buckets for 2 bounds"),
        ({"name": "s", "summary": {"dataPoints": [{"timeUnixNano": "1"}]}}, "summary is not supported"),
        ({"name": "g", "gauge": {"dataPoints": [{"asDouble": 1.0}]}}, "time_unix_nano"),
        ({"name": "x" * 2000, "gauge": {"dataPoints": [{"timeUnixNano": "1", "asDouble": 1.0}]}}, "characters"),
    ],
)
def test_what_cannot_be_taken_is_counted_and_explained(metric: dict[str, object], reason: str) -> None:
    translated = translate(request(metric, counter("good")), "s")
    assert [series.metric for series in series_of(translated)] == ["good"]
    assert translated.rejected == 1
    assert reason in translated.reasons[0]


def test_a_point_without_a_recorded_value_is_left_out_silently() -> None:
    point = {"timeUnixNano": str(AT_NS), "flags": 1}
    translated = translate(request({"name": "g", "gauge": {"dataPoints": [point]}}), "s")
    assert (translated.batches, translated.rejected) == ([], 0)


def test_batches_stay_within_the_bound_on_samples_and_lose_none() -> None:
    points = [{"timeUnixNano": str(AT_NS + step * 1000), "asDouble": step} for step in range(MAX_SAMPLES + 7)]
    translated = translate(request({"name": "g", "gauge": {"dataPoints": points}}, counter()), "s")
    sizes = [sum(len(series.values) for series in batch.series) for _, batch in translated.batches]
    assert sizes == [MAX_SAMPLES, 8]
    assert [value for s in series_of(translated) if s.metric == "g" for value in s.values] == list(
        range(MAX_SAMPLES + 7)
    )


def test_batches_stay_within_the_size_of_one_record() -> None:
    point = {"timeUnixNano": str(AT_NS), "asDouble": 1.0}
    wide = [{**point, "attributes": pairs(who="é" * 900 + str(index))} for index in range(2_000)]
    translated = translate(request({"name": "g", "gauge": {"dataPoints": wide}}), "s")
    mint = Mint(Codec(BundledRegistry()), "otlp", 1)
    for service, batch in translated.batches:
        assert len(mint.from_outside(Draft(batch, "", service), 1, {}).value) < MAX_RECORD_BYTES
    assert len(series_of(translated)) == 2_000


def test_bounds_are_written_as_people_write_them() -> None:
    assert [bound_text(bound) for bound in (250.0, 0.5, float("inf"), 1e6)] == ["250", "0.5", "+Inf", "1000000"]
