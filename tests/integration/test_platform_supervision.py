"""The supervisord of a home: its configuration means what was asked, and processes end as they should."""

import socket
import sys
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from autopilot.infra.platform.ports import PortInUseError, free_port, is_free, require_free
from autopilot.infra.platform.processes import ProcessError, ServerProcess, tail
from autopilot.infra.platform.supervision import Program, Supervision, configuration, socket_path

SLEEP = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up'); time.sleep(60)"


def test_supervisord_reads_what_was_meant(tmp_path: Path) -> None:
    odd = {"PASSWORD": 'a"b%c\\d', "HOME": "/a b", "NAME": "it's, so", "EMPTY": ""}
    program = Program("agent", ["/usr/bin/env", "a b", "100%"], odd, start_seconds=3)
    conf = tmp_path / "supervisord.conf"
    (tmp_path / "logs").mkdir()
    conf.write_text(configuration(tmp_path, tmp_path / "s.sock", [program]))
    options = ServerOptions()
    options.realize(["-c", str(conf)])
    (group,) = options.process_group_configs
    (read,) = group.process_configs
    assert (read.name, read.startsecs, read.autostart) == ("agent", 3, False)
    assert read.command == "/usr/bin/env 'a b' 100%"
    assert read.environment == odd


def test_what_supervisord_cannot_pass_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="`PASSWORD` holds both kinds of quotation mark"):
        configuration(tmp_path, tmp_path / "s.sock", [Program("agent", ["true"], {"PASSWORD": "a\"b'"})])


def test_a_long_home_gets_a_short_socket(tmp_path: Path) -> None:
    assert socket_path(Path("/short")) == Path("/short/supervisord.sock")
    deep = tmp_path / ("x" * 120)
    assert len(str(socket_path(deep))) < 100
    assert socket_path(deep) != socket_path(deep / "other")


def test_programs_start_keep_going_and_end(tmp_path: Path) -> None:
    supervision = Supervision(tmp_path)
    assert not supervision.is_running()
    sleeper = Program("sleeper", [sys.executable, "-c", SLEEP], start_seconds=0)
    supervision.ensure([sleeper])
    try:
        supervision.start(["sleeper"])
        (before,) = supervision.states(["sleeper"])
        supervision.ensure([sleeper])
        supervision.start(["sleeper"])
        (after,) = supervision.states(["sleeper"])
        assert before.pid == after.pid > 0
        supervision.stop(["sleeper"])
        (stopped,) = supervision.states(["sleeper"])
        assert (stopped.state, stopped.pid) == ("STOPPED", 0)
    finally:
        supervision.shutdown()
    assert not supervision.is_running()


def test_a_changed_program_is_restarted_with_the_change(tmp_path: Path) -> None:
    supervision = Supervision(tmp_path)
    program = Program("echo", [sys.executable, "-u", "-c", "import os, time; print(os.environ['A']); time.sleep(60)"])
    try:
        for value in ("one", "two"):
            supervision.ensure([Program(program.name, program.command, {"A": value})])
            supervision.start(["echo"])
        assert tail(supervision.log_of("echo")).splitlines() == ["one", "two"]
    finally:
        supervision.shutdown()


def test_a_program_that_keeps_ending_is_named_with_its_log(tmp_path: Path) -> None:
    supervision = Supervision(tmp_path)
    supervision.ensure([Program("broken", [sys.executable, "-c", "raise SystemExit('no such luck')"], start_seconds=1)])
    try:
        with pytest.raises(ProcessError, match=r"(?s)broken keeps ending.*no such luck"):
            supervision.start(["broken"], timeout_s=90)
    finally:
        supervision.shutdown()


def test_a_process_that_ends_early_is_named_with_its_log(tmp_path: Path) -> None:
    process = ServerProcess("server", [sys.executable, "-c", "print('bad option')"], {}, tmp_path / "server.log")
    process.start()
    with pytest.raises(ProcessError, match=r"(?s)server ended.*bad option"):
        process.wait_until(lambda: False, 20)
    process.stop()


def test_a_taken_port_is_named_with_its_setting() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUseError, match=f"{port} .*`AUTOPILOT_X`"):
        require_free(port, "AUTOPILOT_X")
