"""The denial that the guide of policy authors shows is what its commands print now."""

import pytest

from examples.historical.denial import PAGE, page, transcript

pytestmark = pytest.mark.timeout(900)


def test_the_guide_shows_what_the_commands_print() -> None:
    written = PAGE.read_text(encoding="utf-8")
    shown = transcript()
    assert ": deny, because freeze: " in shown
    assert page(written, shown) == written, "run `python -m examples.historical.denial`"
