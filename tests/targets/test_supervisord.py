"""The supervisord driver against a real supervisord with real processes."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from systems.supervisord import Supervised, supervised
from waiting import eventually

from autopilot.infra.effector.drivers.supervisord import SupervisordDriver, SupervisordSettings
from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    Observation,
    PartialError,
    PermanentError,
    TransientError,
)
from autopilot.schemas.events.planner import Action


class Watched:
    """A running supervisord and short ways of asking it."""

    def __init__(self, system: Supervised) -> None:
        self.system = system
        self.driver = system.driver

    def state(self, target: str = "web") -> dict[str, str]:
        return dict(self.driver.observe(target).state)

    def changes(self, verb: str, **parameters: str) -> list[tuple[str, str, str]]:
        return [tuple(d) for d in self.driver.diff(act(verb, **parameters), self.driver.observe("web"))]

    def run(self, verb: str, target: str = "web", **parameters: str) -> bool:
        """Observes and applies, and says whether anything had to be changed."""
        action = act(verb, target, **parameters)
        return self.driver.apply(action, self.driver.observe(target), "key", 60.0).changed

    def stop_one(self, name: str) -> None:
        """Stops a process as an act does that is cut short right after."""
        self.driver._client.stop(name)
        while self.driver._client.process(name).state != "STOPPED":
            time.sleep(0.02)


def act(verb: str, target: str = "web", **parameters: str) -> Action:
    return Action(driver="supervisord", verb=verb, target=target, parameters=parameters)


@pytest.fixture(scope="module")
def running() -> Iterator[Watched]:
    with supervised() as system:
        yield Watched(system)


@pytest.fixture
def web(running: Watched) -> Watched:
    """Two of three processes run release v1."""
    running.run("switch_release", release="v1")
    running.run("scale", count="2")
    return running


def pids(state: dict[str, str]) -> list[int]:
    return [int(pid) for pid in state["pids"].split(",") if pid != "0"]


def test_it_observes_what_runs(web: Watched) -> None:
    state = web.state()
    assert {k: state[k] for k in ("release", "desired", "running", "max", "states", "processes")} == {
        "release": "v1",
        "desired": "2",
        "running": "2",
        "max": "3",
        "states": "RUNNING,RUNNING,STOPPED",
        "processes": "web_00,web_01,web_02",
    }
    assert all(Path(f"/proc/{pid}").exists() for pid in pids(state))


def test_a_diff_changes_nothing(web: Watched) -> None:
    before = web.state()
    assert [name for name, _, _ in web.changes("restart")] == ["process web_00", "process web_01"]
    assert web.changes("scale", count="3") == [("desired", "2", "3"), ("running", "2", "3")]
    assert web.changes("switch_release", release="v2")[0] == ("release", "v1", "v2")
    assert web.state() == before


def test_a_restart_replaces_each_running_process_once(web: Watched) -> None:
    before = web.driver.observe("web")
    assert web.driver.happened(act("restart"), before.state, before) is False
    assert web.driver.apply(act("restart"), before, "key", 60.0).changed
    after = web.driver.observe("web")
    assert set(pids(dict(after.state))).isdisjoint(pids(dict(before.state)))
    assert after.state["states"] == "RUNNING,RUNNING,STOPPED"
    assert web.driver.happened(act("restart"), before.state, after) is True
    assert not web.driver.apply(act("restart"), before, "key", 60.0).changed
    assert web.state() == after.state


def test_a_restart_that_was_cut_short_is_completed_and_not_repeated(web: Watched) -> None:
    before = web.driver.observe("web")
    web.stop_one("web:web_00")
    web.driver._client.start("web:web_00")
    halfway = web.driver.observe("web")
    assert web.driver.happened(act("restart"), before.state, halfway) is False
    assert web.driver.apply(act("restart"), before, "key", 60.0).changed
    assert pids(web.state())[0] == pids(dict(halfway.state))[0]
    assert pids(web.state())[1] != pids(dict(before.state))[1]


def test_a_process_that_died_by_itself_is_not_taken_for_a_whole_restart(web: Watched) -> None:
    before = web.driver.observe("web")
    killed, left = pids(dict(before.state))
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: web.state()["states"] == before.state["states"] and killed not in pids(web.state()), 60)
    assert left in pids(web.state())
    assert web.driver.happened(act("restart"), before.state, web.driver.observe("web")) is False


def test_a_group_of_another_shape_does_not_show_whether_it_was_restarted(web: Watched) -> None:
    before = {**web.state(), "processes": "web_00,web_01"}
    assert web.driver.happened(act("restart"), before, web.driver.observe("web")) is None


def test_scaling_starts_the_lowest_and_stops_the_highest(web: Watched) -> None:
    kept = pids(web.state())
    assert web.run("scale", count="3")
    assert (web.state()["running"], pids(web.state())[:2]) == ("3", kept)
    assert not web.run("scale", count="3")
    assert web.changes("scale", count="3") == []
    assert web.run("scale", count="1")
    assert (web.state()["states"], pids(web.state())) == ("RUNNING,STOPPED,STOPPED", kept[:1])


def test_scaling_is_bounded(web: Watched) -> None:
    before = web.state()
    for count in ("0", "4", "-1", "many", ""):
        with pytest.raises(PermanentError, match="count"):
            web.run("scale", count=count)
    with pytest.raises(PermanentError, match="bounds 1 to 1"):
        web.run("scale", "broken", count="2")
    assert web.state() == before


def test_switching_a_release_rolls_through_the_running_processes_once(web: Watched) -> None:
    before = web.state()
    assert web.run("switch_release", release="v2")
    after = web.state()
    assert (after["release"], after["previous_release"], after["running"]) == ("v2", "v1", "2")
    assert set(pids(after)).isdisjoint(pids(before))
    assert not web.run("switch_release", release="v2")
    assert web.changes("switch_release", release="v2") == []
    assert web.state() == after


def test_a_switch_that_was_cut_short_is_completed(web: Watched) -> None:
    before = web.driver.observe("web")
    folder = web.system.root / "releases" / "web"
    (folder / "previous").unlink(missing_ok=True)
    (folder / "previous").symlink_to("v1")
    (folder / "current").unlink()
    (folder / "current").symlink_to("v2")
    assert web.driver.apply(act("switch_release", release="v2"), before, "key", 60.0).changed
    assert set(pids(web.state())).isdisjoint(pids(dict(before.state)))
    assert web.state()["previous_release"] == "v1"


@pytest.mark.parametrize("stopped", ["web:web_00", "web:web_01"])
def test_a_process_that_a_cut_short_switch_left_stopped_is_started(web: Watched, stopped: str) -> None:
    before = web.driver.observe("web")
    web.run("switch_release", release="v2")
    web.stop_one(stopped)
    action = act("switch_release", release="v2")
    assert web.driver.apply(action, before, "key", 60.0).changed
    assert web.state()["states"] == before.state["states"]
    web.stop_one(stopped)
    assert web.driver.revert(action, before.state, "key", 60.0).changed
    assert (web.state()["states"], web.state()["release"]) == (before.state["states"], "v1")


def test_a_release_that_was_switched_again_is_not_put_back(web: Watched) -> None:
    before = web.driver.observe("web")
    web.run("switch_release", release="v2")
    web.run("switch_release", release="v3")
    with pytest.raises(ConflictError, match="v3"):
        web.driver.revert(act("switch_release", release="v2"), before.state, "key", 60.0)


def test_a_release_that_someone_else_switched_is_a_conflict(web: Watched) -> None:
    before = web.driver.observe("web")
    web.run("switch_release", release="v3")
    with pytest.raises(ConflictError, match="v3"):
        web.driver.apply(act("switch_release", release="v2"), before, "key", 60.0)


def test_a_release_that_is_not_there_is_refused(web: Watched) -> None:
    for release, error in (("v9", MissingError), ("../v1", PermanentError), ("current", PermanentError)):
        with pytest.raises(error):
            web.run("switch_release", release=release)
    assert web.state()["release"] == "v1"


def test_a_group_that_is_not_there_is_missing(web: Watched) -> None:
    with pytest.raises(MissingError, match="nothing"):
        web.driver.observe("nothing")


def test_a_process_that_does_not_come_up_leaves_the_effect_in_part(web: Watched) -> None:
    with pytest.raises(PartialError, match="FATAL"):
        web.run("scale", "broken", count="1")
    assert web.state("broken")["running"] == "0"


def test_a_supervisord_that_is_away_is_a_passing_failure(tmp_path: Path) -> None:
    driver = SupervisordDriver(SupervisordSettings(url=f"unix://{tmp_path}/nobody.sock"))
    with pytest.raises(TransientError):
        driver.observe("web")
    with pytest.raises(TransientError):
        driver.apply(act("restart"), Observation({}), "key", 1.0)


def test_over_http_the_password_decides(web: Watched) -> None:
    url = f"http://127.0.0.1:{web.system.port}"
    assert (
        SupervisordDriver(SupervisordSettings(url=url, username="effector", password="secret"))
        .observe("web")
        .state["running"]
        == "2"
    )
    with pytest.raises(DeniedError, match="401"):
        SupervisordDriver(SupervisordSettings(url=url, username="effector", password="guessed")).observe("web")
