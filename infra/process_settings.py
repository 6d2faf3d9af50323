"""Which settings each process is given: those that it uses and no others.

So a secret is where it is needed and nowhere else, and a setting that is changed restarts only the processes that it is
about. A test builds each process and holds it to this table.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from autopilot.infra.settings import PREFIX, Settings

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
UNSAID: Final = frozenset(
    [PREFIX + name.upper() for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
    + [PREFIX + name.upper() + CONTENT for name in FILES]
)
"""Variables whose values are shown to nobody, or would tell them nothing."""


def environment_for(name: str, settings: Settings) -> dict[str, str]:
    """The environment in which the process `name` finds its settings."""
    used = (*COMMON, *OWN.get(name, ()))
    return settings.environment(used) | {
        PREFIX + file.upper() + CONTENT: file_digest(getattr(settings, file)) for file in FILES if file in used
    }


def file_digest(file: Path | None) -> str:
    """The digest of a file's content; empty when there is no such file."""
    if file is None or not file.is_file():
        return ""
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
