"""Programs on the effector's machine, such as runbooks. A verb is a declared command, a target one of a declared list.

convergent, witnessed   its check says whether there is anything to do; with nothing to do it is not run
blind                   it is run once; a failure whose exit code does not say otherwise counts as unknown

An exit code that the settings do not explain, a signal or an end by time is told as a time-out: part of the effect may
be there. The exit codes of sysexits.h are explained from the start, and say that nothing was changed.

State keys: `target`, and every `FIELD=VALUE` that `observe` prints. A state is all of what is printed or an error: what
was cut would be taken for lost. A value that may not be told is known to be there, and is put into no command.
"""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from autopilot.infra.effector.drivers.command_process import Ended, Held, Surroundings, alone, run_program
from autopilot.infra.effector.drivers.command_settings import (
    BEFORE,
    KEY,
    TARGET,
    Check,
    Command,
    CommandSettings,
    filled,
)
from autopilot.infra.effector.drivers.parameter_bounds import check_parameters
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
    TransientError,
    nothing_to_put_back,
)
from autopilot.schemas.events.planner import Action

__all__ = ["CommandDriver", "CommandSettings"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_FIELDS = 64
MAX_VALUE = 500
MAX_OBSERVED = 1_048_576
"""Bounds of a declared state: fields, characters of a value, and bytes of the output that it is read from."""
MAX_TOLD = 65_536
"""How much of an output's end is looked at to tell of it, or to find what a check asks for."""
REDACTED = "(redacted)"
NO_KEY = "none"
"""What `{key}` is where nothing is done."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x09\x0a\x20-\x7e\xa0-\uffff]")
_FIELD = re.compile(r"([A-Za-z_][\w.-]{0,63})=(.*)")
_MEANINGS: Mapping[str, type[TargetError]] = {
    "transient": TransientError,
    "permanent": PermanentError,
    "denied": DeniedError,
    "missing": MissingError,
    "conflict": ConflictError,
}


class CommandDriver:
    """See the module."""

    def __init__(self, settings: CommandSettings) -> None:
        self.name = settings.name
        self.verbs: Mapping[str, CrashClass] = {name: c.crash_class for name, c in settings.commands.items()}
        self.reverts = frozenset(name for name, command in settings.commands.items() if command.undo)
        self._settings = settings
        self._log = structlog.get_logger("autopilot.effector").bind(driver=settings.name)

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        self._check_target(target)
        if self._settings.observe is None:
            return Observation({TARGET: target})
        arguments = filled(self._settings.observe, {TARGET: target})
        ended = self._run(arguments, self._settings.look_seconds, most_output=MAX_OBSERVED)
        if ended.code != 0:
            raise self._failure("observe", ended, Command(run=arguments, crash="blind").exit_codes, TransientError)
        if ended.cut:
            raise PermanentError(f"`observe` printed more than {MAX_OBSERVED} bytes")
        return Observation({TARGET: target, **self._state(ended.output)})

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        """See `Driver.diff`: what the preview prints, or else the check, or else the command itself."""
        command = self._checked(action)
        values = _values(action, observation.state, NO_KEY)
        shown = ""
        if command.check is not None:
            needed, shown = self._needed(action.verb, command.check, values, command)
            if not needed:
                return []
        if command.preview is not None:
            ended = self._run(filled(command.preview, values), self._settings.look_seconds)
            if ended.code != 0:
                raise self._failure(f"preview of {action.verb}", ended, command.exit_codes, PermanentError)
            shown = self._told(ended)
        return [Difference(action.verb, "", shown or " ".join(filled(command.run, values)))]

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        command = self._checked(action)
        return self._do(action, command.run, command.check, _values(action, observation.state, key), timeout_s)

    def happened(self, action: Action, before: Mapping[str, str], _observation: Observation) -> bool | None:
        """See `Driver.happened`."""
        command = self._checked(action)
        if command.check is None:
            return None
        needed, _ = self._needed(action.verb, command.check, _values(action, before, NO_KEY), command)
        return not needed

    def revert(self, action: Action, before: Mapping[str, str], key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`: runs the command that undoes it, unless its check finds it undone."""
        command = self._checked(action)
        if command.undo is None:
            raise nothing_to_put_back(action)
        return self._do(action, command.undo, command.undo_check, _values(action, before, key), timeout_s)

    # -- commands ----------------------------------------------------------------------------------------------------

    def _do(
        self, action: Action, run: tuple[str, ...], check: Check | None, values: Mapping[str, str], timeout_s: float
    ) -> Applied:
        command = self._settings.commands[action.verb]
        arguments = filled(run, values)
        until = time.monotonic() + min(timeout_s, self._settings.max_seconds)
        with alone(self._place(action.target), until) as held:
            if check is not None and not self._needed(action.verb, check, values, command)[0]:
                return Applied(changed=False, after=self.observe(action.target).state)
            ended = self._run(arguments, max(0.0, until - time.monotonic()), held)
        self._log.info(
            "command ended", verb=action.verb, target=action.target, code=ended.code, output=self._told(ended)
        )
        if ended.code != 0:
            raise self._failure(action.verb, ended, command.exit_codes, PartialError)
        return Applied(changed=True, after=self._after(action.target))

    def _after(self, target: str) -> Mapping[str, str]:
        try:
            return self.observe(target).state
        except TargetError:  # it is done, whether or not it can be looked at now
            return {TARGET: target}

    def _needed(self, verb: str, check: Check, values: Mapping[str, str], command: Command) -> tuple[bool, str]:
        """Whether the check finds anything to do, and what it printed."""
        ended = self._run(filled(check.run, values), self._settings.look_seconds)
        if ended.code == 0:
            pattern = check.needed_when
            return pattern is not None and re.search(pattern, ended.output) is not None, self._told(ended)
        if ended.code == 1 and check.needed_when is None:
            return True, self._told(ended)
        raise self._failure(f"check of {verb}", ended, command.exit_codes, PermanentError)

    def _run(
        self, arguments: Sequence[str], timeout_s: float, held: Held | None = None, most_output: int = MAX_TOLD
    ) -> Ended:
        settings = self._settings
        surroundings = Surroundings(settings.directory, self._environment(), settings.user, most_output)
        return run_program(arguments, surroundings, timeout_s, held)

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        plain = {"PATH": PATH, "HOME": str(settings.directory), "LANG": "C.UTF-8", **settings.environment}
        return {**plain, **self._secrets()}

    def _secrets(self) -> dict[str, str]:
        files = self._settings.environment_files
        try:
            return {name: path.read_text(encoding="utf-8").strip() for name, path in files.items()}
        except OSError as error:
            raise DeniedError(f"a file of the environment cannot be read: {error}") from None

    def _failure(
        self, what: str, ended: Ended, meanings: Mapping[int, str], otherwise: type[TargetError]
    ) -> TargetError:
        kind = otherwise
        if ended.code is None:
            kind, how = TargetTimeoutError, "did not end in time and was ended"
        elif ended.code < 0:
            how = f"was ended by signal {-ended.code}"
        else:
            kind, how = _MEANINGS.get(meanings.get(ended.code, ""), otherwise), f"ended with exit code {ended.code}"
        said = self._told(ended)
        return kind(f"`{what}` {how}" + (f": {said}" if said else ""))

    def _told(self, ended: Ended) -> str:
        """The end of an output as it may be told: without control characters and without what looks like a secret."""
        text = self._without_secrets(_ESCAPES.sub("", ended.output[-MAX_TOLD:]).strip())
        for pattern in self._settings.redact:
            text = re.sub(pattern, REDACTED, text)
        most = self._settings.max_output_bytes
        return text[-most:] if most else ""

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets().values():
            text = text.replace(secret, REDACTED) if secret else text
        return text

    def _state(self, output: str) -> dict[str, str]:
        """The fields of an output. Their names stay as they are; of a value that may not be told nothing is kept."""
        state: dict[str, str] = {}
        for line in _ESCAPES.sub("", output).splitlines():
            match = _FIELD.fullmatch(line.strip())
            if match is None:
                continue
            field, value = match.groups()
            if len(value) > MAX_VALUE:
                raise PermanentError(f"`observe` printed `{field}` with more than {MAX_VALUE} characters")
            state[field] = self._value(field, value)
        if len(state) > MAX_FIELDS:
            raise PermanentError(f"`observe` printed {len(state)} fields, expected at most {MAX_FIELDS}")
        return state

    def _value(self, field: str, value: str) -> str:
        line = f"{field}={value}"
        told = all(match.end() <= len(field) + 1 for p in self._settings.redact for match in re.finditer(p, line))
        return value if told and self._without_secrets(value) == value else REDACTED

    # -- bounds ------------------------------------------------------------------------------------------------------

    def _check_target(self, target: str) -> None:
        if target not in self._settings.targets:
            raise MissingError(f"there is no target `{target}`, expected one of {', '.join(self._settings.targets)}")

    def _checked(self, action: Action) -> Command:
        self._check_target(action.target)
        command = self._settings.commands.get(action.verb)
        if command is None:
            raise PermanentError(f"there is no command `{action.verb}`, expected one of {', '.join(self.verbs)}")
        check_parameters(action.verb, action.parameters, command.parameters)
        return command

    def _place(self, target: str) -> Path:
        name = hashlib.sha256(f"{self.name}\0{target}".encode()).hexdigest()[:32]
        return self._settings.run_dir / f"{name}.json"


def _values(action: Action, before: Mapping[str, str], key: str) -> dict[str, str]:
    state = {BEFORE + field: value for field, value in before.items() if value != REDACTED}
    return {**state, **action.parameters, TARGET: action.target, KEY: key}
