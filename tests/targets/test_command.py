"""The command driver with real programs: what is run, how it ends, what is told of it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from plans import attempt
from pydantic import ValidationError
from rigs.command import ANNOUNCE, RESTART, SET_SIZE, act, driver_of
from systems.command import SECRET, Runbooks
from waiting import eventually

from autopilot.infra.effector.drivers.command import CommandDriver, CommandSettings
from autopilot.infra.effector.drivers.command_process import alone
from autopilot.infra.effector.port import (
    CrashClass,
    DeniedError,
    MissingError,
    PartialError,
    PermanentError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.events.effector import FailureClass, StepFailed, StepIndeterminate
from autopilot.schemas.events.planner import Action

PRINTS = '#!/bin/sh\nenv | sort > {folder}/seen\nfor a in "$@"; do echo "[$a]" >> {folder}/seen; done\n'


@pytest.fixture
def runbooks(tmp_path: Path) -> Runbooks:
    return Runbooks(tmp_path)


@pytest.fixture
def driver(runbooks: Runbooks) -> CommandDriver:
    return driver_of(runbooks.entry())


def with_command(runbooks: Runbooks, text: str, *arguments: str, **fields: Any) -> CommandDriver:
    """A driver whose only command `it` runs a program of this text, blindly."""
    program = runbooks.write("it", text.format(folder=runbooks.folder) if "{folder}" in text else text)
    settings = {name: fields.pop(name) for name in tuple(fields) if name in CommandSettings.model_fields}
    command = {"crash": "blind", "run": [str(program), *arguments], **fields}
    return driver_of({**runbooks.entry(), **settings, "commands": {"it": command}})


def apply(driver: CommandDriver, action: Action, timeout_s: float = 60.0) -> bool:
    return driver.apply(action, driver.observe(action.target), "key-1", timeout_s).changed


def test_parameters_reach_the_program_as_they_are_and_nothing_reads_them(runbooks: Runbooks) -> None:
    driver = with_command(runbooks, PRINTS, "--of={text}", "{key}", "a b", parameters={"text": ".*"})
    apply(driver, act("it", text="$(touch x); 'a' | b & *"))
    seen = (runbooks.folder / "seen").read_text().splitlines()
    assert seen[-3:] == ["[--of=$(touch x); 'a' | b & *]", "[key-1]", "[a b]"]
    assert not (runbooks.folder / "x").exists()


def test_a_program_gets_a_small_environment_and_none_of_the_effectors(runbooks: Runbooks) -> None:
    os.environ["OF_THE_EFFECTOR"] = "credential"
    try:
        apply(with_command(runbooks, PRINTS, environment={"REGION": "eu"}), act("it"))
    finally:
        del os.environ["OF_THE_EFFECTOR"]
    names = {line.split("=")[0] for line in (runbooks.folder / "seen").read_text().splitlines()}
    assert {"REGION", "PASSWORD", "PATH", "HOME", "LANG"} <= names
    assert names <= {"REGION", "PASSWORD", "PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}


def test_a_value_never_becomes_an_option(runbooks: Runbooks) -> None:
    driver = with_command(runbooks, PRINTS, "{text}", parameters={"text": ".*"})
    with pytest.raises(PermanentError, match="option"):
        apply(driver, act("it", text="--become"))
    assert not (runbooks.folder / "seen").exists()


def test_a_command_runs_in_a_session_of_its_own(runbooks: Runbooks) -> None:
    driver = with_command(
        runbooks, "#!/bin/sh\ncut -d' ' -f1,5,6 /proc/self/stat > {folder}/seen\necho $$ >> {folder}/seen\n"
    )
    apply(driver, act("it"))
    (_, group, session), (leader,) = (line.split() for line in (runbooks.folder / "seen").read_text().splitlines())
    assert group == session == leader


def test_when_its_time_is_over_the_whole_group_is_ended(runbooks: Runbooks) -> None:
    driver = with_command(
        runbooks, "#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $! > {folder}/child\necho began\nwait\nsleep 600\n"
    )
    begun = time.monotonic()
    with pytest.raises(TargetTimeoutError, match="began"):
        apply(driver, act("it"), timeout_s=5.0)
    assert time.monotonic() - begun < 60
    child = int((runbooks.folder / "child").read_text())
    eventually(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 60)


def test_what_a_program_leaves_running_is_not_waited_for(runbooks: Runbooks) -> None:
    driver = with_command(runbooks, "#!/bin/sh\nsleep 600 &\necho $! > {folder}/child\n")
    assert apply(driver, act("it"), timeout_s=60.0)
    os.kill(int((runbooks.folder / "child").read_text()), signal.SIGKILL)


def test_of_a_long_output_the_end_is_told(runbooks: Runbooks) -> None:
    driver = with_command(
        runbooks, "#!/bin/sh\nseq 1 200000\nprintf '\\033[31mred\\033[0m end\\n'\nexit 3\n", max_output_bytes=40
    )
    with pytest.raises(PartialError) as raised:
        apply(driver, act("it"))
    told = str(raised.value)
    assert told.endswith("200000\nred end")
    assert len(told) < 120


def test_nothing_is_told_of_secrets(runbooks: Runbooks, capsys: pytest.CaptureFixture[str]) -> None:
    driver = with_command(runbooks, "#!/bin/sh\necho $PASSWORD\necho 'api_key: abc123'\nexit 3\n")
    with pytest.raises(PartialError) as raised:
        apply(driver, act("it"))
    told = str(raised.value) + capsys.readouterr().out
    assert "(redacted)" in told
    assert SECRET not in told
    assert "abc123" not in told


def test_with_nothing_to_do_nothing_is_run(runbooks: Runbooks, driver: CommandDriver) -> None:
    assert apply(driver, SET_SIZE.action)
    assert not apply(driver, SET_SIZE.action)
    assert runbooks.history == ["set-size web 3"]


def test_a_preview_is_what_the_check_prints_or_the_command_itself(runbooks: Runbooks, driver: CommandDriver) -> None:
    assert list(driver.diff(SET_SIZE.action, driver.observe("web"))) == [("set_size", "", "size 1 -> 3")]
    ((_, _, shown),) = driver.diff(ANNOUNCE.action, driver.observe("web"))
    assert shown == f"{runbooks.folder}/announce web none"


def test_the_output_of_a_check_can_say_that_something_is_to_be_done(runbooks: Runbooks) -> None:
    program = runbooks.write("look", "#!/bin/sh\ncat {0}/look.txt\n".replace("{0}", str(runbooks.folder)))
    driver = with_command(
        runbooks, "#!/bin/sh\n", crash="convergent", check={"run": [str(program)], "needed_when": "changed=[1-9]"}
    )
    for text, needed in (("ok=3 changed=0", False), ("ok=3 changed=12", True)):
        (runbooks.folder / "look.txt").write_text(text)
        assert bool(driver.diff(act("it"), driver.observe("web"))) is needed
    (runbooks.folder / "look.txt").unlink()
    with pytest.raises(PermanentError, match="check of it"):
        driver.diff(act("it"), driver.observe("web"))


def test_a_state_is_made_of_plain_lines(runbooks: Runbooks, driver: CommandDriver) -> None:
    (runbooks.folder / "web.env").write_text("size=1\nno field\n=x\nnote=a=b\n")
    assert driver.observe("web").state == {"target": "web", "size": "1", "note": "a=b"}


def test_a_state_is_read_from_all_that_is_printed(runbooks: Runbooks) -> None:
    driver = driver_of({**runbooks.entry(), "max_output_bytes": 0})
    (runbooks.folder / "web.env").write_text("size=1\n" + "no field\n" * 20_000 + "ready=1\n")
    assert driver.observe("web").state == {"target": "web", "size": "1", "ready": "1"}


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("size=1\n" + "no field\n" * 120_000, "more than 1048576 bytes"),
        ("size=" + "1" * 501, "`size` with more than 500 characters"),
        ("".join(f"field{number}=1\n" for number in range(65)), "65 fields, expected at most 64"),
    ],
)
def test_a_state_that_is_too_large_is_refused_and_not_cut(
    runbooks: Runbooks, driver: CommandDriver, printed: str, told: str
) -> None:
    (runbooks.folder / "web.env").write_text(printed)
    with pytest.raises(PermanentError, match=told):
        driver.observe("web")


def test_of_a_state_secret_values_are_not_told_and_put_into_no_command(
    runbooks: Runbooks, driver: CommandDriver
) -> None:
    (runbooks.folder / "web.env").write_text(f"token_of=abc\nline=with {SECRET}\n{SECRET[:5]}_x=1\nsize=1\n")
    state = driver.observe("web").state
    assert state == {"target": "web", "token_of": "(redacted)", "line": "(redacted)", "never_x": "1", "size": "1"}
    driver = with_command(runbooks, PRINTS, "{before_token_of}")
    with pytest.raises(PermanentError, match="before_token_of"):
        apply(driver, act("it"))
    assert not (runbooks.folder / "seen").exists()


def test_a_blind_failure_is_unknown_unless_its_exit_code_is_explained(
    runbooks: Runbooks, driver: CommandDriver
) -> None:
    runbooks.flag("half", up=True)
    assert isinstance(attempt(driver, ANNOUNCE.action, 60.0), StepIndeterminate)
    assert runbooks.history == ["announce web key-1"]
    runbooks.flag("unavailable", up=True)
    told = attempt(driver, ANNOUNCE.action, 60.0)
    assert isinstance(told, StepFailed)
    assert told.failure is FailureClass.TRANSIENT


def test_what_another_user_may_write_is_not_run(runbooks: Runbooks, driver: CommandDriver) -> None:
    (runbooks.folder / "restart").chmod(0o777)
    with pytest.raises(DeniedError, match="written by others"):
        apply(driver, RESTART.action)


def test_a_program_that_is_not_there_is_missing(runbooks: Runbooks, driver: CommandDriver) -> None:
    (runbooks.folder / "restart").unlink()
    with pytest.raises(MissingError, match="restart"):
        apply(driver, RESTART.action)


@pytest.mark.parametrize("user", ["nobody"])
def test_a_command_runs_as_another_user(runbooks: Runbooks, user: str) -> None:
    """Only root may become somebody else; anybody else is told so."""
    driver = with_command(runbooks, "#!/bin/sh\nid -un; id -Gn\nexit 3\n", user=user, directory="/", observe=None)
    for folder in (runbooks.folder, *runbooks.folder.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)
    expected = (PartialError, f"{user}") if os.getuid() == 0 else (DeniedError, "cannot be run")
    with pytest.raises(expected[0], match=expected[1]):
        apply(driver, act("it"))


ACTS = """
import sys, yaml
from pathlib import Path
from autopilot.infra.effector.driver_file import read_drivers
from autopilot.schemas.events.planner import Action
driver = read_drivers(Path(sys.argv[1]))["command"]
action = Action(driver="command", verb="it", target="web", parameters={})
driver.apply(action, driver.observe("web"), "key", 300.0)
"""
DIES_BEFORE_IT_NOTES_THE_PROCESS = """
import os, signal
from autopilot.infra.effector.drivers import command_process
command_process._note = lambda path, pid: os.kill(os.getpid(), signal.SIGKILL)
"""


GO = "go"
"""The file that what was left running waits for."""


def left_running(runbooks: Runbooks, text: str = "", before: str = "") -> CommandDriver:
    """The driver after an effector died while `it` ran, which writes `began`, waits for `GO`, and writes `ended`."""
    here = str(runbooks.folder)
    waits = f"until test -e {GO}; do sleep 0.1; done"
    program = runbooks.write("it", f"#!/bin/sh\ncd {here}\n{text}\necho began >> log\n{waits}\necho ended >> log\n")
    done = runbooks.write("done", f"#!/bin/sh\ngrep -q ended {here}/log\n")
    command = {"crash": "witnessed", "run": [str(program)], "check": {"run": [str(done)]}}
    entry = {**runbooks.entry(), "commands": {"it": command}}
    targets = runbooks.folder / "targets.yaml"
    targets.write_text(yaml.safe_dump({"drivers": [entry]}))
    log = runbooks.folder / "log"
    log.touch()
    effector = subprocess.Popen([sys.executable, "-c", before + ACTS, str(targets)])
    notes = runbooks.folder / "running"
    noted = (lambda: True) if before else (lambda: any(note.stat().st_size for note in notes.glob("*.json")))
    eventually(lambda: log.read_text() != "" and noted(), 120)
    effector.kill()
    effector.wait()
    return driver_of(entry)


@pytest.mark.parametrize("before", ["", DIES_BEFORE_IT_NOTES_THE_PROCESS], ids=["noted", "not noted"])
def test_a_command_that_outlives_its_effector_is_waited_for(runbooks: Runbooks, before: str) -> None:
    driver = left_running(runbooks, before=before)
    with pytest.raises(TransientError, match="still running"):
        apply(driver, act("it"), 0.3)
    runbooks.flag(GO, up=True)
    assert not apply(driver, act("it"))
    assert (runbooks.folder / "log").read_text() == "began\nended\n"


def test_what_such_a_command_leaves_running_is_not_waited_for(runbooks: Runbooks) -> None:
    driver = left_running(runbooks, "sleep 600 &\necho $! > child")
    runbooks.flag(GO, up=True)
    assert not apply(driver, act("it"), timeout_s=60.0)
    assert "ended" in (runbooks.folder / "log").read_text()
    os.kill(int((runbooks.folder / "child").read_text()), signal.SIGKILL)


def test_a_target_that_is_taken_is_left_alone(runbooks: Runbooks, driver: CommandDriver) -> None:
    with alone(driver._place("web"), 0.0), pytest.raises(TransientError, match="still running"):
        apply(driver, RESTART.action, 0.1)
    assert apply(driver, RESTART.action)
    assert runbooks.history == ["restart web"]


def command(**fields: Any) -> dict[str, Any]:
    return {"crash": "blind", "run": ["/bin/true"], **fields}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (command(run=["true"]), "absolute path"),
        (command(run=["/bin/{target}"]), "absolute path"),
        (command(run=["/bin/echo", "{size}"]), "filled in by nothing"),
        (command(run=["/bin/echo", "{target!r}"]), "filled in by nothing"),
        (command(run=["/bin/echo", "{"]), "no template"),
        (command(crash="convergent"), "cannot be without a `check`"),
        (command(check={"run": ["/bin/true"]}), "cannot be with a `check`"),
        (command(undo=["/bin/true"]), "undo_check"),
        (command(crash="keyed"), "crash"),
        (command(parameters={"size": "["}), "no regular expression"),
        (command(shell=True), "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CommandSettings.model_validate({"targets": ["web"], "commands": {"it": declared}})


def test_each_command_is_a_verb_with_its_own_class(driver: CommandDriver) -> None:
    assert driver.verbs == {
        "set_size": CrashClass.CONVERGENT,
        "restart": CrashClass.WITNESSED,
        "announce": CrashClass.BLIND,
    }
    assert driver.reverts == {"set_size"}
