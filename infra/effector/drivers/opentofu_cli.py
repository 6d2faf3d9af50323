"""The OpenTofu (or Terraform) command: no shell, a process group of its own, a time limit, errors as those of the port.

What it prints goes to files: one that outlives its effector can finish and save its state, and leaves the lock as it
should. When its time is over it is interrupted as by a person, so that it may save its state, and killed soon after.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    Difference,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)

MOST_TOLD = 600
_KINDS: Sequence[tuple[str, type[TargetError]]] = (
    (
        r"access ?denied|permission denied|forbidden|unauthori[sz]ed|not authori[sz]ed|requires auth|invalid auth|"
        r"no valid credential|invalidclienttokenid|expiredtoken|signaturedoesnotmatch|authentication failed|"
        r"(?:status|code|http|error)\D{0,12}40[13]\b",
        DeniedError,
    ),
    (
        r"connection (?:refused|reset|timed out)|i/o timeout|no such host|tls handshake timeout|deadline exceeded|"
        r"unexpected eof|giving up after \d+ attempt|throttl|too many requests|rate exceeded|service unavailable|"
        r"(?:status|code|http|error)\D{0,12}(?:429|50[0234])\b",
        TransientError,
    ),
    (r"acquiring the state lock|state lock|already locked|plan is stale", ConflictError),
    (r"no configuration files|no such file or directory", MissingError),
)
"""What the program says -> what that is; the first that matches counts, and what matches none is permanent."""


class Ended(NamedTuple):
    """How the program ended: its exit code, what it printed and what it complained of."""

    code: int
    output: str
    complaint: str


class Plan(NamedTuple):
    """What a saved plan would change."""

    path: Path
    variables: Mapping[str, Any]
    """What it was made with."""
    differences: Sequence[Difference]
    changes: int
    deletions: int
    anything: bool
    """Whether applying it would change the state at all; outputs count too."""


class Tofu(NamedTuple):
    """The program, as it is run in one folder of a configuration."""

    binary: Path
    environment: Mapping[str, str]
    folder: Path
    lock_wait_s: float
    grace_s: float

    def state(self, scratch: Path, deadline: float) -> dict[str, Any]:
        """The state; empty before the first apply."""
        pulled = self._checked(["state", "pull", "-no-color"], scratch, deadline)
        try:
            state: dict[str, Any] = json.loads(pulled.output) if pulled.output.strip() else {}
        except ValueError:
            raise PermanentError(f"the state of {self.folder.name} is not JSON") from None
        return state

    def plan(self, saved: Path, variables: Mapping[str, Any], deadline: float) -> Plan:
        """A plan with these variables, saved there; their file is beside it."""
        scratch, given = saved.parent, saved.with_suffix(".tfvars.json")
        given.write_text(json.dumps(dict(variables)), encoding="utf-8")
        options = ["-input=false", "-json", "-detailed-exitcode", f"-var-file={given}", f"-out={saved}"]
        planned = self._checked(["plan", *options, self._lock(deadline)], scratch, deadline, also=2)
        shown = json.loads(self._checked(["show", "-json", "-no-color", str(saved)], scratch, deadline).output)
        return _plan(saved, variables, shown, planned.code == 2)

    def apply(self, scratch: Path, plan: Plan, deadline: float) -> None:
        """Applies exactly that plan. Raises `ConflictError` when the state is no longer what it was made for."""
        self._checked(["apply", "-input=false", "-json", self._lock(deadline), str(plan.path)], scratch, deadline)

    def _lock(self, deadline: float) -> str:
        return f"-lock-timeout={max(0, int(min(self.lock_wait_s, deadline - time.monotonic())))}s"

    def _checked(self, arguments: Sequence[str], scratch: Path, deadline: float, also: int = 0) -> Ended:
        ended = self._run(arguments, scratch, deadline)
        if ended.code not in (0, also):
            said = ended.complaint or f"exit code {ended.code}"
            raise _kind(said)(f"{arguments[0]} of {self.folder.name}: {said}"[:MOST_TOLD])
        return ended

    def _run(self, arguments: Sequence[str], scratch: Path, deadline: float) -> Ended:
        out, err = scratch / "out", scratch / "err"
        with out.open("wb") as output, err.open("wb") as errors:
            try:
                process = subprocess.Popen(
                    [str(self.binary), *arguments],
                    cwd=self.folder,
                    env=dict(self.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                kind = DeniedError if isinstance(error, PermissionError) else PermanentError
                raise kind(f"{self.binary} cannot be run: {error.strerror}") from None
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _end(process, self.grace_s)
            raise TargetTimeoutError(f"{arguments[0]} of {self.folder.name} did not end in time") from None
        printed = out.read_text(encoding="utf-8", errors="replace")
        return Ended(code, printed, _complaint(printed, err.read_text(encoding="utf-8", errors="replace")))


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _complaint(output: str, errors: str) -> str:
    """Its diagnostics, whether it printed them for programs or for people."""
    told = [text for line in output.splitlines() if (text := _diagnostic(line))]
    return "; ".join(told) or " ".join(errors.replace("│", " ").replace("╷", " ").replace("╵", " ").split())


def _diagnostic(line: str) -> str:
    try:
        said = json.loads(line)
    except ValueError:
        return ""
    found = said.get("diagnostic") if isinstance(said, dict) else None
    if not isinstance(found, dict) or found.get("severity") != "error":
        return ""
    return " ".join(f"{found.get('summary', '')}: {found.get('detail', '')}".split())


def _kind(said: str) -> type[TargetError]:
    return next((kind for pattern, kind in _KINDS if re.search(pattern, said.lower())), PermanentError)


def _plan(path: Path, variables: Mapping[str, Any], shown: Mapping[str, Any], anything: bool) -> Plan:
    changed = [one for one in shown.get("resource_changes", []) if set(one["change"]["actions"]) - {"no-op", "read"}]
    deletions = sum("delete" in one["change"]["actions"] for one in changed)
    differences = [difference for one in changed for difference in _differences(one)]
    return Plan(path, variables, differences, len(changed), deletions, anything)


def _differences(resource: Mapping[str, Any]) -> Iterator[Difference]:
    """One difference for a resource that comes or goes, one for each attribute of a resource that is changed."""
    address, change = str(resource["address"]), resource["change"]
    actions = set(change["actions"])
    if actions == {"update"}:
        yield from _attributes(address, change)
    else:
        after = "replaced" if actions >= {"create", "delete"} else "created" if "create" in actions else "deleted"
        yield Difference(address, "absent" if after == "created" else "present", after)


def _attributes(address: str, change: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown, hidden = change.get("after_unknown") or {}, (change.get("before_sensitive"), change.get("after_sensitive"))
    for name in sorted({*before, *after, *unknown}):
        secret = any((isinstance(one, dict) and one.get(name)) or one is True for one in hidden)
        old, new = json.dumps(before.get(name)), json.dumps(after.get(name))
        if unknown.get(name):
            new = "(known after apply)"
        if old != new:
            yield Difference(f"{address}.{name}", *(("(sensitive)", "(sensitive, changed)") if secret else (old, new)))
