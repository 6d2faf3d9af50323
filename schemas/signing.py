"""Ed25519 signatures over events (RFC 8032). The signature stands in a record header, so the value stays as written.

What is signed is the event type, the key and the Avro record without its five-byte header: a signature holds wherever
the record is stored and whichever registry numbered its schema.

Signatures are made and checked by libsodium, which takes two thirds and half of OpenSSL's time: making one is much of
what a decision costs, and checking each of them is much of what reading the log costs. The bytes are OpenSSL's, for
the algorithm leaves no choice. libsodium also refuses keys of small order, under which anybody could sign; none of
these is made by drawing one.
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from autopilot.schemas.codec import HEADER_BYTES

_CONTEXT = b"autopilot-event-v1\0"


def signed_content(event_type: str, key: bytes, value: bytes) -> bytes:
    """The bytes that a signature covers."""
    return _CONTEXT + event_type.encode() + b"\0" + len(key).to_bytes(4, "big") + key + value[HEADER_BYTES:]


@lru_cache(maxsize=1024)
def key_id(public_key: str) -> str:
    """Short name of a base64 public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(base64.b64decode(public_key)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A principal's private key. Held by processes of `infra`, never by an agent."""

    principal: str
    private: Ed25519PrivateKey

    @classmethod
    def generate(cls, principal: str) -> "SigningKey":
        """A new key for `principal`."""
        return cls(principal, Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, principal: str, raw: bytes) -> "SigningKey":
        """The key of 32 private bytes."""
        return cls(principal, Ed25519PrivateKey.from_private_bytes(raw))

    @property
    def public_key(self) -> str:
        """The public key, 32 bytes in base64."""
        return _public_key_of(self.private)

    def sign(self, event_type: str, key: bytes, value: bytes) -> bytes:
        """The signature header's value: `KEY_ID:BASE64`."""
        named, secret = _secret(self)
        signature = crypto_sign(signed_content(event_type, key, value), secret)[:crypto_sign_BYTES]
        return named + base64.b64encode(signature)


@lru_cache(maxsize=64)
def _public_key_of(private: Ed25519PrivateKey) -> str:
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()


@lru_cache(maxsize=64)
def _secret(key: SigningKey) -> tuple[bytes, bytes]:
    """What a signature header of this key begins with, and the key as libsodium takes it."""
    _, secret = crypto_sign_seed_keypair(key.private.private_bytes_raw())
    return f"{key_id(key.public_key)}:".encode(), secret


@lru_cache(maxsize=1024)
def _public(public_key: str) -> tuple[bytes, VerifyKey]:
    """What a signature header of this key begins with, and the key."""
    return f"{key_id(public_key)}:".encode(), VerifyKey(base64.b64decode(public_key))


def holds(header: bytes, public_key: str, event_type: str, key: bytes, value: bytes) -> bool:
    """Whether the signature header was made with `public_key` over this event."""
    try:
        named, public = _public(public_key)
        if not header.startswith(named):
            return False
        signature = base64.b64decode(header[len(named) :].decode())
        public.verify(signed_content(event_type, key, value), signature)
    except (CryptoError, ValueError):
        return False
    return True
