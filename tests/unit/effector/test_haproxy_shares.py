"""The weights that give a share, and the shares that weights give."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopilot.infra.effector.drivers.haproxy_shares import MAX_WEIGHT, shares, weights_for, written

SIZES = st.integers(1, 10)
NAMES = [f"s{number}" for number in range(8)]


@st.composite
def backends(draw: st.DrawFn) -> tuple[dict[str, int], list[str]]:
    count = draw(st.integers(2, len(NAMES)))
    return {name: draw(SIZES) for name in NAMES[:count]}, NAMES[: draw(st.integers(1, count - 1))]


@given(backends(), st.integers(0, 100))
def test_the_chosen_servers_get_their_share(backend: tuple[dict[str, int], list[str]], percent: int) -> None:
    sizes, chosen = backend
    weights = weights_for(sizes, chosen, list(sizes), percent)
    assert all(0 <= weight <= MAX_WEIGHT for weight in weights.values())
    share = sum(shares(weights)[name] for name in chosen)
    rounded_by_one_each = Fraction(100 * len(sizes), sum(weights.values()))
    assert abs(share - percent) <= rounded_by_one_each
    assert (share == 0, share == 100) == (percent == 0, percent == 100)


@given(st.integers(1, 99), st.integers(1, 2), st.integers(1, 2))
def test_few_servers_of_one_size_get_it_exactly(percent: int, inside: int, outside: int) -> None:
    names = NAMES[: inside + outside]
    weights = weights_for(dict.fromkeys(names, 1), names[:inside], names, percent)
    assert sum(shares(weights)[name] for name in names[:inside]) == percent


def test_each_side_is_divided_by_size() -> None:
    weights = weights_for({"c": 1, "big": 3, "small": 1}, ["c"], ["c", "big", "small"], 20)
    assert (weights["c"], weights["big"], weights["small"]) == (1, 3, 1)


def test_a_server_that_does_not_serve_counts_for_neither_side() -> None:
    sizes = {"c": 1, "s1": 1, "s2": 1}
    assert weights_for(sizes, ["c"], ["c", "s1"], 50) == {"c": 1, "s1": 1, "s2": 1}
    assert weights_for(sizes, ["c"], ["c"], 50) == {"c": 1, "s1": 1, "s2": 1}


@pytest.mark.parametrize(
    ("share", "text"), [(Fraction(5), "5"), (Fraction(25, 2), "12.5"), (Fraction(100, 3), "33.33"), (Fraction(0), "0")]
)
def test_a_share_is_written_with_at_most_two_decimals(share: Fraction, text: str) -> None:
    assert written(share) == text


def test_without_a_weight_nobody_has_a_share() -> None:
    assert shares({"a": 0, "b": 0}) == {"a": 0, "b": 0}
