"""Which configurations the OpenTofu driver may apply, which of their variables it may set, and to what."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autopilot.infra.effector.drivers.parameter_bounds import Pattern
from autopilot.infra.effector.port import PermanentError
from autopilot.schemas.written import Name


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WholeNumber(_Declared):
    """A whole number from `min` to `max`."""

    type: Literal["integer"]
    min: int
    max: int

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"`min` is {self.min}, expected at most `max`, which is {self.max}")
        return self

    def read(self, name: str, text: str) -> int:
        """The value that a text stands for. Raises `PermanentError` when it stands for none."""
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal()):
            raise PermanentError(f"`{name}` is `{text}`, expected a whole number")
        return int(text)

    def value(self, name: str, text: str) -> int:
        """The same, within the bounds. Raises `PermanentError` out of them."""
        number = self.read(name, text)
        if not self.min <= number <= self.max:
            raise PermanentError(f"`{name}` is {number}, which is out of the bounds {self.min} to {self.max}")
        return number


class Text(_Declared):
    """A text that matches `pattern` as a whole."""

    type: Literal["string"]
    pattern: Pattern

    def read(self, _name: str, text: str) -> str:
        """The value that a text stands for."""
        return text

    def value(self, name: str, text: str) -> str:
        """The same. Raises `PermanentError` when it does not match."""
        if re.fullmatch(self.pattern, text) is None:
            raise PermanentError(f"`{name}` is `{text}`, which does not match `{self.pattern}`")
        return text


class Switch(_Declared):
    """`true` or `false`."""

    type: Literal["boolean"]

    def read(self, name: str, text: str) -> bool:
        """The value that a text stands for. Raises `PermanentError` when it stands for none."""
        if text not in ("true", "false"):
            raise PermanentError(f"`{name}` is `{text}`, expected `true` or `false`")
        return text == "true"

    def value(self, name: str, text: str) -> bool:
        """The same: there are no other bounds."""
        return self.read(name, text)


Bound = Annotated[WholeNumber | Text | Switch, Field(discriminator="type")]


class WorkspaceBounds(_Declared):
    """What may be done to one configuration.

    Only `variables` are set. A plan that changes more than `max_changes` resources, or deletes or replaces more than
    `max_deletions`, is not applied; to put back what an action added is to delete it.
    """

    variables: dict[str, Bound] = Field(min_length=1)
    max_changes: int = Field(default=20, ge=1)
    max_deletions: int = Field(default=0, ge=0)

    def values(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What parameters set variables to. Raises `PermanentError` naming the one that is not allowed."""
        if not parameters:
            raise PermanentError(f"no variable is given, expected some of {self._names}")
        for name in parameters:
            if name not in self.variables:
                raise PermanentError(f"`{name}` is not a variable that may be set, expected some of {self._names}")
        return {name: self.variables[name].value(name, text) for name, text in sorted(parameters.items())}

    @property
    def _names(self) -> str:
        return ", ".join(f"`{name}`" for name in sorted(self.variables))


class OpentofuSettings(_Declared):
    """The program, the folder with one folder for each configuration, and the bounds of each.

    The program's environment is PATH, HOME, `environment` and the contents of `environment_files`, where secrets are:
    nothing of the effector's own. It waits `lock_wait_s` for the lock of a state, and after a time-out has `grace_s`
    to save its state. `look_seconds` bounds observing and a preview.
    """

    name: str = "opentofu"
    binary: Path
    root: Path
    workspaces: dict[Name, WorkspaceBounds] = Field(min_length=1)
    environment: dict[str, str] = {}
    environment_files: dict[str, Path] = {}
    lock_wait_s: float = Field(default=20.0, ge=0)
    grace_s: float = Field(default=5.0, gt=0)
    look_seconds: float = Field(default=60.0, gt=0)

    @field_validator("binary", "root")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("it must be an absolute path")
        return path
