"""One configuration: the variables that are set in it, its state, and a note of what was begun.

Variables are in `autopilot.auto.tfvars.json`, which the program reads by itself, so that a person's plan finds what
ours left. It is written right before a plan is applied, and put back when that changed nothing. The note that is
written with it tells the same act, tried again or undone, from another writer's.
"""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from autopilot.infra.effector.drivers.opentofu_cli import Plan, Tofu
from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
)

VARIABLES_FILE = "autopilot.auto.tfvars.json"
LAST_LOOK_S = 2.0
"""How long a look at what a failure left may take, when the time is over."""
_OWN_FOLDER = Path(".terraform", "autopilot")
_SCRATCH = "plans-"
_in_use: set[Path] = set()
"""The folders for plans of this process; any other was left by one that died, whatever its process id was."""
_making = threading.Lock()


class State(NamedTuple):
    """What is told of a state: which one it is, how often it was written, and what it has."""

    lineage: str
    serial: int
    outputs: Mapping[str, str]
    resources: int


class Begun(NamedTuple):
    """What was begun: from which state, to which variables; and the serial that a failure left behind, if known."""

    lineage: str
    serial: int
    variables: Mapping[str, Any]
    reached: int | None = None

    def accounts_for(self, wanted: Mapping[str, Any], before: Mapping[str, str], now: State) -> bool:
        """Whether the state is where an act with this wish, begun in the state `before`, may have left it.

        What `before` does not tell is not asked for.
        """
        began = (before.get("lineage", self.lineage), before.get("serial", str(self.serial)))
        same = began == (self.lineage, str(self.serial)) and dict(self.variables) == dict(wanted)
        return same and self.lineage in ("", now.lineage) and self.reached in (None, now.serial)


class Workspace:
    """A folder with a configuration. Its own files are in `.terraform`, which is in nobody's repository."""

    def __init__(self, folder: Path, tofu: Tofu) -> None:
        if not folder.is_dir():
            raise MissingError(f"there is no configuration `{folder.name}`")
        self._tofu = tofu
        self._file = folder / VARIABLES_FILE
        self._own = folder / _OWN_FOLDER
        self._note = self._own / "begun.json"

    def variables(self) -> dict[str, Any]:
        """What the file sets. Raises `MissingError` without it."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingError(f"`{self._file.parent.name}` has no {VARIABLES_FILE}") from None
        except PermissionError as error:
            raise DeniedError(f"{self._file}: {error.strerror}") from None
        except (OSError, ValueError) as error:
            raise PermanentError(f"{self._file}: {error}") from None
        if not isinstance(found, dict):
            raise PermanentError(f"{self._file} is not a JSON object")
        return found

    def set_variables(self, values: Mapping[str, Any]) -> None:
        """Writes the file anew, at once."""
        fresh = self._file.with_name(f".{VARIABLES_FILE}.new")
        try:
            fresh.write_text(json.dumps(dict(values), indent=2, sort_keys=True) + "\n", encoding="utf-8")
            fresh.replace(self._file)
        except OSError as error:
            raise DeniedError(f"{self._file} cannot be written: {error.strerror}") from None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for plans, which may hold secrets; what an effector that died left of its own is removed."""
        try:
            self._own.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _making:
                made = self._own / Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._own)).name
                _in_use.add(made)
        except OSError as error:
            raise DeniedError(f"{self._own} cannot be written: {error.strerror}") from None
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
            _in_use.discard(made)

    def state(self, scratch: Path, deadline: float) -> State:
        """The state as it is."""
        found = self._tofu.state(scratch, deadline)
        outputs = {
            name: as_text(o.get("value")) for name, o in found.get("outputs", {}).items() if not o.get("sensitive")
        }
        managed = [one for one in found.get("resources", []) if one.get("mode") == "managed"]
        count = sum(len(one.get("instances", [])) for one in managed)
        return State(str(found.get("lineage", "")), int(found.get("serial", 0)), outputs, count)

    def plan(self, scratch: Path, variables: Mapping[str, Any], deadline: float, name: str = "plan") -> Plan:
        """A plan with these variables, saved as `name`."""
        return self._tofu.plan(scratch / name, variables, deadline)

    def apply(self, scratch: Path, plan: Plan, begun: Begun, state: State, deadline: float) -> None:
        """Applies a saved plan, and keeps what tells how far it got. Raises `PartialError` when part of it is there."""
        earlier, old = self.begun(), self.variables()
        self._write_note(begun._replace(reached=None))
        self.set_variables(plan.variables)
        try:
            self._tofu.apply(scratch, plan, deadline)
        except TargetError as error:
            reached = self._serial(scratch, deadline)
            if reached == state.serial:
                self.set_variables(old)
                self._put_back(earlier)
            else:
                self._write_note(begun._replace(reached=reached))
            if self.begun() is None or isinstance(error, (TargetTimeoutError, ConflictError)):
                raise
            raise PartialError(f"part of it is there: {error}") from error

    def begun(self) -> Begun | None:
        """What was begun and not ended."""
        try:
            return Begun(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def end(self) -> None:
        """Nothing is under way any more."""
        self._note.unlink(missing_ok=True)
        with _making:
            for left in set(self._own.glob("*-*")) - _in_use:
                shutil.rmtree(left, ignore_errors=True)

    def _serial(self, scratch: Path, deadline: float) -> int | None:
        try:
            return self.state(scratch, max(deadline, time.monotonic() + LAST_LOOK_S)).serial
        except TargetError:
            return None

    def _put_back(self, earlier: Begun | None) -> None:
        if earlier is None:
            self.end()
        else:
            self._write_note(earlier)

    def _write_note(self, begun: Begun) -> None:
        fresh = self._note.with_suffix(".new")
        fresh.write_text(json.dumps(begun._asdict()), encoding="utf-8")
        fresh.replace(self._note)


def as_text(value: Any) -> str:
    """A value as a state has it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
