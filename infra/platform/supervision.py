"""A supervisord of our own: its configuration, how it is started and spoken to, and how it ends.

It restarts what crashes and keeps the logs. It is spoken to over a Unix socket that only its user may open.
"""

import configparser
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from supervisor.datatypes import dict_of_key_value_pairs
from supervisor.xmlrpc import Faults, SupervisorTransport

from autopilot.infra.platform.processes import ProcessError, tail

RUNNING, STARTING, BACKOFF = "RUNNING", "STARTING", "BACKOFF"
NO_WORDS: Final[Mapping[str, str]] = {}
_SOCKET_PATH_MAX = 100
"""Linux allows 107 bytes; supervisord first binds a longer name that ends with its pid."""
_ATTEMPTS = 5
"""How often a process is stopped that was about to be started again."""
_SHOWN = 40
"""Characters of a value that are shown of what has changed."""


@dataclass(frozen=True)
class Program:
    """One process to be supervised."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: int = 1
    stop_seconds: int = 20
    unsaid: frozenset[str] = frozenset()
    """Variables whose values are not said when they have changed."""
    said_as: Mapping[str, str] = field(default_factory=dict)
    """Variable -> what is said instead of both values when it has changed."""


@dataclass(frozen=True)
class Reload:
    """What a running supervisord has otherwise than it should."""

    added: Sequence[str] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    """Program -> what is different about it, for people."""
    removed: Sequence[str] = ()

    @property
    def to_stop(self) -> list[str]:
        """What cannot go on as it is."""
        return [*self.changed, *self.removed]


@dataclass(frozen=True)
class ProgramState:
    """A supervised process as supervisord sees it. `uptime_s` is 0 unless it runs."""

    name: str
    state: str
    pid: int
    uptime_s: int
    detail: str


class Supervision:
    """The supervisord of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._logs = self._home / "logs"
        self._conf = self._home / "supervisord.conf"
        self._socket = socket_path(self._home)
        self.log = self._logs / "supervisord.log"

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._call("getState")["statename"] == RUNNING)
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def load(self, programs: Sequence[Program]) -> Reload:
        """Starts supervisord with `programs`, none of them started; or says what a running one has otherwise.

        It changes nothing that runs: what is to stop is to be stopped, and then `replace` takes the rest over.
        Raises `ProcessError` when supervisord does not come up.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = configuration(self._home, self._socket, programs)
        before = self._conf.read_text() if self._conf.exists() else ""
        self._conf.write_text(text)
        self._conf.chmod(0o600)
        if not self.is_running():
            self._spawn()
            self._await(self.is_running, 60, "supervisord does not come up")
            return Reload()
        ((added, changed, removed),) = self._call("reloadConfig")
        unsaid = frozenset().union(*(program.unsaid for program in programs))
        said_as = {variable: words for program in programs for variable, words in program.said_as.items()}
        return Reload(added, {name: difference(before, text, name, unsaid, said_as) for name in changed}, removed)

    def replace(self, reload: Reload) -> None:
        """Takes over what `load` found. What is `to_stop` and was not stopped, or came up again since, is stopped."""
        for name in reload.to_stop:
            self._remove(name)
        for name in [*reload.added, *reload.changed]:
            self._call("addProcessGroup", name)

    def _remove(self, name: str) -> None:
        for _ in range(_ATTEMPTS):
            try:
                self._call("removeProcessGroup", name)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != Faults.STILL_RUNNING:
                    raise
                self.stop([name])
            else:
                return
        raise ProcessError(f"{name} comes up again whenever it is stopped; {self.log} ends with:\n{tail(self.log)}")

    def _spawn(self) -> None:
        """Starts the daemon without our own variables: each program is given exactly what it needs."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPILOT_")}
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._conf)]
        subprocess.run(command, env=environment, check=True)

    def start(self, names: Iterable[str], timeout_s: float = 60.0) -> None:
        """Starts those that do not run and returns once all do. Raises `ProcessError` for one that will not run."""
        wanted = list(names)
        for state in self.states(wanted):
            if state.state not in (RUNNING, STARTING, BACKOFF):
                self._call("startProcess", state.name, False)
        self._await(lambda: all(self._is_up(state) for state in self.states(wanted)), timeout_s, f"{', '.join(wanted)}")

    def stop(self, names: Iterable[str], timeout_s: float = 60.0) -> None:
        """Asks those to end, all at once, and returns once they have."""
        wanted = [state.name for state in self.states(names) if state.pid or state.state in (STARTING, BACKOFF)]
        for name in wanted:
            try:
                self._call("stopProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != Faults.NOT_RUNNING:  # it has ended since
                    raise
        self._await(lambda: not any(state.pid for state in self.states(wanted)), timeout_s, "stopping")

    def states(self, names: Iterable[str] | None = None) -> list[ProgramState]:
        """The processes, or those of `names`, in the order in which they were given."""
        by_name = {info["name"]: _state(info) for info in self._call("getAllProcessInfo")}
        wanted = list(by_name) if names is None else list(names)
        return [by_name[name] for name in wanted if name in by_name]

    def shutdown(self, timeout_s: float = 60.0) -> None:
        """Ends supervisord with everything that it still runs."""
        if self.is_running():
            self._call("shutdown")
            self._await(lambda: not self._socket.exists(), timeout_s, "supervisord does not end")

    def log_of(self, name: str) -> Path:
        """The log file of a process."""
        return self._logs / f"{name}.log"

    def _is_up(self, state: ProgramState) -> bool:
        if state.state == "FATAL":
            log = self.log_of(state.name)
            raise ProcessError(f"{state.name} keeps ending; its log {log} ends with:\n{tail(log)}")
        return state.state == RUNNING

    def _await(self, done: Any, timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise ProcessError(f"{what}: not within {timeout_s:.0f} s; {self.log} ends with:\n{tail(self.log)}")
            time.sleep(0.1)

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(server.supervisor, method)(*arguments)
        finally:
            transport.close()


def socket_path(home: Path) -> Path:
    """Where the control socket of a home is: in it, or under the temporary folder when its path is too long."""
    inside = home / "supervisord.sock"
    if len(str(inside)) <= _SOCKET_PATH_MAX:
        return inside
    name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"autopilot-{name}" / "supervisord.sock"


def configuration(home: Path, socket: Path, programs: Iterable[Program]) -> str:
    """The text of `supervisord.conf`. Percent signs are doubled, as supervisord expands them."""
    sections: dict[str, dict[str, str]] = {
        "unix_http_server": {"file": str(socket), "chmod": "0600"},
        "supervisord": {
            "logfile": str(home / "logs" / "supervisord.log"),
            "pidfile": str(home / "supervisord.pid"),
            "childlogdir": str(home / "logs"),
            "nocleanup": "true",
            "silent": "true",
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    for program in programs:
        sections[f"program:{program.name}"] = _section(home, program)
    lines = []
    for title, values in sections.items():
        lines += [f"[{title}]", *(f"{name}={value.replace('%', '%%')}" for name, value in values.items()), ""]
    return "\n".join(lines)


def difference(
    before: str,
    after: str,
    name: str,
    unsaid: frozenset[str] = frozenset(),
    said_as: Mapping[str, str] = NO_WORDS,
) -> str:
    """In what the program `name` differs between two configurations, in words; of `unsaid` no value is said.

    A variable in `said_as` that has another value than it had is said in those words.
    """
    try:
        old, new = _read_section(before, name), _read_section(after, name)
    except configparser.Error:
        return "its configuration of before cannot be read"
    was, now = (dict_of_key_value_pairs(section.pop("environment", "")) for section in (old, new))
    said = [
        said_as[variable]
        if variable in said_as and was.get(variable)
        else f"{variable} changed"
        if variable in unsaid
        else f"{variable} {_shown(was, variable)} -> {_shown(now, variable)}"
        for variable in sorted(was.keys() | now.keys())
        if was.get(variable) != now.get(variable)
    ]
    said += [
        f"its {option} changed" for option in sorted(old.keys() | new.keys()) if old.get(option) != new.get(option)
    ]
    return ", ".join(said) or "supervisord did not have it so yet"


def _read_section(text: str, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(delimiters="=", strict=False)
    parser.read_string(text)
    section = f"program:{name}"
    return {o: v.replace("%%", "%") for o, v in parser[section].items()} if parser.has_section(section) else {}


def _shown(environment: Mapping[str, str], variable: str) -> str:
    value = environment.get(variable, "")
    return (value if len(value) <= _SHOWN else value[:_SHOWN] + "...") or "(none)"


def _section(home: Path, program: Program) -> dict[str, str]:
    return {
        "command": shlex.join(program.command),
        "environment": ",".join(f"{name}={_quoted(name, value)}" for name, value in program.environment.items()),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(program.start_seconds),
        "startretries": "3",
        "stopwaitsecs": str(program.stop_seconds),
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(home / "logs" / f"{program.name}.log"),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "3",
    }


def _quoted(name: str, value: str) -> str:
    """The value in the quotation marks that it does not hold itself: supervisord's format has no escape."""
    mark = "'" if '"' in value else '"'
    if mark in value or "\n" in value:
        raise ProcessError(
            f"`{name}` holds both kinds of quotation mark or a line break: supervisord cannot pass it on"
        )
    return f"{mark}{value}{mark}"


def _state(info: Mapping[str, Any]) -> ProgramState:
    runs = info["statename"] == RUNNING
    return ProgramState(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        uptime_s=info["now"] - info["start"] if runs else 0,
        detail=info["spawnerr"] or ("" if runs else info["description"]),
    )
