"""Measurements on request, and summaries."""

from typing import Any

import pytest
from observer.watched import (
    ERRORS,
    FAST,
    SECOND_US,
    batch,
    documents,
    objective,
    payloads,
    seconds_of,
    series,
    traffic,
    watching,
)
from scenario import START_US, Said, Scenario

from autopilot.agents.observer.measurement import MAX_OPEN_REQUESTS
from autopilot.schemas.configuration import TelemetryContract
from autopilot.schemas.events.observer import BaselineSummarised, MeasurementTaken, SliKind
from autopilot.schemas.events.telemetry import MeasurementRequested, SeriesKind


def request(from_s: float, until_s: float, **more: Any) -> MeasurementRequested:
    content: dict[str, Any] = {"measurement_id": "m", "purpose": "before", "slo_names": [], "guard_metrics": []}
    content.update({"bucket_ms": 1_000, **more})
    from_us, until_us = START_US + round(from_s * SECOND_US), START_US + round(until_s * SECOND_US)
    return MeasurementRequested(from_us=from_us, until_us=until_us, **content)


def busy(seconds: int = 20) -> Scenario:
    scenario = watching()
    for second in range(1, seconds + 1):
        scenario.when(traffic(second, errors=float(second)))
        levels = [series("memory", [v], second, kind=SeriesKind.GAUGE, unit="By", instance=i) for i, v in
                  (("a", 10.0), ("b", 20.0))]  # fmt: skip
        scenario.when(batch(*levels))
        scenario.after(seconds=1)
    return scenario


def test_a_past_window_is_answered_at_once_under_the_requests_incident() -> None:
    scenario = busy().when(Said(request(5, 10), correlation_id="inc-1"))
    taken = scenario.only(MeasurementTaken)
    (samples,) = taken.samples
    assert (samples.name, samples.unit) == ("slo:few-errors", "1")
    assert samples.bucket_starts_us == [START_US + second * SECOND_US for second in range(5, 10)]
    assert samples.values == [0.05, 0.06, 0.07, 0.08, 0.09]
    assert samples.weights == [100.0] * 5
    assert (taken.measurement_id, taken.purpose, taken.missing) == ("m", "before", [])
    (draft,) = scenario.drafts()
    assert (draft.domain, draft.service, draft.correlation_id) == ("shop", "cart", "inc-1")
    (evidence,) = taken.evidence
    assert evidence.first_offset < evidence.last_offset < scenario.offset - 20


def test_a_future_window_is_answered_when_it_has_passed() -> None:
    scenario = busy(10).when(Said(request(12, 15), correlation_id="inc-1")).then_nothing()
    answers = payloads(seconds_of(scenario, 11, 14), MeasurementTaken)
    assert answers == []
    (taken,) = payloads(seconds_of(scenario, 15, 30), MeasurementTaken)
    assert taken.samples[0].values == [0.0, 0.0, 0.0]


def test_a_level_is_a_mean_and_a_count_is_a_sum() -> None:
    taken = busy().when(request(4, 12, slo_names=["few-errors"], guard_metrics=["memory", "requests"])).only(
        MeasurementTaken
    )  # fmt: skip
    slo, memory, requests = taken.samples
    assert slo.name == "slo:few-errors"
    assert (memory.name, memory.unit, memory.values, memory.weights) == ("metric:memory", "By", [15.0] * 8, [2.0] * 8)
    assert (requests.values, requests.weights) == ([100.0] * 8, [1.0] * 8)


def test_wider_buckets_aggregate() -> None:
    taken = busy().when(request(4, 12, bucket_ms=4_000)).only(MeasurementTaken)
    (samples,) = taken.samples
    assert samples.values == [(4 + 5 + 6 + 7) / 400, (8 + 9 + 10 + 11) / 400]
    assert samples.weights == [400.0, 400.0]


def test_what_is_not_known_is_missing_and_buckets_without_data_are_left_out() -> None:
    scenario = busy(10)
    scenario.after(seconds=10)
    scenario.when(request(8, 18, slo_names=["few-errors", "other"], guard_metrics=["cpu"]))
    taken = scenario.only(MeasurementTaken)
    assert taken.missing == ["slo:other", "metric:cpu"]
    assert [len(samples.values) for samples in taken.samples] == [3]
    scenario.when(request(15, 18)).only(MeasurementTaken)
    assert scenario.only(MeasurementTaken).samples[0].values == []
    assert scenario.only(MeasurementTaken).evidence == []


def test_samples_are_bounded_to_the_newest() -> None:
    taken = busy().when(request(4, 12, max_samples=2)).only(MeasurementTaken)
    assert [(at - START_US) // SECOND_US for at in taken.samples[0].bucket_starts_us] == [10, 11]


def test_a_repeated_open_request_is_answered_once_and_there_is_a_bound_on_open_ones() -> None:
    scenario = busy(2)
    scenario.when(request(5, 9), request(5, 9)).then_nothing()
    for number in range(MAX_OPEN_REQUESTS - 1):
        scenario.when(request(5, 90, measurement_id=f"n{number}")).then_nothing()
    scenario.when(request(5, 90, measurement_id="one too many")).then_rejected("measurement_id")
    assert len(payloads(seconds_of(scenario, 3, 12), MeasurementTaken)) == 1


@pytest.mark.parametrize(("indicator", "good"), [(ERRORS, 2_970.0), (FAST, 2_940.0)])
def test_every_five_minutes_each_service_is_summarised(indicator: Any, good: float) -> None:
    slow = TelemetryContract(interval_ms=10_000)
    scenario = watching(documents([objective("slo", indicator, SliKind.ERRORS, [])], slow))
    summaries: list[BaselineSummarised] = []
    for second in range(10, 910, 10):
        fast = series("bucket", [98.0], second, le="250")
        said = [*scenario.when(traffic(second, errors=1.0), batch(fast)).outputs, *scenario.after(seconds=10).outputs]
        summaries += payloads(said, BaselineSummarised)
    first, second_one = summaries[0], summaries[1]
    assert second_one.from_us == first.until_us
    assert second_one.until_us - second_one.from_us == 300 * SECOND_US
    (summary,) = second_one.indicators
    assert (summary.slo, summary.good, summary.total) == ("slo", good, 3_000.0)
