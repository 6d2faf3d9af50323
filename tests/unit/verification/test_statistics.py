"""The statistics against the standard library and against figures worked out by hand or by R's wilcox.test."""

from statistics import NormalDist

import pytest

from autopilot.agents.verification import looks, normal, ranks

NORMAL = NormalDist()


def test_the_normal_distribution_is_the_standard_librarys() -> None:
    for step in range(-500, 501):
        z = step / 100
        assert normal.cumulative(z) == pytest.approx(NORMAL.cdf(z), abs=1e-10)
    for probability in (1e-6, 0.001, 0.025, 0.2, 0.5, 0.9, 0.975, 0.99, 1 - 1e-6):
        assert normal.quantile(probability) == pytest.approx(NORMAL.inv_cdf(probability), abs=1e-4)
    assert normal.two_sided_z(0.95) == pytest.approx(1.959963984540054, abs=1e-9)
    assert normal.cumulative(9.0) == normal.cumulative(5.0)
    with pytest.raises(ValueError, match=r"probability is 0\.0"):
        normal.quantile(0.0)


def test_the_shift_of_samples_without_ties() -> None:
    control, experiment = [1.1, 2.2, 3.3, 4.4, 5.5], [6.0, 7.5, 8.1, 9.9, 11.3]
    found = ranks.shift(control, experiment, normal.two_sided_z(0.95))
    differences = sorted(e - c for e in experiment for c in control)
    # 12.5 - 0.5 - 1.96 * sqrt(25 * 11 / 12) = 2.62: the third from either end
    assert (found.low, found.estimate, found.high) == (differences[2], differences[12], differences[22])


def test_ties_within_a_sample_narrow_the_interval() -> None:
    found = ranks.shift([1.0] * 5, [10.0] * 5, 1.96)
    assert (found.low, found.estimate, found.high) == (9.0, 9.0, 9.0)
    # 12.5 - 0.5 - 1.96 * sqrt(25 / 12 * 9) = 3.51: the fourth, the last of which is -1
    found = ranks.shift([1.0] * 5, [0.0, 1.0, 1.0, 1.0, 1.0], 1.96)
    assert (found.low, found.estimate, found.high) == (-1.0, 0.0, 0.0)


def test_few_samples_give_the_whole_range() -> None:
    found = ranks.shift([1.0, 2.0], [5.0, 8.0], 1.96)
    assert (found.low, found.estimate, found.high) == (3.0, 5.0, 7.0)
    with pytest.raises(ValueError, match="0 x 1 samples"):
        ranks.shift([], [1.0], 1.96)


def test_all_looks_together_spend_the_error_at_most() -> None:
    for planned in (1, 3, 5):
        spent = sum(looks.error_at_look(look, planned, 0.05) for look in range(1, 1_000))
        reserved = looks.error_at_look(1_000, planned, 0.05, is_last=True)
        assert 0.045 < spent + reserved <= 0.05 + 1e-12
        last_planned = looks.z_at_look(planned, planned, 0.05)
        assert last_planned < looks.z_at_look(2 * planned, planned, 0.05) < looks.z_at_look(4 * planned, planned, 0.05)
