"""Telemetry quality: four scores, reported when they cross a level."""

from typing import Any

from hypothesis import given as for_all
from hypothesis import strategies as st
from observer.watched import batch, documents, payloads, seconds_of, series, traffic, watching
from scenario import Scenario

from autopilot.agents.observer.quality import LEVELS, RISE_BP, assess, freshness_bp, level_after
from autopilot.schemas.configuration import TelemetryContract
from autopilot.schemas.events.observer import Quality, TelemetryQualityChanged


def changes(said: Any) -> list[TelemetryQualityChanged]:
    return payloads(said, TelemetryQualityChanged)


def last_quality(scenario: Scenario) -> Quality:
    quality: Quality = scenario.state.services["cart"].memory.reported
    return quality


def test_good_telemetry_is_reported_once() -> None:
    (change,) = changes(seconds_of(watching(), 1, 60))
    assert change.quality == Quality(freshness_bp=10_000, completeness_bp=10_000, validity_bp=10_000, order_bp=10_000)
    assert (change.previous.worst_bp, change.worst_series) == (0, "")


def test_silence_lowers_freshness_level_by_level_and_says_which_metric() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 20)
    said = [out for _ in range(5) for out in scenario.after(seconds=1).outputs]
    scores = [change.quality.freshness_bp for change in changes(said)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == 0
    assert {change.worst_series for change in changes(said)} == {"requests"}
    assert "freshness fell" in changes(said)[0].reason
    assert changes(said)[1].previous == changes(said)[0].quality


def test_every_other_sample_halves_completeness() -> None:
    contract = TelemetryContract(interval_ms=500, required_metrics=["requests"], stale_after_ms=20_000)
    scenario = watching(documents(contract=contract))
    seconds_of(scenario, 1, 40)
    quality = assess(scenario.state.services["cart"], scenario.now_us).quality
    assert 5_000 <= quality.completeness_bp <= 5_500
    assert last_quality(scenario).completeness_bp < 7_000


def test_a_required_metric_that_never_came_is_not_complete() -> None:
    contract = TelemetryContract(interval_ms=1_000, required_metrics=["requests", "memory"])
    (change,) = changes(seconds_of(watching(documents(contract=contract)), 1, 9))
    assert (change.quality.freshness_bp, change.quality.completeness_bp) == (0, 0)
    assert change.worst_series == "memory"


def test_only_required_metrics_count() -> None:
    scenario = watching()
    scenario.when(batch(series("other", [-1.0, -1.0], 0.1, 0.2)))
    said = seconds_of(scenario, 1, 30)
    assert changes(said)[-1].quality.worst_bp == 10_000


def test_every_metric_counts_when_none_is_required() -> None:
    scenario = watching(documents(contract=TelemetryContract(interval_ms=1_000, stale_after_ms=4_000)))
    scenario.when(batch(series("other", [1.0], 0.5)))
    assert changes(seconds_of(scenario, 1, 30))[-1].worst_series == "other"


def test_the_worst_series_is_named_with_its_attributes() -> None:
    scenario = watching()
    bad = series("requests", [1.0, -1.0], 0.4, 0.5, instance="b")
    scenario.when(traffic(0.5), batch(bad))
    scenario.after(seconds=1)
    change = scenario.only(TelemetryQualityChanged)
    assert (change.quality.validity_bp, change.worst_series) == (5_000, "requests{instance=b}")


def test_a_replaced_instance_is_expected_no_longer_once_it_is_stale() -> None:
    scenario = watching()
    for second in range(1, 60):
        instance = "old" if second < 20 else "new"
        scenario.when(batch(series("requests", [10.0], second, instance=instance)))
        scenario.after(seconds=1)
        if second == 22:
            assert last_quality(scenario).freshness_bp == 10_000
    assert last_quality(scenario).worst_bp == 10_000


def test_old_faults_are_forgotten() -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [-1.0, 1.0], 0.4, 0.5)))
    said = seconds_of(scenario, 1, 40)
    assert changes(said)[0].quality.validity_bp < 9_000
    assert changes(said)[-1].quality.validity_bp >= 9_500
    assert assess(scenario.state.services["cart"], scenario.now_us).quality.validity_bp == 10_000


def test_freshness_falls_in_proportion_once_a_sample_is_overdue() -> None:
    contract = TelemetryContract(interval_ms=10_000, stale_after_ms=60_000)
    assert [freshness_bp(age_s * 1_000_000, contract) for age_s in (-1, 0, 15, 24, 60, 90)] == [
        10_000, 10_000, 10_000, 8_000, 0, 0,
    ]  # fmt: skip


@for_all(st.integers(0, 3), st.integers(0, 10_000))
def test_a_level_does_not_flap(level: int, score_bp: int) -> None:
    after = level_after(level, score_bp)
    assert level_after(after, score_bp) == after
    if after > level:
        assert score_bp >= LEVELS[after - 1] + RISE_BP
    if after < level:
        assert score_bp < LEVELS[after]
