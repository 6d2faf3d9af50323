"""The OpenTofu driver against real plans and a store of states, beyond what every driver must do."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError
from systems.opentofu import BOUNDS, DONE_WITHIN_S, SOMEBODY_ELSES, VARIABLES, Infrastructure, infrastructure

from autopilot.infra.effector.drivers.opentofu import OpentofuDriver, OpentofuSettings
from autopilot.infra.effector.drivers.opentofu_cli import Tofu
from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.events.planner import Action


def act(workspace: str = "web", **variables: str) -> Action:
    return Action(driver="opentofu", verb="apply_variables", target=workspace, parameters=variables)


def run(driver: OpentofuDriver, action: Action, timeout_s: float = DONE_WITHIN_S) -> bool:
    return driver.apply(action, driver.observe(action.target), "key", timeout_s).changed


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    with infrastructure(tmp_path_factory.mktemp("tofu")) as system:
        yield system


@pytest.fixture
def web(running: Infrastructure) -> Infrastructure:
    """Two replicas of v1."""
    running.store.out_of_order = running.store.locks_left = None
    running.store.locks.clear()
    running.bring("web", replicas=2, release="v1")
    return running


def variables(system: Infrastructure) -> dict[str, str | int]:
    found: dict[str, str | int] = json.loads((system.root / "web" / VARIABLES).read_text())
    return found


def test_it_tells_variables_outputs_and_which_version_of_the_state_that_is(web: Infrastructure) -> None:
    observed = web.driver().observe("web")
    state = dict(observed.state)
    assert observed.revision == f"{state.pop('lineage')}/{state.pop('serial')}"
    assert state == {
        "variable.release": "v1",
        "variable.replicas": "2",
        "output.releases": '["v1", "v1"]',
        "resources": "2",
    }


def test_a_preview_names_what_comes_goes_and_changes(web: Infrastructure) -> None:
    driver = web.driver()
    state = driver.observe("web")
    assert [tuple(d) for d in driver.diff(act(replicas="1", release="v2"), state)] == [
        ("variable.release", "v1", "v2"),
        ("variable.replicas", "2", "1"),
        ("terraform_data.replica[0].input", '"v1"', '"v2"'),
        ("terraform_data.replica[0].output", '"v1"', "(known after apply)"),
        ("terraform_data.replica[1]", "present", "deleted"),
    ]
    assert [tuple(d) for d in driver.diff(act(replicas="3"), state)] == [
        ("variable.replicas", "2", "3"),
        ("terraform_data.replica[2]", "absent", "created"),
    ]


@pytest.mark.parametrize(
    ("bound", "action"), [("max_deletions", act(replicas="1")), ("max_changes", act(replicas="4"))]
)
def test_a_plan_over_a_bound_is_not_applied(web: Infrastructure, bound: str, action: Action) -> None:
    tight = {**BOUNDS, "max_changes": 1, "max_deletions": 0}
    before, count = variables(web), web.changes("web")
    with pytest.raises(PermanentError, match=f"`{bound}`"):
        run(web.driver(workspaces={"web": tight}), action)
    assert (variables(web), web.changes("web")) == (before, count)


def test_what_others_changed_and_did_not_apply_stands_in_the_way(web: Infrastructure) -> None:
    web.set("web", release="v9")
    count = web.changes("web")
    with pytest.raises(ConflictError, match=r"not applied: terraform_data\.replica\[0\]\.input"):
        run(web.driver(), act(replicas="3"))
    assert web.changes("web") == count
    assert run(web.driver(), act(release="v9")), "what is declared may be applied by the act that says the same"
    assert web.driver().observe("web").state["output.releases"] == '["v9", "v9"]'


def test_a_variable_that_another_writer_set_is_not_overwritten(web: Infrastructure) -> None:
    driver = web.driver()
    before = driver.observe("web")
    web.bring("web", replicas=5)
    with pytest.raises(ConflictError, match="`replicas` was set to 5"):
        driver.apply(act(replicas="3"), before, "key", DONE_WITHIN_S)
    with pytest.raises(ConflictError, match="`replicas` was set to 5"):
        driver.revert(act(replicas="3"), before.state, "key-back", DONE_WITHIN_S)


def test_a_lock_that_is_not_given_back_is_a_conflict(web: Infrastructure) -> None:
    web.store.locks["/web"] = SOMEBODY_ELSES
    before, count = variables(web), web.changes("web")
    with pytest.raises(ConflictError, match="state lock"):
        run(web.driver(lock_wait_s=0), act(replicas="3"))
    assert (variables(web), web.changes("web")) == (before, count)


def test_an_apply_that_changed_nothing_leaves_the_variables_as_they_were(web: Infrastructure) -> None:
    """Two plans get the lock, the apply does not."""
    web.store.locks_left = 2
    before = variables(web)
    with pytest.raises(ConflictError, match="apply of web"):
        run(web.driver(lock_wait_s=0), act(replicas="3"))
    assert variables(web) == before
    assert not list((web.root / "web" / ".terraform" / "autopilot").iterdir())


def test_a_plan_is_not_applied_to_a_state_that_it_was_not_made_for(web: Infrastructure, tmp_path: Path) -> None:
    environment = {"TF_HTTP_PASSWORD": "state-secret"}
    tofu = Tofu(Path(web.entry()["binary"]), environment, web.root / "web", lock_wait_s=0, grace_s=1)
    deadline = time.monotonic() + DONE_WITHIN_S
    plan = tofu.plan(tmp_path / "plan", {"replicas": 2, "release": "v1", "ready": "true"}, deadline)
    stale = tofu.plan(tmp_path / "stale", {"replicas": 4, "release": "v1", "ready": "true"}, deadline)
    assert not plan.anything
    assert stale.changes == 2
    web.bring("web", replicas=3)
    web.set("web", replicas=4)
    with pytest.raises(ConflictError, match="plan is stale"):
        tofu.apply(tmp_path, stale, deadline)


def test_part_of_an_effect_is_told_so_and_can_be_undone(web: Infrastructure) -> None:
    web.set("web", ready="test $REPLICA -lt 3")
    driver = web.driver()
    before = driver.observe("web")
    with pytest.raises(PartialError, match="part of it is there"):
        driver.apply(act(replicas="4"), before, "key", DONE_WITHIN_S)
    assert driver.observe("web").state["resources"] == "4"
    assert driver.revert(act(replicas="4"), before.state, "key-back", DONE_WITHIN_S).changed
    after = dict(driver.observe("web").state)
    assert {k: v for k, v in after.items() if k != "serial"} == {k: v for k, v in before.state.items() if k != "serial"}


def test_when_its_time_is_over_every_process_is_ended_and_the_lock_given_back(web: Infrastructure) -> None:
    web.set("web", ready="sleep 61")
    with pytest.raises(TargetTimeoutError, match="did not end in time"):
        run(web.driver(), act(replicas="3"), timeout_s=1.5)
    assert not [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "61"]]
    assert not web.store.locks


def test_the_program_has_the_environment_of_the_settings_and_nothing_else(
    web: Infrastructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPILOT_SECRET", "not for programs")
    seen = web.root / "seen"
    web.set("web", ready=f"env > {seen}")
    run(web.driver(environment={"TF_LOG": "off"}), act(replicas="3"))
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert {"PATH", "HOME", "TF_LOG", "TF_HTTP_PASSWORD", "REPLICA"} <= names
    assert "AUTOPILOT_SECRET" not in names


@pytest.mark.parametrize(
    ("status", "expected"), [(503, TransientError), (429, TransientError), (401, DeniedError), (403, DeniedError)]
)
def test_what_the_store_answers_says_what_to_do(web: Infrastructure, status: int, expected: type[TargetError]) -> None:
    web.store.out_of_order = status
    with pytest.raises(TargetError) as found:
        web.driver().observe("web")
    assert type(found.value) is expected


def test_a_secret_that_cannot_be_read_is_denied(web: Infrastructure) -> None:
    with pytest.raises(DeniedError, match="a file of the environment"):
        web.driver("no-such-file").observe("web")


def test_variables_that_may_be_set_must_be_set(web: Infrastructure) -> None:
    path = web.root / "web" / VARIABLES
    path.write_text(json.dumps({"release": "v1"}))
    with pytest.raises(MissingError, match="do not set `replicas`"):
        web.driver().observe("web")
    path.unlink()
    with pytest.raises(MissingError, match="has no autopilot"):
        web.driver().observe("web")
    path.write_text(json.dumps({"release": "v1", "replicas": 2}))


def test_a_configuration_that_the_settings_do_not_name_is_not_touched(web: Infrastructure) -> None:
    with pytest.raises(PermanentError, match=r"`target` is `\.\./web`"):
        web.driver().observe("../web")


def test_settings_are_refused_that_say_nothing_certain(web: Infrastructure) -> None:
    entry = {name: value for name, value in web.entry().items() if name != "driver"}
    for odd in ({"root": "here"}, {"workspaces": {"../web": BOUNDS}}, {"workspaces": {}}, {"shell": True}):
        with pytest.raises(ValidationError):
            OpentofuSettings.model_validate(entry | odd)
