"""Laws of the comparison of samples, and the errors of the sequential test over many seeded runs."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.agents.verification import Decision, Direction, Label, SequentialTest, classify, ranks
from autopilot.agents.verification.shares import Block, ShareTest
from bench.verification import ERROR, HARM, fixed_sizes, simulate, simulate_shares

samples = st.lists(st.integers(-1_000, 1_000).map(float), min_size=1, max_size=20)
MIRRORED = {Label.HIGH: Label.LOW, Label.LOW: Label.HIGH, Label.PASS: Label.PASS}


@given(samples, samples)
def test_the_other_way_round_is_the_other_class(control: list[float], experiment: list[float]) -> None:
    one, other = classify(control, experiment), classify([-v for v in control], [-v for v in experiment])
    without_effects = one.shift is None or one.deviation == 1.0 or math.isnan(one.deviation)
    if without_effects or (min(control) > 0 and min(experiment) > 0):
        swapped = classify(experiment, control)
        assert swapped.classification is MIRRORED[one.classification]
    if one.shift is not None and other.shift is not None:
        assert (one.shift.low, one.shift.high) == (-other.shift.high, -other.shift.low)


@given(samples, samples, st.randoms(use_true_random=False))
def test_order_does_not_matter(control: list[float], experiment: list[float], chance: random.Random) -> None:
    mixed = chance.sample(control, len(control)), chance.sample(experiment, len(experiment))
    assert str(classify(*mixed)) == str(classify(control, experiment))


@given(samples, samples, st.integers(-500, 500))
def test_a_shift_shifts_the_interval(control: list[float], experiment: list[float], by: int) -> None:
    found, moved = ranks.shift(control, experiment, 1.96), ranks.shift(control, [v + by for v in experiment], 1.96)
    assert (moved.low, moved.estimate, moved.high) == (found.low + by, found.estimate + by, found.high + by)
    assert found.low <= found.estimate <= found.high
    assert ranks.estimated_shift(control, experiment) == found.estimate


@given(samples, samples, st.floats(0.5, 0.9), st.floats(0.9, 0.999))
def test_more_confidence_never_makes_a_difference(
    control: list[float], experiment: list[float], less: float, more: float
) -> None:
    if classify(control, experiment, confidence=less).classification is Label.PASS:
        assert classify(control, experiment, confidence=more).classification is Label.PASS


@given(samples, samples)
def test_exceeding_and_being_exceeded_are_all_there_is(control: list[float], experiment: list[float]) -> None:
    both = ranks.exceedance(control, experiment) + ranks.exceedance(experiment, control)
    assert math.isclose(both, 1.0)
    higher = sum((e > c) + (e == c) / 2 for e in experiment for c in control)
    assert math.isclose(ranks.exceedance(control, experiment), higher / (len(control) * len(experiment)))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), max_size=60))
def test_a_decision_stands_whatever_comes_after_it(pairs: list[tuple[int, int]]) -> None:
    test = SequentialTest()
    whole = test.decide(pairs)
    assert test.decide(pairs[: whole.pairs]).decision is whole.decision
    swapped = test.decide([(experiment, control) for control, experiment in pairs])
    mirrored = {Decision.HIGHER: Decision.LOWER, Decision.LOWER: Decision.HIGHER}
    assert (swapped.decision, swapped.pairs) == (mirrored.get(whole.decision, whole.decision), whole.pairs)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1_000), min_size=1, max_size=9))
def test_whatever_the_sizes_the_alarms_over_all_signs_are_within_the_error(sizes: list[float]) -> None:
    test = SequentialTest(error=0.2, futility=0.0)
    alarms = 0
    for signs in range(2 ** len(sizes)):
        pairs = [(0.0, size if signs >> bit & 1 else -size) for bit, size in enumerate(sizes)]
        alarms += test.decide(pairs, Direction.INCREASE).decision is Decision.HIGHER
    assert alarms / 2 ** len(sizes) <= test.error


def test_false_alarms_over_ten_thousand_runs_are_within_the_error() -> None:
    assert simulate(0.0, 10_000).alarms <= ERROR


@pytest.mark.parametrize(
    "sample",
    [
        lambda chance: chance.choice((0.0, 0.0, 0.0, 1.0, 50.0)),
        lambda chance: chance.paretovariate(1.1),
        lambda chance: float(chance.randint(0, 2)),
    ],
    ids=["mostly zero", "heavy tails", "ties"],
)
def test_false_alarms_do_not_depend_on_the_distribution(sample: Callable[[random.Random], float]) -> None:
    chance, test = random.Random(3), SequentialTest(0.05)
    runs = [test.decide((sample(chance), sample(chance)) for _ in range(150)) for _ in range(1_500)]
    higher = sum(run.decision is Decision.HIGHER for run in runs) / len(runs)
    lower = sum(run.decision is Decision.LOWER for run in runs) / len(runs)
    assert max(higher, lower) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(runs))


def test_half_a_deviation_is_found_with_fewer_samples_than_a_test_of_fixed_size() -> None:
    found = simulate(0.5, 10_000)
    by_rank, _ = fixed_sizes()
    assert by_rank == 54
    assert found.alarms >= 0.8
    assert found.median / by_rank <= 0.6


@pytest.mark.parametrize(("share", "runs"), [(0.002, 10_000), (0.0, 1_000), (0.02, 2_000), (0.4, 1_000)])
def test_a_canary_like_its_control_is_found_worse_in_at_most_the_errors_share_of_runs(share: float, runs: int) -> None:
    assert simulate_shares(share, share, runs=runs).higher <= ERROR


@pytest.mark.parametrize(("control", "canary"), [(0.0, HARM), (0.0, 2 * HARM), (0.01, 0.025), (0.3, 0.34)])
def test_a_canary_that_is_worse_by_what_matters_is_seldom_found_no_worse(control: float, canary: float) -> None:
    assert simulate_shares(control, canary, runs=1_000).no_difference <= ShareTest.miss + 0.02


blocks = st.builds(
    lambda control, good, canary, fine: Block(control, control + good, canary, canary + fine),
    st.integers(0, 40),
    st.integers(0, 400),
    st.integers(0, 10),
    st.integers(0, 60),
)


@given(st.lists(blocks, max_size=25), st.sampled_from([0.001, 0.01, 0.2]))
def test_what_shares_decided_stands_whatever_comes_after_it(some: list[Block], harm: float) -> None:
    test = ShareTest(harm)
    whole = test.decide(some)
    assert test.decide(some[: whole.pairs]) == whole
    assert math.isfinite(whole.e_value)
