"""What every document that people write is made of: frozen models that refuse unknown fields, names, autonomy."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
NAME_RULE = "at most 64 lower-case letters, digits, `.`, `_` and `-`, a letter or a digit first and last"
"""The pattern in words."""
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name, as `NAME_RULE` says."""


class Written(BaseModel):
    """A part of a document: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Autonomy(StrEnum):
    """How far the autopilot may go for a service."""

    OBSERVE = "observe"
    RECOMMEND = "recommend"
    APPROVE = "approve"
    ACT_AND_TELL = "act_and_tell"
    ACT = "act"
