"""Which parameters an action may have: names and patterns from a driver's settings, enforced whatever a plan says."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from autopilot.infra.effector.port import PermanentError


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression that a value must match as a whole."""


def check_parameters(verb: str, given: Mapping[str, str], allowed: Mapping[str, str]) -> None:
    """Raises `PermanentError` unless exactly the `allowed` parameters are given, each matching its pattern."""
    for name in given:
        if name not in allowed:
            expected = ", ".join(f"`{known}`" for known in allowed) or "none"
            raise PermanentError(f"`{verb}` has no parameter `{name}`, expected {expected}")
    for name, pattern in allowed.items():
        value = given.get(name)
        if value is None:
            raise PermanentError(f"`{verb}` needs the parameter `{name}`, matching `{pattern}`")
        if re.fullmatch(pattern, value) is None:
            raise PermanentError(f"`{name}` is `{value}`, which does not match `{pattern}`")
