"""Sending a notification to one channel, once. The answer says if another try makes sense, and tells no secret.

What a channel answers is told by its status alone: a body, and the words beside a status, may repeat the address.
"""

import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from autopilot.infra.notifier.channels import Channel
from autopilot.infra.notifier.messages import plain, slack
from autopilot.infra.notifier.state import Pending, line
from autopilot.infra.webhook_signature import read_secret, signed_headers

_KINDS = {"webhook": plain, "slack": slack}
_AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel took it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The channel will never take it as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """It may be taken another time, not before `wait_s` seconds."""

    reason: str
    wait_s: float = 0.0


Answer = Sent | Refused | Unsent


class Sender(Protocol):
    """Sends to one channel. It raises nothing."""

    def __call__(self, pending: Pending) -> Answer:
        """Sends it once."""
        ...


def sender_of(channel: Channel) -> Sender:
    """What sends to the channel."""
    verify: Any = ssl.create_default_context(cafile=str(channel.ca_file)) if channel.ca_file else True
    client = httpx.Client(
        verify=verify,
        proxy=channel.proxy or None,
        trust_env=False,
        timeout=channel.timeout_s,
        limits=httpx.Limits(max_keepalive_connections=0),
    )

    def send(pending: Pending) -> Answer:
        try:
            return _post(client, channel, pending)
        except Exception as error:  # one channel must not silence the others, and a message may bear a secret
            return Unsent(type(error).__name__)

    return send


def _post(client: httpx.Client, channel: Channel, pending: Pending) -> Answer:
    try:
        url = channel.url or _address(channel.url_file)
        content = json.dumps(_KINDS[channel.kind](pending)).encode()
        headers = _headers(channel, pending.request.notification_id, content)
    except (OSError, ValueError) as error:
        return Unsent(line(f"a file of the channel cannot be used: {error}"))
    try:
        return _answer(client.post(url, content=content, headers=headers))
    except (httpx.ConnectError, httpx.TimeoutException) as error:
        return Unsent(line(f"{type(error).__name__}: {error}".replace(url, "the channel's address")))


def _headers(channel: Channel, notification_id: str, content: bytes) -> dict[str, str]:
    headers = {"content-type": "application/json", "idempotency-key": notification_id}
    if channel.token_file is not None:
        headers["authorization"] = f"Bearer {_ascii(channel.token_file)}"
    if channel.secret_file is not None:
        headers |= signed_headers(read_secret(channel.secret_file), notification_id, int(time.time()), content)
    return headers


def _address(path: Path | None) -> str:
    """The address in a file. Raises `OSError` or `ValueError`."""
    address = _ascii(path) if path is not None else ""
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{path}: expected an address that begins with http:// or https://")
    return address


def _ascii(path: Path) -> str:
    """The word in a file. Raises `OSError` or `ValueError`, which does not repeat it."""
    word = path.read_bytes().strip()
    if not word:
        raise ValueError(f"{path} is empty")
    if not all(0x21 <= byte <= 0x7E for byte in word):
        raise ValueError(f"{path}: expected printable ASCII characters without a space")
    return word.decode("ascii")


def _answer(response: httpx.Response) -> Answer:
    if response.is_success:
        return Sent()
    status = response.status_code
    reason = f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
    if status in _AGAIN or status >= 500:
        after = response.headers.get("retry-after", "")
        return Unsent(reason, float(after) if after.isdecimal() else 0.0)
    return Refused(reason)
