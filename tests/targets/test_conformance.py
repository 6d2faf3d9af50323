"""Every driver passes the conformance suite at its real target."""

import pytest
from catalogue import RIGS

from autopilot.infra.effector.conformance import Check, checks
from autopilot.infra.effector.driver_file import KINDS
from autopilot.infra.effector.rig import Rig

EVERYTHING = [pytest.param(name, check, id=f"{name} | {check}") for name in RIGS for check in checks(RIGS[name])]


@pytest.mark.parametrize(("rig", "check"), EVERYTHING, indirect=["rig"])
def test_a_driver_conforms(rig: Rig, check: Check) -> None:
    check.run(rig)


def test_every_kind_of_driver_has_a_rig() -> None:
    assert set(RIGS) == set(KINDS)
