"""Passwords for Kafka: one file for each principal, as two properties that any Kafka client understands."""

import secrets
from pathlib import Path

from autopilot.infra.security.files import SecretFileError, private_folder, read_private, write_private

MECHANISM = "SCRAM-SHA-512"
USERNAME, PASSWORD = "sasl.username", "sasl.password"
_PASSWORD_BYTES = 32


def new_password() -> str:
    """256 random bits as text without any character that a configuration file would have to quote."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def write_credentials(file: Path, name: str, password: str) -> None:
    """Puts the principal's file in place."""
    private_folder(file.parent)
    write_private(file, f"{USERNAME}={name}\n{PASSWORD}={password}\n".encode())


def read_credentials(file: Path) -> dict[str, str]:
    """`sasl.username` and `sasl.password`. Raises `SecretFileError`."""
    lines = read_private(file).decode(errors="replace").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    wanted = {name: found.get(name, "").strip() for name in (USERNAME, PASSWORD)}
    if not all(wanted.values()):
        raise SecretFileError(f"{file}: expected a line `{USERNAME}=...` and a line `{PASSWORD}=...`")
    return wanted
