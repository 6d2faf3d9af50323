"""The page about drivers tells of every driver what the code says."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from autopilot.infra.effector.driver_file import KINDS
from autopilot.infra.effector.port import CrashClass

PAGE = Path(__file__).resolve().parents[3] / "docs" / "drivers.md"
DECLARED = ("as declared", "as declared", "as declared")
ROW = re.compile(r"^\| `(\w+)` \| `?([\w ]+?)`? \| ([\w ]+) \| ([\w ]+) \|$", re.MULTILINE)


def of_the_code() -> Iterator[tuple[str, str, str, str]]:
    """A row for each verb; one for a driver whose verbs are declared in its settings."""
    for kind, where in KINDS.items():
        driver = getattr(import_module(f"autopilot.infra.effector.drivers.{where.module}"), where.driver)
        verbs: dict[str, CrashClass] | None = vars(driver).get("verbs")
        if verbs is None:
            yield (kind, *DECLARED)
        else:
            for verb, crash_class in verbs.items():
                yield kind, verb, str(crash_class), "yes" if verb in driver.reverts else "no"


def test_the_table_has_every_verb_of_every_driver_with_its_class() -> None:
    assert ROW.findall(PAGE.read_text()) == list(of_the_code())
