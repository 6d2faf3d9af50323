"""The test for every moment: what it decides, when, and that it asks for more than luck."""

import math

import pytest

from autopilot.agents.verification import Decision, Direction, SequentialTest

NOISE = (0.3, -0.2, 0.1, -0.4, 0.2, -0.1, 0.4, -0.3)


def pairs(shift: float, count: int) -> list[tuple[float, float]]:
    return [(NOISE[n % 8], shift + NOISE[(3 * n + 1) % 8]) for n in range(count)]


def test_a_clear_difference_ends_it_early_on_either_side() -> None:
    test = SequentialTest()
    higher, lower = test.decide(pairs(2.0, 100)), test.decide(pairs(-2.0, 100))
    assert (higher.decision, lower.decision) == (Decision.HIGHER, Decision.LOWER)
    assert higher.pairs == lower.pairs == 9
    assert higher.e_value >= 1 / test.error


def test_a_direction_that_was_not_asked_for_is_not_found() -> None:
    found = SequentialTest().decide(pairs(-2.0, 100), Direction.INCREASE)
    assert (found.decision, found.pairs) == (Decision.NO_DIFFERENCE, 5)


def test_no_difference_gives_up_and_too_little_stays_undecided() -> None:
    assert SequentialTest().decide(pairs(0.0, 200)).decision is Decision.NO_DIFFERENCE
    few = SequentialTest().decide(pairs(2.0, 5))
    assert (few.decision, few.pairs) == (Decision.UNDECIDED, 5)
    assert SequentialTest().decide([]).decision is Decision.UNDECIDED


def test_what_was_not_measured_is_no_evidence() -> None:
    holes = [pair for one in pairs(2.0, 100) for pair in (one, (math.nan, 5.0), (1.0, math.inf))]
    assert SequentialTest().decide(holes) == SequentialTest().decide(pairs(2.0, 100))
    same = SequentialTest().decide([(1.0, 1.0)] * 500)
    assert (same.decision, same.e_value) == (Decision.UNDECIDED, 1.0)


def test_a_margin_is_a_difference_that_does_not_count() -> None:
    assert SequentialTest().decide(pairs(2.0, 100), Direction.INCREASE, margin=3.0).decision is Decision.NO_DIFFERENCE
    assert SequentialTest().decide(pairs(2.0, 100), Direction.INCREASE, margin=1.0).decision is Decision.HIGHER


def test_a_smaller_error_asks_for_more() -> None:
    sizes = [SequentialTest(error).decide(pairs(2.0, 100)).pairs for error in (0.1, 0.05, 0.01, 0.001)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("wrong", [{"error": 0.0}, {"error": 0.6}, {"effect": 0.0}, {"futility": 1.0}])
def test_what_makes_no_test_is_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} is"):
        SequentialTest(**wrong)


def test_differences_too_small_to_square_are_no_evidence() -> None:
    result = SequentialTest().decide([(0.0, 2.4e-285)] * 50)
    assert (result.decision, result.pairs) == (Decision.UNDECIDED, 50)
