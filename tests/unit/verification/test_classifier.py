"""Classes beyond Kayenta's own cases: missing data, strategies, directions, thresholds, refusals."""

import math

import pytest

from autopilot.agents.verification import (
    Direction,
    EffectMeasure,
    EffectSize,
    Label,
    NanStrategy,
    classify,
    classify_by_mean,
)

NAN, INF = math.nan, math.inf
LOW = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
HIGH = [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]


@pytest.mark.parametrize(
    ("strategy", "must_have_data", "expected"),
    [
        (NanStrategy.REMOVE, False, Label.NODATA),
        (NanStrategy.REMOVE, True, Label.NODATA_FAIL_METRIC),
        (NanStrategy.REPLACE, False, Label.PASS),
        (NanStrategy.REPLACE, True, Label.PASS),
    ],
)
def test_no_samples_at_all(strategy: NanStrategy, must_have_data: bool, expected: Label) -> None:
    found = classify(LOW, [], nan_strategy=strategy, must_have_data=must_have_data)
    assert found.classification is expected
    assert found.reason.startswith("no samples of the experiment")


def test_samples_that_are_no_numbers_are_left_out_or_zeros() -> None:
    assert classify([NAN, NAN], LOW).classification is Label.NODATA
    zeros = classify([NAN] * 6, LOW, nan_strategy=NanStrategy.REPLACE)
    assert (zeros.classification, zeros.samples) == (Label.HIGH, (6, 6))
    assert math.isnan(zeros.deviation)
    assert classify([NAN], [NAN], nan_strategy=NanStrategy.REPLACE).reason == "the samples are the same"


@pytest.mark.parametrize("strategy", NanStrategy)
def test_an_infinite_sample_is_no_measurement(strategy: NanStrategy) -> None:
    assert classify(LOW, [INF, *HIGH, -INF], nan_strategy=strategy).samples == (6, 6)


@pytest.mark.parametrize(
    ("direction", "up", "down"),
    [
        (Direction.INCREASE, Label.HIGH, Label.PASS),
        (Direction.DECREASE, Label.PASS, Label.LOW),
        (Direction.EITHER, Label.HIGH, Label.LOW),
    ],
)
def test_only_the_direction_that_was_asked_for_counts(direction: Direction, up: Label, down: Label) -> None:
    assert classify(LOW, HIGH, direction=direction).classification is up
    assert classify(HIGH, LOW, direction=direction).classification is down
    assert classify_by_mean(LOW, HIGH, direction=direction).classification is up
    assert classify_by_mean(HIGH, LOW, direction=direction).classification is down


def test_a_significant_difference_below_the_allowed_effect_passes() -> None:
    for allowed, expected in ((1.7, Label.HIGH), (1.9, Label.PASS)):
        size = EffectSize(allowed_increase=allowed)
        assert classify(LOW, HIGH, effect_size=size).classification is expected


def test_how_often_one_exceeds_the_other() -> None:
    size = EffectSize(measure=EffectMeasure.CLES)
    assert classify(LOW, HIGH, effect_size=size).deviation == 1.0
    assert classify(HIGH, LOW, effect_size=size).deviation == 0.0
    assert classify([1, 2], [2, 3], effect_size=size).deviation == 0.875


def test_what_is_critical_needs_its_own_effect() -> None:
    size = EffectSize(critical_increase=1.9)
    assert not classify(LOW, HIGH, critical=True, effect_size=size).critical
    assert classify(LOW, HIGH, critical=True).critical
    assert not classify(LOW, HIGH).critical
    assert not classify(HIGH, LOW, critical=True, direction=Direction.INCREASE).critical


def test_a_band_as_wide_as_the_shift_lets_everything_pass() -> None:
    assert classify(LOW, HIGH, tolerance=1.0).classification is Label.PASS


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tolerance": -0.1}, "tolerance is -0.1, expected 0 or more"),
        ({"tolerance": NAN}, "tolerance is nan, expected 0 or more"),
        ({"confidence": 1.0}, r"confidence is 1.0, expected above 0"),
        ({"confidence": 0.0}, r"confidence is 0.0, expected above 0"),
        ({"direction": "up"}, "'up' is not a valid Direction"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classify(LOW, HIGH, **asked)
    with pytest.raises(ValueError, match="at most 25000000 pairs"):
        classify([float(n) for n in range(5_001)], [float(n) for n in range(1, 5_001)])
