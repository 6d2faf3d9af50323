"""Process groups under a supervisord. A target is a group's name.

`restart`         witnessed: every process that is wanted is restarted, one after another; pids and start times show it
`scale`           convergent: `count` processes run; the lowest numbers are started, the highest stopped
`switch_release`  convergent: the group's pointer is set to `release`, then what runs an older one is restarted in turn

A scale is put back to the very processes that ran, a release to both pointers as they were; a restart leaves nothing.

State keys: `release`, `previous_release`, `desired` (processes that are wanted), `running`, `max` (most that may run),
and by process in the group's order `processes`, `states`, `pids`, `started` (whole seconds since the epoch).
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from autopilot.infra.effector.drivers.releases import Releases
from autopilot.infra.effector.drivers.supervisord_client import Process, SupervisordClient
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    CrashClass,
    DeniedError,
    Difference,
    MissingError,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    nothing_to_put_back,
)
from autopilot.schemas.events.planner import Action

POLL_S = 0.05
_ACTIVE = frozenset({"STARTING", "RUNNING", "BACKOFF"})
_AT_REST = frozenset({"STOPPED"})
_GIVEN_UP = frozenset({"FATAL", "EXITED"})
_NUMBER = re.compile(r"\d+")


class SupervisordSettings(BaseModel):
    """How to reach a supervisord and what may be done there.

    `url` is `unix:///path/to/socket` or `http://host:port`. A password in a file is read for each call, so that a new
    one needs no restart. `releases_dir` holds a folder for each group. `max_processes` bounds a group below the number
    that it declares.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "supervisord"
    url: str = Field(pattern=r"^(unix:///.+|http://[^/]+)$")
    username: str = ""
    password: str = Field(default="", repr=False)
    password_file: Path | None = None
    releases_dir: Path | None = None
    max_processes: dict[str, int] = {}

    def secret(self) -> str:
        """The password, from its file when it has one. Raises `DeniedError` when that cannot be read."""
        if self.password_file is None:
            return self.password
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise DeniedError(f"`password_file` cannot be read: {error}") from None


@dataclass
class _Turn:
    """One act: until when it may take, and whether it has changed anything yet."""

    deadline: float
    touched: bool = False


class SupervisordDriver:
    """See the module."""

    verbs: Mapping[str, CrashClass] = {
        "restart": CrashClass.WITNESSED,
        "scale": CrashClass.CONVERGENT,
        "switch_release": CrashClass.CONVERGENT,
    }
    reverts = frozenset({"scale", "switch_release"})

    def __init__(self, settings: SupervisordSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._client = SupervisordClient(settings.url, settings.username, settings.secret)

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        processes = self._group(target)
        releases = self._releases(target)
        return Observation(
            {
                "release": releases.current if releases else "",
                "previous_release": releases.previous if releases else "",
                "desired": str(sum(p.state not in _AT_REST for p in processes)),
                "running": str(sum(p.state == "RUNNING" for p in processes)),
                "max": str(self._most(target, processes)),
                "processes": ",".join(p.name for p in processes),
                "states": ",".join(p.state for p in processes),
                "pids": ",".join(str(p.pid) for p in processes),
                "started": ",".join(str(p.start) for p in processes),
            }
        )

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        """See `Driver.diff`."""
        return self._differences[action.verb](self, action, observation.state)

    def apply(self, action: Action, observation: Observation, _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        return self._act(self._acts[action.verb], action, observation.state, timeout_s)

    def revert(self, action: Action, before: Mapping[str, str], _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`."""
        if action.verb not in self._reversals:
            raise nothing_to_put_back(action)
        return self._act(self._reversals[action.verb], action, before, timeout_s)

    def _act(self, act: "_Act", action: Action, before: Mapping[str, str], timeout_s: float) -> Applied:
        turn = _Turn(time.monotonic() + timeout_s)
        try:
            act(self, action, before, turn)
            return Applied(turn.touched, self.observe(action.target).state)
        except TargetTimeoutError:
            raise
        except TargetError as error:
            if turn.touched:
                raise PartialError(f"it was done in part: {error}") from error
            raise

    def happened(self, action: Action, before: Mapping[str, str], observation: Observation) -> bool | None:
        """See `Driver.happened`: whether every process that was wanted is another one than before, and runs."""
        if before.get("processes") != observation.state["processes"]:
            return None
        now = {p.name: p for p in _parsed(action.target, observation.state)}
        wanted = [p for p in _parsed(action.target, before) if p.state not in _AT_REST]
        return all(now[p.name].state == "RUNNING" and not _same(p, now[p.name]) for p in wanted)

    # -- restart -----------------------------------------------------------------------------------------------------

    def _restart_diff(self, action: Action, state: Mapping[str, str]) -> list[Difference]:
        wanted = [p for p in _parsed(action.target, state) if p.state not in _AT_REST]
        return [Difference(f"process {p.name}", f"pid {p.pid}", "another process") for p in wanted]

    def _restart(self, action: Action, before: Mapping[str, str], turn: _Turn) -> None:
        now = {p.name: p for p in self._group(action.target)}
        old = [p for p in _parsed(action.target, before) if p.state not in _AT_REST and p.name in now]
        for process in (p for p in old if _same(p, now[p.name]) or now[p.name].state != "RUNNING"):
            self._replace(now[process.name], turn)

    # -- scale -------------------------------------------------------------------------------------------------------

    def _scale_diff(self, action: Action, state: Mapping[str, str]) -> list[Difference]:
        count = self._count(action, int(state["max"]))
        up = [p for p in _parsed(action.target, state) if p.state in _ACTIVE]
        running = sum(p.state == "RUNNING" for p in up)
        differences = [Difference("desired", str(len(up)), str(count))] if len(up) != count else []
        return differences + ([Difference("running", str(running), str(count))] if running != count else [])

    def _scale(self, action: Action, _before: Mapping[str, str], turn: _Turn) -> None:
        processes = self._group(action.target)
        count = self._count(action, self._most(action.target, processes))
        active_first = sorted(processes, key=lambda p: p.state not in _ACTIVE)
        self._run_exactly(processes, {p.name for p in active_first[:count]}, turn)

    def _scale_back(self, action: Action, before: Mapping[str, str], turn: _Turn) -> None:
        processes = self._group(action.target)
        ran = {p.name for p in _parsed(action.target, before) if p.state in _ACTIVE}
        most = self._most(action.target, processes)
        if len(ran) > most:
            raise PermanentError(f"`desired` was {len(ran)}, which is out of the bounds 0 to {most}")
        self._run_exactly(processes, ran, turn)

    def _run_exactly(self, processes: Sequence[Process], names: set[str], turn: _Turn) -> None:
        wanted = [p for p in processes if p.name in names]
        for process in (p for p in reversed(processes) if p.name not in names and p.state in _ACTIVE):
            self._stop(process, turn)
        for process in (p for p in wanted if p.state not in _ACTIVE):
            self._await_down(process, turn)
            turn.touched = True
            self._client.start(process.full_name)
        for process in (p for p in wanted if p.state != "RUNNING"):
            self._await_running(process, turn)

    @staticmethod
    def _count(action: Action, most: int) -> int:
        text = action.parameters.get("count", "")
        if not text.isdecimal():
            raise PermanentError(f"`count` is `{text}`, expected a whole number")
        if not 1 <= int(text) <= most:
            raise PermanentError(f"`count` is {text}, which is out of the bounds 1 to {most}")
        return int(text)

    def _most(self, target: str, processes: Sequence[Process]) -> int:
        return min(len(processes), self._settings.max_processes.get(target, len(processes)))

    # -- switch_release ----------------------------------------------------------------------------------------------

    def _switch_diff(self, action: Action, state: Mapping[str, str]) -> list[Difference]:
        releases, release = self._wanted_release(action)
        stale = self._stale(_parsed(action.target, state), releases)
        if state["release"] != release:
            stale = [p for p in _parsed(action.target, state) if p.state not in _AT_REST]
        moved = [Difference("release", state["release"], release)] if state["release"] != release else []
        return moved + [Difference(f"process {p.name}", f"pid {p.pid}", "another process") for p in stale]

    def _switch(self, action: Action, before: Mapping[str, str], turn: _Turn) -> None:
        releases, release = self._wanted_release(action)
        self._check_current(releases, before.get("release", releases.current), release)
        if releases.current != release:
            releases.switch(release)
            turn.touched = True
        self._replace_stale(action.target, releases, before, turn)

    def _switch_back(self, action: Action, before: Mapping[str, str], turn: _Turn) -> None:
        releases, release = self._wanted_release(action)
        self._check_current(releases, before["release"], release)
        if not before["release"]:
            raise PermanentError(f"no release of `{action.target}` was current before")
        for pointer, was in (("current", before["release"]), ("previous", before["previous_release"])):
            if getattr(releases, pointer) != was:
                releases.restore(pointer, was)
                turn.touched = True
        self._replace_stale(action.target, releases, before, turn)

    @staticmethod
    def _check_current(releases: Releases, before: str, after: str) -> None:
        if releases.current not in (before, after):
            raise ConflictError(f"the release was switched to `{releases.current}` by someone else")

    def _replace_stale(self, target: str, releases: Releases, before: Mapping[str, str], turn: _Turn) -> None:
        """Replaces what may run an older release, and what ran before and was stopped by an act that was cut short."""
        processes = self._group(target)
        ran = {p.name for p in _parsed(target, before) if p.state not in _AT_REST}
        stopped = [p for p in processes if p.state in _AT_REST and p.name in ran]
        for process in [*stopped, *self._stale(processes, releases)]:
            self._replace(process, turn, not_before_s=releases.switched_s + 1)

    def _wanted_release(self, action: Action) -> tuple[Releases, str]:
        releases = self._releases(action.target)
        if releases is None:
            raise MissingError(f"there are no releases of `{action.target}`")
        release = action.parameters.get("release", "")
        releases.check(release)
        return releases, release

    @staticmethod
    def _stale(processes: Sequence[Process], releases: Releases) -> list[Process]:
        """Processes that may run an older release: start times are whole seconds, so the switch's own second is old."""
        return [p for p in processes if p.state not in _AT_REST and p.start <= releases.switched_s]

    def _releases(self, target: str) -> Releases | None:
        if self._settings.releases_dir is None or "/" in target or target.startswith("."):
            return None
        folder = self._settings.releases_dir / target
        return Releases(folder) if folder.is_dir() else None

    # -- processes ---------------------------------------------------------------------------------------------------

    def _group(self, target: str) -> list[Process]:
        found = [p for p in self._client.processes() if p.group == target]
        if not found:
            raise MissingError(f"supervisord has no group `{target}`")
        return sorted(found, key=lambda p: (_numbers(p.name), p.name))

    def _replace(self, process: Process, turn: _Turn, *, not_before_s: int = 0) -> None:
        """Stops a process and starts it again; not before a time, so that its start time tells it from older ones."""
        self._stop(process, turn)
        time.sleep(max(0.0, not_before_s - time.time()))
        self._client.start(process.full_name)
        self._await_running(process, turn)

    def _stop(self, process: Process, turn: _Turn) -> None:
        turn.touched = True
        self._client.stop(process.full_name)
        self._await_down(process, turn)

    def _await_down(self, process: Process, turn: _Turn) -> None:
        self._await(process, lambda state: state not in _ACTIVE and state != "STOPPING", turn, "is not down")

    def _await_running(self, process: Process, turn: _Turn) -> None:
        self._await(process, lambda state: state == "RUNNING", turn, "does not run", fatal=_GIVEN_UP)

    def _await(
        self,
        process: Process,
        reached: Callable[[str], bool],
        turn: _Turn,
        complaint: str,
        fatal: frozenset[str] = frozenset(),
    ) -> None:
        while True:
            state = self._client.process(process.full_name).state
            if reached(state):
                return
            if state in fatal:
                raise PermanentError(f"`{process.full_name}` {complaint}: it is {state}")
            if time.monotonic() > turn.deadline:
                raise TargetTimeoutError(f"`{process.full_name}` {complaint} in time: it is {state}")
            time.sleep(POLL_S)

    _differences: ClassVar[
        Mapping[str, Callable[["SupervisordDriver", Action, Mapping[str, str]], list[Difference]]]
    ] = {"restart": _restart_diff, "scale": _scale_diff, "switch_release": _switch_diff}
    _acts: ClassVar[Mapping[str, "_Act"]] = {"restart": _restart, "scale": _scale, "switch_release": _switch}
    _reversals: ClassVar[Mapping[str, "_Act"]] = {"scale": _scale_back, "switch_release": _switch_back}


_Act = Callable[[SupervisordDriver, Action, Mapping[str, str], _Turn], None]


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(name))


def _parsed(target: str, state: Mapping[str, str]) -> list[Process]:
    """The processes in a recorded state."""
    if not state.get("processes"):
        return []
    columns = [state.get(key, "").split(",") for key in ("processes", "states", "pids", "started")]
    return [Process(target, name, is_, int(pid), int(start)) for name, is_, pid, start in zip(*columns, strict=True)]


def _same(one: Process, other: Process) -> bool:
    return (one.pid, one.start) == (other.pid, other.start)
