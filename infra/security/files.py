"""Files with secrets: written whole or not at all, readable by their owner alone, refused when others can read them."""

import os
import stat
from pathlib import Path

from autopilot.infra.errors import MendableError

PRIVATE, PRIVATE_FOLDER = 0o600, 0o700


class SecretFileError(MendableError):
    """A file of the security folder is missing, not what it should be, or open to others: says what to do."""


def private_folder(folder: Path) -> Path:
    """Makes the folder, which only its owner may enter."""
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Puts a whole file in place that was never readable by others."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_private(path: Path) -> bytes:
    """The file's content. Raises `SecretFileError` when it is missing or others may read it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except FileNotFoundError:
        raise SecretFileError(f"{path}: there is no such file; `autopilot up --secure` makes it") from None
    except OSError as error:
        raise SecretFileError(f"{path}: cannot be read: {error}") from None
    if mode & 0o077:
        raise SecretFileError(f"{path}: others may read it (mode {mode:04o}); set its mode to 0600 and rotate it")
    return content
