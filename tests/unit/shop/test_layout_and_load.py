"""The files through which the shop is steered."""

import json
import time
from pathlib import Path

import pytest

from examples.shop.layout import SERVICES, Fault, Layout
from examples.shop.load import MAX_RATE, rate_of
from examples.shop.service import FAULTS_EVERY_S, Faults, prices_of

SOURCE = Path(__file__).parents[3] / "examples" / "shop" / "releases"


@pytest.mark.parametrize(
    ("text", "rate"), [("12.5\n", 12.5), ("1e9", MAX_RATE), ("-3", 0.0), ("fast", 0.0), ("", 0.0), (None, 0.0)]
)
def test_the_rate_is_bounded_and_nonsense_is_no_load(tmp_path: Path, text: str | None, rate: float) -> None:
    layout = Layout(tmp_path)
    if text is not None:
        layout.rate_file.write_text(text)
    assert rate_of(layout) == rate


def test_a_fault_is_noticed_within_its_interval_and_only_by_its_service(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "faults").mkdir()
    mine, other = Faults(layout, "checkout"), Faults(layout, "frontend")
    assert not mine.on(Fault.MUTE)
    layout.fault_file("checkout", Fault.MUTE).touch()
    time.sleep(FAULTS_EVERY_S)
    assert mine.on(Fault.MUTE)
    assert not mine.on(Fault.CRASH)
    assert not other.on(Fault.MUTE)


def test_the_release_in_use_is_where_the_link_points(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for release, prices in (("v1", {"tea": 420}), ("v2", {"green_tea": 420})):
        (layout.releases / "checkout" / release).mkdir(parents=True)
        (layout.releases / "checkout" / release / "prices.json").write_text(json.dumps(prices))
    link = layout.releases / "checkout" / "current"
    link.symlink_to("v2")
    assert (layout.current("checkout").name, prices_of(layout, "checkout")) == ("v2", {"green_tea": 420})


def test_the_bad_release_lacks_prices_that_the_good_one_has() -> None:
    good, bad = (json.loads((SOURCE / "checkout" / release / "prices.json").read_text()) for release in ("v1", "v2"))
    assert set(good) - set(bad) == {"coffee", "tea"}
    assert all((SOURCE / service / "v1").is_dir() for service in SERVICES)
