"""Shares of bad events of an experiment against its control: what is found, what is ruled out, and when."""

import math
from fractions import Fraction

import pytest

from autopilot.agents.verification.sequential import Decision
from autopilot.agents.verification.shares import Block, ShareTest, _alike, _Product, _ratio


def blocks(control: float, experiment: float, count: int, sizes: tuple[int, int] = (100, 20)) -> list[Block]:
    return [Block(round(control * sizes[0]), sizes[0], round(experiment * sizes[1]), sizes[1])] * count


def test_a_much_larger_share_is_found_at_once_and_an_equal_one_is_ruled_out() -> None:
    bad = ShareTest(0.01).decide(blocks(0.0, 0.5, 50))
    assert (bad.decision, bad.pairs) == (Decision.HIGHER, 2)
    assert bad.e_value >= 20
    good = ShareTest(0.01).decide(blocks(0.0, 0.0, 50))
    assert (good.decision, good.pairs) == (Decision.NO_DIFFERENCE, 13)


def test_a_smaller_harm_takes_more_events_to_rule_out() -> None:
    taken = [ShareTest(harm).decide(blocks(0.0, 0.0, 5_000)).pairs for harm in (0.1, 0.01, 0.001)]
    assert taken == sorted(set(taken))


def test_too_few_events_stay_undecided() -> None:
    assert ShareTest(0.01).decide(blocks(0.0, 0.0, 10)).decision is Decision.UNDECIDED
    assert ShareTest(0.01).decide(blocks(0.0, 1.0, 1)).decision is Decision.UNDECIDED
    assert ShareTest(0.01).decide([]).decision is Decision.UNDECIDED
    assert ShareTest(0.01).decide(blocks(0.0, 0.0, 100, (100, 0))).decision is Decision.UNDECIDED
    assert ShareTest(0.01).decide(blocks(0.0, 1.0, 100, (0, 100))).decision is Decision.UNDECIDED


def test_a_better_experiment_is_no_worse_and_one_that_is_as_bad_as_its_control_is_not_to_blame() -> None:
    assert ShareTest(0.01).decide(blocks(0.4, 0.0, 50)).decision is Decision.NO_DIFFERENCE
    assert ShareTest(0.01).decide(blocks(0.4, 0.4, 100)).decision is Decision.NO_DIFFERENCE


def test_no_number_of_events_is_too_large() -> None:
    found = ShareTest(0.001).decide([Block(10_000_000, 10**10, 60_000_000, 10**10)] * 3)
    assert found.decision is Decision.HIGHER
    assert math.isfinite(found.e_value)


def test_a_product_is_that_of_the_powers() -> None:
    product = _Product()
    product.times([(0.75, 13), (1.5, 7), (0.5, 0)])
    assert product.value == pytest.approx(float(Fraction(3, 4) ** 13 * Fraction(3, 2) ** 7))


def chance(bad: int, events: int, share: float) -> float:
    return math.comb(events, bad) * share**bad * (1 - share) ** (events - bad)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("better_by", [0.0, 0.1])
def test_a_block_is_a_fair_bet_for_every_share_that_both_could_have(share: float, better_by: float) -> None:
    """Its expectation over all outcomes is at most 1, also when the experiment is better: what makes it a test."""
    control, experiment = share, max(share - better_by, 0.0)
    expected = 0.0
    for bad in range(8):
        for worse in range(4):
            product = _Product()
            product.times(_ratio(Block(bad, 7, worse, 3), 0.1, 0.3))
            expected += chance(bad, 7, control) * chance(worse, 3, experiment) * product.value
    assert expected <= 1 + 1e-12


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_ruling_out_is_a_fair_bet_for_every_experiment_that_is_worse(share: float) -> None:
    expected = 0.0
    for worse in range(6):
        product = _Product()
        product.times(_alike(Block(0, 7, worse, 5), 0.1, 0.3))
        expected += chance(worse, 5, share) * product.value
    assert expected <= 1 + 1e-12


@pytest.mark.parametrize(
    "wrong", [{"harm": 0.0}, {"harm": 0.5}, {"harm": 0.1, "error": 0.0}, {"harm": 0.1, "miss": 1.0}]
)
def test_what_makes_no_test_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]} is"):
        ShareTest(**wrong)
