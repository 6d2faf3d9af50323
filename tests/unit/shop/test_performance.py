"""A demonstration that fails on a busy machine says that the machine is busy."""

import pytest

from examples.shop.performance import busy


@pytest.mark.parametrize(("load", "processors", "told"), [(7.9, 2, True), (2.0, 2, False), (0.3, 1, False)])
def test_a_busy_machine_is_told_with_its_figures(load: float, processors: int, told: bool) -> None:
    said = busy(load, processors)
    assert (f"load {load} on {processors} processors" in said) is told
    assert bool(said) is told
