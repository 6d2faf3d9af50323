"""Which settings each process is given: those that it uses and no others.

So a secret is where it is needed and nowhere else, and a setting that is changed restarts only the processes that it is
about. A test builds each process and holds it to this table.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from autopilot.infra.keys import public_key_of
from autopilot.infra.settings import PREFIX, Settings
from autopilot.infra.signers import EFFECTOR, EXECUTOR, PLANNER, POLICY, SEALER, VERIFIER
from autopilot.schemas.signing import key_id

COMMON: Final = (
    "home",
    "kafka",
    "kafka_security_protocol",
    "kafka_sasl_mechanism",
    "kafka_username",
    "kafka_password",
    "kafka_credentials",
    "kafka_ca_file",
    "kafka_certificate",
    "kafka_port",
    "secure",
    "registry",
    "registry_port",
    "partitions",
    "run",
    "instance",
    "telemetry_endpoint",
    "prometheus_port",
    "log_level",
)
"""What every process uses."""
OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "observer": ("snapshot_every",),
    "planner": ("snapshot_every",),
    "policy": ("snapshot_every",),
    "executor": ("snapshot_every",),
    "verifier": ("snapshot_every",),
    "effector": (
        "snapshot_every",
        "targets",
        "supervisord_url",
        "supervisord_username",
        "supervisord_password",
        "supervisord_releases",
        "pinned_administrators",
    ),
    "notifier": ("snapshot_every", "notifications"),
    "sealer": ("seal_every", "seal_after_s", "seal_file"),
    "otlp": ("otlp_host", "otlp_port"),
    "projector": ("api_host", "api_port"),
}
"""Process -> what it uses besides."""
FILES: Final = ("targets", "notifications")
"""Settings that name a file which is read when a process starts: a change of its content is a change of the setting."""
CONTENT: Final = "_CONTENT"
"""How the variable ends that holds the digest of such a file."""
SIGNERS: Final = frozenset({PLANNER, POLICY, EXECUTOR, EFFECTOR, VERIFIER, SEALER})
"""Processes that sign with the key of their name, which they read when they start."""
KEY_ID: Final = PREFIX + "KEY_ID"
"""The variable that holds the id of such a process's public key: with another key it has to be started again."""
SAID_AS: Final[Mapping[str, str]] = {
    KEY_ID: "its key changed",
    **{PREFIX + name.upper() + CONTENT: f"the content of the file `{name}` changed" for name in FILES},
}
"""Variable -> what people are told when it has changed."""
UNSAID: Final = frozenset(
    [PREFIX + name.upper() for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
    + [PREFIX + name.upper() + CONTENT for name in FILES]
)
"""Variables whose values are shown to nobody, or would tell them nothing."""


def environment_for(name: str, settings: Settings) -> dict[str, str]:
    """The environment in which the process `name` finds its settings."""
    used = (*COMMON, *OWN.get(name, ()))
    content = {PREFIX + file.upper() + CONTENT: file_digest(getattr(settings, file)) for file in FILES if file in used}
    return settings.environment(used) | content | _key_of(name, settings)


def _key_of(name: str, settings: Settings) -> dict[str, str]:
    """Which key a process that signs has, never the key itself; nothing where there is none yet."""
    if name not in SIGNERS or not (settings.keys / f"{name}.pub").is_file():
        return {}
    return {KEY_ID: key_id(public_key_of(settings.keys, name))}


def file_digest(file: Path | None) -> str:
    """The digest of a file's content; empty when there is no such file."""
    if file is None or not file.is_file():
        return ""
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
