"""Rigs as fixtures, one target running at a time; and what cannot go wrong at a target, for people."""

import re
from collections.abc import Iterator

import pytest
from catalogue import RIGS, OneRunning, RunnableRig
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: every verb at every crash point, and not one of each class."""
    parser.addoption("--all", action="store_true", help="every verb at every crash point")


class OneProcessEach(LoadScopeScheduling):
    """Of the processes that run tests, one has all tests of a rig, or of a module that starts its own target."""

    def _split_scope(self, nodeid: str) -> str:
        rig = re.search(r"\[(\w+) \| ", nodeid)
        return rig[1] if rig else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How tests are shared out when several processes run them."""
    return OneProcessEach(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a rig in a row, so that its target is started once; what has no rig comes first."""
    order = {name: number for number, name in enumerate(RIGS)}
    items.sort(key=lambda item: order.get(_rig_of(item), -1))


def _rig_of(item: pytest.Item) -> str:
    return str(item.callspec.params.get("rig", "")) if hasattr(item, "callspec") else ""


@pytest.fixture(scope="session")
def one_running() -> Iterator[OneRunning]:
    """Whichever rig runs."""
    running = OneRunning()
    yield running
    running.stop()


@pytest.fixture
def rig(
    request: pytest.FixtureRequest, one_running: OneRunning, tmp_path_factory: pytest.TempPathFactory
) -> RunnableRig:
    """The rig of the name that a test is parametrised with."""
    name: str = request.param
    return one_running.rig(name, tmp_path_factory.mktemp(name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which faults cannot arise at which target, and why not."""
    lines = [f"{name}: {fault}: {why}" for name, rig in RIGS.items() for fault, why in rig.impossible.items()]
    if lines:
        terminalreporter.section("faults that cannot arise")
        for line in lines:
            terminalreporter.write_line(line)
