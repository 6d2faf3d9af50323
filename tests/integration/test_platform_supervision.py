"""The supervisord of a home: its configuration means what was asked, and processes end as they should."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor.options import ServerOptions
from waiting import eventually

from autopilot.infra.platform import ports
from autopilot.infra.platform.ports import PortInUseError, free_port, is_free, listens, require_free
from autopilot.infra.platform.processes import ProcessError, ServerProcess
from autopilot.infra.platform.supervision import (
    Program,
    Reload,
    Supervision,
    configuration,
    difference,
    socket_path,
)

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


@pytest.fixture
def supervision(tmp_path: Path) -> Iterator[Supervision]:
    supervision = Supervision(tmp_path)
    yield supervision
    supervision.shutdown()


def sleeper(name: str, **environment: str) -> Program:
    secret = frozenset({"PASSWORD"})
    return Program(name, [sys.executable, "-c", SLEEP], environment, start_seconds=0, unsaid=secret)


def pids(supervision: Supervision) -> dict[str, int]:
    return {state.name: state.pid for state in supervision.states()}


def test_programs_start_keep_going_and_end(supervision: Supervision) -> None:
    assert not supervision.is_running()
    assert supervision.load([sleeper("one")]) == Reload()
    supervision.start(["one"])
    before = pids(supervision)
    assert supervision.load([sleeper("one")]) == Reload([], {}, [])
    supervision.start(["one"])
    assert pids(supervision) == before
    supervision.stop(["one"])
    (stopped,) = supervision.states(["one"])
    assert (stopped.state, stopped.pid) == ("STOPPED", 0)
    supervision.shutdown()
    assert not supervision.is_running()


def test_what_has_changed_is_told_and_replaced_and_the_rest_goes_on(supervision: Supervision) -> None:
    supervision.load([sleeper("same", A="1"), sleeper("other", A="1", PASSWORD="p%1"), sleeper("gone")])
    supervision.start(["same", "other", "gone"])
    before = pids(supervision)
    reload = supervision.load(
        [sleeper("same", A="1"), sleeper("other", A="2", PASSWORD="q%1", B="b c"), sleeper("new")]
    )
    assert reload == Reload(["new"], {"other": "A 1 -> 2, B (none) -> b c, PASSWORD changed"}, ["gone"])
    assert pids(supervision) == before
    supervision.stop(reload.to_stop)
    supervision.replace(reload)
    supervision.start(["same", "other", "new"])
    after = pids(supervision)
    assert set(after) == {"same", "other", "new"}
    assert after["same"] == before["same"]
    assert after["other"] not in (0, before["other"])


@pytest.mark.parametrize("stopped", [True, False])
def test_a_changed_program_that_is_about_to_be_started_again_is_replaced(
    supervision: Supervision, stopped: bool
) -> None:
    def failing(a: str) -> Program:
        return Program("weak", ["/bin/sh", "-c", "exit 1"], {"A": a}, start_seconds=5)

    supervision.load([failing("1"), sleeper("other", A="1")])

    def backs_off() -> bool:
        with pytest.raises(ProcessError, match="weak"):
            supervision.start(["weak"], timeout_s=0.5)
        (weak,) = supervision.states(["weak"])
        return (weak.state, weak.pid) == ("BACKOFF", 0)

    supervision.start(["other"])
    eventually(backs_off)
    reload = supervision.load([failing("2"), sleeper("other", A="2")])
    assert set(reload.to_stop) == {"weak", "other"}
    if stopped:
        supervision.stop(reload.to_stop)
    supervision.replace(reload)
    assert [state.state for state in supervision.states()] == ["STOPPED", "STOPPED"]
    assert supervision.load([failing("2"), sleeper("other", A="2")]) == Reload([], {}, [])


def test_what_has_words_of_its_own_is_said_in_them_when_it_had_another_value() -> None:
    def conf(**environment: str) -> str:
        return configuration(Path("/h"), Path("/h/s"), [Program("agent", ["true"], environment)])

    said_as = {"ID": "its key changed"}
    assert difference(conf(ID="a"), conf(ID="b"), "agent", said_as=said_as) == "its key changed"
    assert difference(conf(), conf(ID="b"), "agent", said_as=said_as) == "ID (none) -> b"


def test_a_reload_that_was_broken_off_is_found_again(supervision: Supervision) -> None:
    supervision.load([sleeper("one", A="1")])
    supervision.load([sleeper("one", A="2")])
    reload = supervision.load([sleeper("one", A="2")])
    assert list(reload.changed) == ["one"]
    supervision.replace(reload)
    assert supervision.load([sleeper("one", A="2")]) == Reload([], {}, [])


def test_a_program_that_died_for_good_is_started_again(supervision: Supervision, tmp_path: Path) -> None:
    file = tmp_path / "now"
    dying = [sys.executable, "-c", f"import pathlib, time; pathlib.Path({str(file)!r}).read_text(); time.sleep(60)"]
    supervision.load([Program("weak", dying, start_seconds=1)])
    with pytest.raises(ProcessError, match=r"(?s)weak keeps ending.*No such file"):
        supervision.start(["weak"], timeout_s=90)
    file.touch()
    assert supervision.load([Program("weak", dying, start_seconds=1)]) == Reload([], {}, [])
    supervision.start(["weak"])
    assert pids(supervision)["weak"] > 0


def test_a_configuration_that_cannot_be_read_is_no_reason_not_to_go_on() -> None:
    assert difference("no section", "", "agent") == "its configuration of before cannot be read"


def test_a_process_that_ends_early_is_named_with_its_log(tmp_path: Path) -> None:
    process = ServerProcess("server", [sys.executable, "-c", "print('bad option')"], {}, tmp_path / "server.log")
    with pytest.raises(ProcessError, match=r"(?s)server ended.*bad option"):
        process.start(lambda: False, 20)


def test_a_taken_port_is_named_with_its_setting() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUseError, match=f"{port} .*`AUTOPILOT_X`"):
        require_free(port, "AUTOPILOT_X")


def test_no_port_is_picked_twice_and_none_that_the_system_gives_away(monkeypatch: pytest.MonkeyPatch) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    picked = [free_port() for _ in range(20)]
    assert len(set(picked)) == 20
    assert ports.LAST == ports.FIRST or all(port < first for port in picked)
    monkeypatch.setattr(ports, "LAST", ports.FIRST)
    assert is_free(free_port()), "where the system gives all of them away, one of its own"


def test_what_a_process_listens_on_is_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens(os.getpid(), port)
        assert not listens(os.getpid(), free_port())
        assert not listens(1, port)
        assert not listens(0, port)
