"""What the command driver may run: programs by absolute path, with fixed arguments and parameters within patterns."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from autopilot.infra.effector.drivers.parameter_bounds import Pattern
from autopilot.infra.effector.port import CrashClass, PermanentError
from autopilot.schemas.configuration import Name

TARGET, KEY, BEFORE = "target", "key", "before_"
"""Placeholders besides the parameters: the target, the idempotency key, `before_FIELD` of the state before the act."""
Meaning = Literal["transient", "permanent", "denied", "missing", "conflict"]
SYSEXITS: Mapping[int, Meaning] = {
    64: "permanent",
    66: "missing",
    67: "missing",
    68: "missing",
    69: "transient",
    75: "transient",
    77: "denied",
}
"""Exit codes of sysexits.h: usage, no input, no user, no host, unavailable, temporary failure, no permission."""
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _starts_with_a_path(arguments: tuple[str, ...]) -> tuple[str, ...]:
    if not arguments or not Path(arguments[0]).is_absolute() or "{" in arguments[0]:
        raise ValueError("its first part must be the absolute path of a program")
    try:
        for argument in arguments:
            list(Formatter().parse(argument))
    except ValueError as error:
        raise ValueError(f"no template: {error}") from None
    return arguments


Arguments = Annotated[tuple[str, ...], AfterValidator(_starts_with_a_path)]
"""A program and its arguments, each perhaps with `{PLACEHOLDER}`s; braces themselves are doubled."""


class Check(_Declared):
    """A command that says whether there is anything to do, and changes nothing.

    With `needed_when` it must end with 0, and there is something to do when its output matches; without, 0 says that
    nothing is left to do and 1 that something is. Any other exit code says nothing.
    """

    run: Arguments
    needed_when: Pattern | None = None


class Command(_Declared):
    """One command: a verb. `undo` puts back what it changed and must do so once, however often it is run.

    `crash` is its class: `convergent` when running it again does no harm; `witnessed` when its check tells from the
    state before whether it happened; `blind` when nothing tells. `preview` prints what it would change.
    """

    run: Arguments
    crash: Literal["convergent", "witnessed", "blind"]
    parameters: dict[str, Pattern] = {}
    check: Check | None = None
    preview: Arguments | None = None
    undo: Arguments | None = None
    undo_check: Check | None = None
    exit_codes: dict[Annotated[int, Field(ge=1, le=255)], Meaning] = dict(SYSEXITS)

    @property
    def crash_class(self) -> CrashClass:
        """Its crash class."""
        return CrashClass(self.crash)

    @model_validator(mode="after")
    def _its_class_can_be_kept(self) -> Self:
        if (self.check is None) is not (self.crash == "blind"):
            raise ValueError(f"it is {self.crash}, which it cannot be {'with' if self.check else 'without'} a `check`")
        if (self.undo is None) is not (self.undo_check is None):
            raise ValueError("`undo` and `undo_check` go together: without the second nobody knows that it was undone")
        return self

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        for arguments in (self.run, self.preview, self.undo, *(c.run for c in (self.check, self.undo_check) if c)):
            check_placeholders(arguments or (), {*self.parameters, TARGET, KEY}, before=True)
        return self


class CommandSettings(_Declared):
    """The commands by name, the targets that they may be run for, and how they are run.

    `observe` prints the declared state of a target, a `FIELD=VALUE` on each line. The environment of a command is
    `environment`, the contents of `environment_files`, a plain PATH, HOME (the working directory) and LANG: nothing of
    the effector's own. `redact` are patterns of what is never told of an output.
    """

    name: str = "command"
    targets: list[str] = Field(min_length=1)
    commands: dict[Name, Command] = Field(min_length=1)
    observe: Arguments | None = None
    directory: Path = Path("/")
    user: str = ""
    environment: dict[str, str] = {}
    environment_files: dict[str, Path] = {}
    redact: list[Pattern] = [r"(?i)(password|passwd|secret|token|api[_-]?key)(\S*?[\"']?\s*[=:]\s*)\S+"]
    max_output_bytes: int = Field(default=4_000, ge=0, le=64_000, description="how much of an output's end is kept")
    max_seconds: float = Field(default=600.0, gt=0, description="bound of every command, whatever a plan says")
    look_seconds: float = Field(default=30.0, gt=0, description="bound of `observe`, `check` and `preview`")
    run_dir: Path = Path(tempfile.gettempdir()) / f"autopilot-commands-{os.getuid()}"

    @model_validator(mode="after")
    def _observe_knows_the_target(self) -> Self:
        check_placeholders(self.observe or (), {TARGET}, before=False)
        return self


def check_placeholders(arguments: tuple[str, ...], known: set[str], *, before: bool) -> None:
    """Raises `ValueError` for a placeholder that nothing will fill in."""
    for name in placeholders(arguments):
        if name not in known and not (before and name.startswith(BEFORE)):
            raise ValueError(f"`{{{name}}}` is filled in by nothing; known are {', '.join(sorted(known))}")


def placeholders(arguments: tuple[str, ...]) -> Iterator[str]:
    """The names of the placeholders, in order."""
    for argument in arguments:
        for _, name, spec, conversion in Formatter().parse(argument):
            if name is not None:
                yield name if not spec and not conversion else f"{name}:{spec}{conversion or ''}"


def filled(arguments: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
    """The arguments with their placeholders filled in. No value makes an option of an argument that was none.

    Raises `PermanentError` for a value that is missing or no plain text.
    """
    made = []
    for argument in arguments:
        for name in placeholders((argument,)):
            if _PRINTABLE.fullmatch(values.get(name, "\0")) is None:
                raise PermanentError(f"`{{{name}}}` is `{values.get(name, 'nowhere told')}`, expected plain text")
        text = "".join(
            literal + ("" if name is None else values[name]) for literal, name, _, _ in Formatter().parse(argument)
        )
        if text.startswith("-") and not argument.startswith("-"):
            raise PermanentError(f"`{argument}` becomes `{text}`, which would be taken for an option")
        made.append(text)
    return made
