"""Rigs as fixtures, one target running at a time; and what cannot go wrong at a target, for people."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

import pytest
from catalogue import RIGS, OneRunning, RunnableRig
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: every verb at every crash point, and not one of each class."""
    parser.addoption("--all", action="store_true", help="every verb at every crash point")


LONGEST_FIRST = ("kubernetes", "aws_ecs", "opentofu", "test_kubernetes", "haproxy")
"""Groups in the order in which they are begun, so that none that takes long is left to the end; then the others."""


SHARES: Mapping[str, str] = {"test_aws_ecs": "aws_ecs"}
"""Modules whose target is that of a rig."""


HERE = Path(__file__).parent
TIMEOUT_S = 1_200
"""Of a test with the start of its target, where a test says nothing else."""


def group_of(nodeid: str) -> str:
    """The rig of a test, or else its module, which starts its own target."""
    rig = re.search(r"\[(\w+) \| ", nodeid)
    module = PurePath(nodeid.partition("::")[0]).stem
    return rig[1] if rig else SHARES.get(module, module)


class OneProcessEach(LoadScopeScheduling):
    """Of the processes that run tests, one has all tests of a group, begun in the order in which they are collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How tests are shared out when several processes run them."""
    config.option.loadscopereorder = False
    return OneProcessEach(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a group in a row, so that its target is started once, and each with time for a busy machine."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
    groups = [*LONGEST_FIRST, *sorted({group_of(item.nodeid) for item in items} - set(LONGEST_FIRST))]
    items.sort(key=lambda item: groups.index(group_of(item.nodeid)))


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
