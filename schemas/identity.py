"""Identities derived from content and position: nothing here is random, so a replay mints the same ones."""

import hashlib
import uuid
from functools import lru_cache

from autopilot.schemas.envelope import Position

NAMESPACE = uuid.UUID("6f1d5c1e-54b5-5f0a-9a3e-5a0f1b0c7a11")
_NAMESPACE = NAMESPACE.bytes
_VARIANT = {f"{digit:x}": f"{digit & 0x3 | 0x8:x}" for digit in range(16)}
"""The digit in which a UUID says its variant (RFC 4122), for the one that was there."""
LIVE_RUN = "live"


def event_id(run: str, producer: str, cause: Position, ordinal: int) -> str:
    """Identity of the `ordinal`-th output that `producer` makes of the record at `cause` (RFC 4122 UUIDv5)."""
    topic, partition, offset = cause
    return _uuid5(f"{run}/{producer}/{topic}[{partition}]@{offset}/{ordinal}")


def content_id(event_type: str, content: bytes) -> str:
    """Identity of an event from outside: the same content has the same identity."""
    return _uuid5(f"{event_type}:{hashlib.sha256(content).hexdigest()}")


def _uuid5(name: str) -> str:
    """The text of `uuid.uuid5(NAMESPACE, name)`, without the object: one is made for every event."""
    digest = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def derived_id(prefix: str, *parts: str) -> str:
    """A readable identity such as `inc-3f0a9c2b71d4e6a8`, derived from `parts`."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
    return f"{prefix}-{digest[:16]}"


def digest_of(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, as `sha256:HEX`."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=256)
def trace_id(run: str, correlation_id: str) -> str:
    """W3C trace id (32 hex digits): one incident is one trace."""
    return hashlib.sha256(f"trace/{run}/{correlation_id}".encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def span_id(handler: str, handled_event_id: str) -> str:
    """W3C span id (16 hex digits) of the span in which `handler` handled an event, and made others of it."""
    return hashlib.sha256(f"span/{handler}/{handled_event_id}".encode()).hexdigest()[:16]
