"""The statistics against figures known from the literature or worked out by hand."""

import pytest

from autopilot.agents.verification import Direction
from autopilot.agents.verifier import judgement
from autopilot.agents.verifier.judgement import Share
from autopilot.agents.verifier.watch import Guard
from autopilot.schemas.events.verifier import CheckVerdict


def test_wilsons_interval() -> None:
    low, high = judgement.interval(Share(1, 10), 1.96)
    assert (round(low, 4), round(high, 4)) == (0.0179, 0.4042)
    assert judgement.interval(Share(), 1.96) == (0.0, 1.0)


def test_two_shares() -> None:
    assert judgement.difference_z(Share(30, 100), Share(20, 100)) == pytest.approx(1.6330, abs=1e-4)
    assert judgement.difference_z(Share(0, 100), Share(0, 100)) == 0.0
    assert judgement.difference_z(Share(100, 100), Share(100, 100)) == 0.0


def test_rank_sums_with_ties() -> None:
    assert judgement.rank_sum_z([4, 5, 6], [1, 2, 3]) == pytest.approx(1.9640, abs=1e-4)
    assert judgement.rank_sum_z([1, 2, 2], [2, 3, 3]) == pytest.approx(-1.6499, abs=1e-4)
    assert judgement.rank_sum_z([7, 7], [7, 7, 7]) == 0.0
    assert judgement.rank_sum_z([], [1.0]) == 0.0


def test_early_looks_and_those_beyond_the_plan_ask_for_more() -> None:
    assert [round(judgement.z_at_look(look, 3), 2) for look in (1, 2, 3, 4, 6, 12)] == [
        3.20,
        2.54,
        2.08,
        4.75,
        2.43,
        2.81,
    ]


def test_the_last_look_has_a_share_of_its_own() -> None:
    assert [round(judgement.z_at_look(look, 3, is_last=True), 2) for look in (1, 3, 7)] == [2.30, 1.90, 2.33]


def test_confidence_of_standard_errors() -> None:
    assert [judgement.confidence_bp(z) for z in (-1, 0, 0.674, 1.645, 2.576, 99)] == [
        5_000, 5_000, 7_500, 9_500, 9_950, 9_990,
    ]  # fmt: skip


def test_few_events_recover_only_by_a_clear_difference() -> None:
    allowed, z = 0.01, 1.96
    assert judgement.recovery(Share(0, 60), Share(), allowed, z).verdict is CheckVerdict.UNCLEAR
    assert judgement.recovery(Share(0, 60), Share(30, 60), allowed, z).verdict is CheckVerdict.PASS
    assert judgement.recovery(Share(0, 19), Share(30, 60), allowed, z).verdict is CheckVerdict.UNCLEAR
    assert judgement.recovery(Share(0, 1_000), Share(), allowed, z).verdict is CheckVerdict.PASS


def test_a_material_change_needs_both_rank_and_mean() -> None:
    before = [100.0 + n % 3 for n in range(20)]
    slightly = [value + 5 for value in before]
    one_outlier = [*before[:-1], 5_000.0]
    assert judgement.guard(slightly, before, 1.96).verdict is CheckVerdict.PASS
    assert judgement.guard(one_outlier, before, 1.96).verdict is CheckVerdict.PASS
    assert judgement.guard([value * 2 for value in before], before, 1.96).verdict is CheckVerdict.FAIL
    assert judgement.guard([500.0] * 5, before, 1.96).verdict is CheckVerdict.UNCLEAR


def test_a_guard_has_a_direction() -> None:
    before = [100.0 + n % 3 for n in range(20)]
    half, twice = [value / 2 for value in before], [value * 2 for value in before]
    verdicts = {
        direction: tuple(judgement.guard(after, before, 1.96, direction).verdict for after in (half, twice))
        for direction in Direction
    }
    passes, fails = CheckVerdict.PASS, CheckVerdict.FAIL
    assert verdicts == {
        Direction.INCREASE: (passes, fails),
        Direction.DECREASE: (fails, passes),
        Direction.EITHER: (fails, fails),
    }


def test_what_looks_worse_and_is_not_clear_does_not_pass() -> None:
    before = [100.0, 120.0, 90.0, 110.0, 130.0, 80.0, 105.0, 95.0]
    after = [125.0, 135.0, 100.0, 145.0, 115.0, 150.0, 108.0]
    found = judgement.guard(after, before, 2.4)
    assert 1.9 < found.z < 2.4
    assert found.verdict is CheckVerdict.UNCLEAR
    assert judgement.guard(after, before, 1.9).verdict is CheckVerdict.FAIL


@pytest.mark.parametrize(
    ("text", "metric", "direction"),
    [
        ("memory", "memory", Direction.INCREASE),
        ("memory increase", "memory", Direction.INCREASE),
        ("http.requests decrease", "http.requests", Direction.DECREASE),
        ("queue depth either", "queue depth", Direction.EITHER),
        ("queue depth", "queue depth", Direction.INCREASE),
        ("decrease", "decrease", Direction.INCREASE),
    ],
)
def test_a_guard_is_a_name_and_perhaps_a_direction(text: str, metric: str, direction: Direction) -> None:
    assert Guard.written(text) == Guard(metric, direction)


def test_the_shift_of_samples() -> None:
    assert judgement.shift([3.0, 5.0, float("nan")], [1.0]) == 3.0
    assert judgement.shift([], [1.0]) is None
