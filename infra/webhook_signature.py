"""Signatures of what is sent by HTTP, after the Standard Webhooks specification 1.0 (symmetric scheme, `v1`).

Three headers: `webhook-id`, the same each time the same thing is sent; `webhook-timestamp`, seconds since the epoch;
`webhook-signature`, `v1,` and the HMAC-SHA256 of `ID.TIMESTAMP.BODY` in base64. A receiver refuses a wrong signature
and a timestamp that is more than five minutes off, and so neither a forged nor a recorded request counts.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300
"""How far a timestamp may be from the receiver's time, in seconds."""
_PREFIX = "whsec_"


def read_secret(path: Path) -> bytes:
    """The key in a file: the bytes of `whsec_BASE64`, or the text itself. Raises `OSError` or `ValueError`."""
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise ValueError(f"{path} is empty")
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"{path}: what follows {_PREFIX} is no base64") from None


def signed_headers(key: bytes, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a request with this body."""
    return {ID: message_id, TIMESTAMP: str(at_s), SIGNATURE: _signature(key, message_id, str(at_s), body)}


def is_authentic(key: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> bool:
    """Whether a received request bears a signature of the key and is not too old: for whoever receives one.

    Header names are in lower case.
    """
    message_id, at, signatures = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not at.isdecimal() or abs(int(at) - now_s) > TOLERANCE_S:
        return False
    wanted = _signature(key, message_id, at, body)
    return any(hmac.compare_digest(given, wanted) for given in signatures.split())


def _signature(key: bytes, message_id: str, at: str, body: bytes) -> str:
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()
