"""The example of a runbook: a real Ansible playbook for a real service on this machine, through the command driver."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.port import CrashClass, Driver, PartialError, PermanentError
from autopilot.schemas.events.planner import Action

EXAMPLE = Path(__file__).parents[2] / "examples" / "runbooks"
WITHIN_S = 120.0
PLAYED_WITHIN_S = 300.0
"""A playbook takes three seconds on an idle machine."""
SERVICE = """
import os, signal, sys
from pathlib import Path
settings, log = Path(sys.argv[1] + ".env"), Path(sys.argv[1] + ".log")
def read(*_):
    with log.open("a") as file:
        file.write("read " + settings.read_text().split("pool_size=")[1].split()[0] + "\\n")
signal.signal(signal.SIGHUP, read)
read()
Path(sys.argv[1] + ".pid").write_text(str(os.getpid()))
while True:
    signal.pause()
"""


class Checkout:
    """A service that reads its settings when it starts and at each SIGHUP, and writes down that it did."""

    def __init__(self, folder: Path) -> None:
        self.settings, self.log, pid = (folder / f"checkout.{end}" for end in ("env", "log", "pid"))
        self.settings.write_text("region=eu\npool_size=20\n")
        self.process = subprocess.Popen([sys.executable, "-c", SERVICE, str(folder / "checkout")])
        eventually(lambda: pid.exists() and pid.read_text(), WITHIN_S)

    def sizes(self, count: int) -> list[str]:
        """What it read, once it has read so often."""
        eventually(lambda: len(self.log.read_text().splitlines()) >= count, WITHIN_S)
        return [line.removeprefix("read ") for line in self.log.read_text().splitlines()]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(WITHIN_S)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    service = Checkout(tmp_path)
    yield service
    service.stop()


@pytest.fixture
def driver(checkout: Checkout, tmp_path: Path) -> Driver:
    """The example's driver, with this machine's places."""
    places = {
        "/usr/bin/ansible-playbook": str(Path(sys.executable).with_name("ansible-playbook")),
        "/srv/runbooks": str(EXAMPLE),
        "/srv/services": str(tmp_path),
        "/var/lib/autopilot/ansible": str(tmp_path / "ansible"),
    }
    text = (EXAMPLE / "targets.yaml").read_text()
    for place, here in places.items():
        assert place in text
        text = text.replace(place, here)
    targets = tmp_path / "targets.yaml"
    targets.write_text(text + f"    run_dir: {tmp_path}/running\n    look_seconds: {PLAYED_WITHIN_S}\n")
    return read_drivers(targets)["runbooks"]


def size(count: str) -> Action:
    return Action(driver="runbooks", verb="pool_size", target="checkout", parameters={"size": count})


def test_the_playbook_is_previewed_run_once_and_undone(driver: Driver, checkout: Checkout) -> None:
    before = driver.observe("checkout")
    assert before.state == {"target": "checkout", "region": "eu", "pool_size": "20"}
    assert driver.verbs == {"pool_size": CrashClass.CONVERGENT}

    ((_, _, shown),) = driver.diff(size("40"), before)
    assert "-pool_size=20" in shown
    assert "+pool_size=40" in shown
    assert driver.observe("checkout") == before
    assert checkout.sizes(1) == ["20"]

    applied = driver.apply(size("40"), before, "key-1", PLAYED_WITHIN_S)
    assert (applied.changed, applied.after["pool_size"]) == (True, "40")
    assert checkout.sizes(2) == ["20", "40"]
    assert driver.diff(size("40"), driver.observe("checkout")) == []
    assert not driver.apply(size("40"), before, "key-1", PLAYED_WITHIN_S).changed

    assert driver.revert(size("40"), before.state, "key-2", PLAYED_WITHIN_S).changed
    assert not driver.revert(size("40"), before.state, "key-2", PLAYED_WITHIN_S).changed
    assert driver.observe("checkout") == before
    assert checkout.sizes(3) == ["20", "40", "20"]


def test_a_task_that_fails_is_told_with_what_ansible_said(driver: Driver, checkout: Checkout) -> None:
    before = driver.observe("checkout")
    checkout.settings.unlink()
    with pytest.raises((PartialError, PermanentError), match="does not exist"):
        driver.apply(size("40"), before, "key-1", PLAYED_WITHIN_S)


def test_the_bounds_are_the_drivers_and_the_playbooks(driver: Driver, checkout: Checkout) -> None:
    before = driver.observe("checkout")
    with pytest.raises(PermanentError, match=r"`size` is `1000`"):
        driver.apply(size("1000"), before, "key-1", PLAYED_WITHIN_S)
    with pytest.raises(PermanentError, match="Assertion failed"):
        driver.diff(size("900"), before)
    assert checkout.sizes(1) == ["20"]
