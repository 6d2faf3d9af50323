"""Ed25519 key files: one `NAME.key` (private, readable by its owner alone) and one `NAME.pub` for each principal.

Both hold 32 bytes in base64 on one line. The public half is what the signer list names.
"""

import base64
import binascii
import os
import re
import stat
from pathlib import Path

from autopilot.infra.errors import MendableError
from autopilot.schemas.signing import SigningKey, key_id
from autopilot.schemas.written import NAME_PATTERN, NAME_RULE

_PRIVATE_MODE = 0o600
_FOLDER_MODE = 0o700
_RAW_BYTES = 32


class KeyFileError(MendableError):
    """A key file is missing, unreadable, not a key, or open to others; the message says what to do."""


def ensure_key(folder: Path, principal: str) -> SigningKey:
    """The principal's key, made on first use. Raises `KeyFileError` when there is one that cannot be used.

    Of two processes that make it at once one wins, and both return that one's.
    """
    path = _private_path(folder, principal)
    if not path.exists():
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        _write_private(path, SigningKey.generate(principal).private.private_bytes_raw())
    key = load_key(folder, principal)
    _write_public(folder / f"{principal}.pub", key.public_key)
    return key


def load_key(folder: Path, principal: str) -> SigningKey:
    """The principal's private key. Raises `KeyFileError`."""
    path = _private_path(folder, principal)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise KeyFileError(
            f"{path}: there is no such key; `autopilot keys list` shows those of this home, "
            f"`autopilot keys new {principal} --role ...` makes one, and `AUTOPILOT_HOME` names another home"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: cannot be read: {error}") from None
    if mode & 0o077:
        raise KeyFileError(f"{path}: others may read it (mode {mode:04o}); set its mode to 0600 and change the key")
    return SigningKey.from_bytes(principal, _raw(path, text))


def new_key_beside(folder: Path, principal: str) -> SigningKey:
    """A new key for a principal, on disk as `NAME.next` and not yet in use. Raises `KeyFileError`.

    One that is there already, left by a rotation that did not come to its end, is taken up again.
    """
    path = _next_path(folder, principal)
    if not path.exists():
        _write_private(path, SigningKey.generate(principal).private.private_bytes_raw())
    return SigningKey.from_bytes(principal, _raw(path, path.read_text(encoding="ascii")))


def take_over(folder: Path, principal: str) -> Path:
    """Puts the key beside into use, and gives where the old one is kept. Raises `KeyFileError`."""
    old = load_key(folder, principal)
    kept = folder / f"{principal}.{key_id(old.public_key)}.old"
    if not kept.exists():
        os.link(_private_path(folder, principal), kept)
    os.replace(_next_path(folder, principal), _private_path(folder, principal))
    _write_public(folder / f"{principal}.pub", load_key(folder, principal).public_key)
    return kept


def _next_path(folder: Path, principal: str) -> Path:
    return _checked(folder, principal, ".next")


def public_key_of(folder: Path, principal: str) -> str:
    """The principal's public key in base64, from its `.pub` file. Raises `KeyFileError`."""
    path = _checked(folder, principal, ".pub")
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: cannot be read: {error}") from None
    _raw(path, text)
    return text


def _private_path(folder: Path, principal: str) -> Path:
    return _checked(folder, principal, ".key")


def _checked(folder: Path, principal: str, suffix: str) -> Path:
    """Its file. A signer list takes no other names, and no other one is a path to somewhere else."""
    if re.fullmatch(NAME_PATTERN, principal) is None:
        raise KeyFileError(f"`{principal}` (in `{folder}`) is no name of a principal, expected {NAME_RULE}")
    return folder / (principal + suffix)


def _raw(path: Path, text: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise KeyFileError(f"{path}: not base64: {error}") from None
    if len(raw) != _RAW_BYTES:
        raise KeyFileError(f"{path}: {len(raw)} bytes, an Ed25519 key has {_RAW_BYTES}")
    return raw


def _write_private(path: Path, raw: bytes) -> None:
    """Writes a whole file under another name and links it into place, so that no one ever reads half a key."""
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(raw) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        return
    finally:
        beside.unlink()


def _write_public(path: Path, public_key: str) -> None:
    line = public_key + "\n"
    if path.exists() and path.read_text(encoding="ascii") == line:
        return
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(line, encoding="ascii")
    beside.replace(path)
