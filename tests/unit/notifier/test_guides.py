"""What the guides to runbooks and notifications show is what the settings take."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.port import CrashClass
from autopilot.infra.notifier.channels import Channel, Reason, read_channels

ROOT = Path(__file__).parents[3]


def shown(page: str, first_word: str) -> list[str]:
    """The page's YAML that begins with a word."""
    text = (ROOT / "docs" / page).read_text()
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if block.startswith(first_word)]


def test_the_drivers_that_the_guide_shows_can_be_made(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = []
    for block in shown("runbooks.md", "drivers:"):
        entries += yaml.safe_load(block)["drivers"]
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump({"drivers": entries}))
    drivers = read_drivers(path)
    assert drivers["runbooks"].verbs == {
        "set_ring": CrashClass.KEYED,
        "restore": CrashClass.KEYED,
        "flush": CrashClass.BLIND,
    }
    assert drivers["scripts"].verbs == {
        "set_workers": CrashClass.CONVERGENT,
        "restart": CrashClass.WITNESSED,
        "page_vendor": CrashClass.BLIND,
    }
    assert drivers["scripts"].reverts == {"set_workers"}


def test_the_channels_that_the_guide_shows_can_be_made(tmp_path: Path) -> None:
    (block,) = shown("notifications.md", "channels:")
    path = tmp_path / "channels.yaml"
    path.write_text(block)
    assert [channel.name for channel in read_channels(path)] == ["sre", "pager", "payments"]


def test_the_channels_of_the_containers_can_be_made() -> None:
    assert read_channels(ROOT / "infra" / "docker" / "notifications" / "channels.yaml") == []


@pytest.mark.parametrize("field", sorted(Channel.model_fields.keys() - {"name"}))
def test_the_guide_tells_of_every_field(field: str) -> None:
    assert f"`{field}`" in (ROOT / "docs" / "notifications.md").read_text()


def test_the_guide_tells_of_every_reason() -> None:
    text = (ROOT / "docs" / "notifications.md").read_text()
    assert [reason for reason in Reason.__args__ if f"`{reason}`" not in text] == []
