"""The channels file: how people are reached, who hears what, and the secrets' files.

    channels:
      - name: sre
        kind: slack                     # Slack's incoming webhooks, and whatever takes their payload
        url_file: /run/secrets/slack    # the address is the secret
        urgencies: [page]
      - name: pager
        kind: webhook                   # JSON, signed after Standard Webhooks where there is a secret
        url: https://pager.example/autopilot
        secret_file: /run/secrets/pager
        reasons: [approval, escalation, fault, indeterminate]
        audiences: [payments]

A filter that is left out lets everything through. What is about no domain, such as a halt of everything, passes every
filter of domains; what is for everybody passes every filter of audiences.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from autopilot.infra.errors import MendableError
from autopilot.infra.notifier.state import Pending
from autopilot.schemas.configuration import Name

Reason = Literal[
    "approval",
    "escalation",
    "fault",
    "halt",
    "resume",
    "breaker",
    "indeterminate",
    "break_glass",
    "action",
    "promotion",
    "demotion",
]


class ChannelsFileError(MendableError):
    """The channels file is not as it should be. The message names the file, the field and what was expected."""


class Channel(BaseModel):
    """One channel. A notification is sent at most `max_attempts` times, and never once it is older than `max_age_s`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    kind: Literal["webhook", "slack"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    url_file: Path | None = None
    secret_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    proxy: str = ""
    reasons: list[Reason] = []
    urgencies: list[Literal["page", "notice"]] = []
    audiences: list[str] = []
    domains: list[str] = []
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    max_attempts: int = Field(default=6, ge=1, le=50)
    max_age_s: float = Field(default=3_600.0, gt=0, le=86_400)

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) is (self.url_file is None):
            raise ValueError("expected one of `url` and `url_file`")
        if self.kind == "slack" and self.url is not None:
            raise ValueError("the address of a slack channel is a secret: put it into a `url_file`")
        return self

    def takes(self, pending: Pending) -> bool:
        """Whether the notification passes the filters."""
        request = pending.request
        return (
            _passes(request.reason, self.reasons)
            and _passes(request.urgency, self.urgencies)
            and (not request.audience or _passes(request.audience, self.audiences))
            and (not pending.domain or _passes(pending.domain, self.domains))
        )


def _passes(value: str, wanted: Sequence[str]) -> bool:
    return not wanted or value in wanted


def read_channels(path: Path) -> list[Channel]:
    """The channels of a file. Raises `ChannelsFileError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ChannelsFileError(f"{path} cannot be read: {error}") from error
    entries = content.get("channels") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ChannelsFileError(f"{path}: `channels` is {entries!r}, expected a list with one entry for each channel")
    channels: list[Channel] = []
    for number, entry in enumerate(entries):
        channel = _channel(f"{path}: channels[{number}]", entry)
        if channel.name in {other.name for other in channels}:
            raise ChannelsFileError(f"{path}: channels[{number}].name is `{channel.name}`, which is taken")
        channels.append(channel)
    return channels


def _channel(where: str, entry: object) -> Channel:
    try:
        return Channel.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ChannelsFileError(f"{where}{'.' if field else ''}{field}: {first['msg']}") from None
