"""The effector dies at each point of an act at a real target, and another one goes on: what the verb's class promises.

The effector is the real one, on Kafka, as a process that is killed; how often the effect happened is read from the
target's own history. By default one verb of each class is taken of each driver, with `--all` every case of its rig.
"""

from collections.abc import Iterator, Sequence

import pytest
from catalogue import RIGS, RunnableRig
from mortal import MortalEffector
from mortal_process import AFTER_INTENT, BEFORE_INTENT, MID_EFFECT, POINTS

from autopilot.infra.effector.port import CrashClass
from autopilot.infra.effector.rig import Case, Rig
from autopilot.schemas.events.effector import FailureClass, StepFailed, StepIndeterminate, StepStarted, StepSucceeded

REVERT_POINTS = (AFTER_INTENT, MID_EFFECT)


def chosen(rig: type[Rig], everything: bool) -> Sequence[Case]:
    """The first case of each class, or all."""
    first: dict[CrashClass, Case] = {}
    for case in rig.cases:
        first.setdefault(case.crash_class, case)
    return rig.cases if everything else list(first.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Driver x case x point."""
    everything = bool(metafunc.config.getoption("--all"))
    points = POINTS if "forward" in metafunc.function.__name__ else REVERT_POINTS
    matrix = [
        pytest.param(name, case, point, id=f"{name} | {case.crash_class} | {case} | {point}")
        for name, rig in RIGS.items()
        for case in chosen(rig, everything)
        for point in points
    ]
    metafunc.parametrize(("rig", "case", "point"), matrix, indirect=["rig"])


@pytest.fixture(scope="session")
def effectors() -> Iterator[dict[int, MortalEffector]]:
    """The effector of the rig that runs, by the rig's identity."""
    kept: dict[int, MortalEffector] = {}
    yield kept
    for effector in kept.values():
        effector.stop()


@pytest.fixture
def effector(
    rig: RunnableRig, kafka: str, effectors: dict[int, MortalEffector], tmp_path_factory: pytest.TempPathFactory
) -> MortalEffector:
    """An effector with the rig's driver, alive."""
    if id(rig) not in effectors:
        for old in effectors.values():
            old.stop()
        effectors.clear()
        effectors[id(rig)] = MortalEffector(kafka, rig, tmp_path_factory.mktemp("effector"))
    effectors[id(rig)].start()
    return effectors[id(rig)]


def test_a_forward_step_happens_once_or_is_said_to_be_unknown(
    rig: RunnableRig, case: Case, point: str, effector: MortalEffector
) -> None:
    rig.reset(case)
    before, count = dict(rig.driver.observe(case.action.target).state), rig.effects(case)
    effector.dies_at(point)
    request = effector.ask(case.action, case.timeout_s)
    effector.await_death(point, lambda: rig.effects(case) > count)
    effector.start()
    result = effector.result(request)
    (started,) = effector.told(request, StepStarted)
    assert (started.crash_class, started.before) == (case.crash_class, before)
    if case.crash_class is CrashClass.BLIND and point != BEFORE_INTENT:
        assert isinstance(result, StepIndeterminate)
        assert rig.effects(case) - count == (0 if point == AFTER_INTENT else case.effects)
    else:
        assert isinstance(result, StepSucceeded), result
        assert rig.effects(case) - count == case.effects
        assert result.after == rig.driver.observe(case.action.target).state


def test_a_revert_puts_back_what_was_there_if_the_driver_can(
    rig: RunnableRig, case: Case, point: str, effector: MortalEffector
) -> None:
    rig.reset(case)
    before = rig.driver.observe(case.action.target).state
    forward = effector.ask(case.action, case.timeout_s, revert=True)
    assert isinstance(effector.result(forward), StepSucceeded)
    count = rig.effects(case)
    if case.verb not in rig.driver.reverts:
        failed = effector.result(effector.ask_back(forward))
        assert isinstance(failed, StepFailed), failed
        assert (failed.failure, rig.effects(case)) == (FailureClass.PERMANENT, count)
        return
    effector.dies_at(point)
    back = effector.ask_back(forward)
    effector.await_death(point, lambda: rig.effects(case) > count)
    effector.start()
    result = effector.result(back)
    assert isinstance(result, StepSucceeded), result
    assert result.changed
    now = rig.driver.observe(case.action.target).state
    kept = (now.keys() | before.keys()) - case.volatile
    assert {key: now.get(key) for key in kept} == {key: before.get(key) for key in kept}
