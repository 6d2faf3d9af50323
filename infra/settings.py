"""Settings: defaults, then `autopilot.toml` in the working directory, then `AUTOPILOT_*` in the environment.

Nothing else reads the environment. `sources_of` says where each value came from, for `autopilot config`.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from autopilot.infra.errors import MendableError
from autopilot.infra.platform.ports import HOST, PortBook
from autopilot.infra.security.credentials import MECHANISM, read_credentials
from autopilot.infra.security.ground import Ground
from autopilot.schemas.identity import LIVE_RUN

PREFIX = "AUTOPILOT_"
FILE = Path("autopilot.toml")


def _setting(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, **bounds)


class Settings(BaseSettings):
    """What an operator may choose. A port of 0 is picked once and remembered in the home folder."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file=FILE, extra="forbid", frozen=True)

    home: Path = _setting(Path(".autopilot"), "folder of data, keys and logs")
    kafka: str = _setting("", "bootstrap servers of an existing Kafka; empty runs an embedded one")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _setting(
        "PLAINTEXT", "how to talk to an existing Kafka"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _setting("", "SASL mechanism")
    kafka_username: str = _setting("", "SASL user")
    kafka_password: SecretStr = _setting(SecretStr(""), "SASL password")
    kafka_credentials: Path | None = _setting(
        None, "file with the lines `sasl.username=...` and `sasl.password=...`, instead of the two settings"
    )
    kafka_ca_file: str = _setting("", "file of the certificate authority for TLS")
    kafka_certificate: str = _setting("", "file of our own key and certificate, where Kafka asks for one")
    secure: bool = _setting(
        False, "TLS, a password for each process and access control lists; a home that was secure once stays so"
    )
    secure_hosts: str = _setting(
        "", "names, separated by spaces, that clients reach a secure Kafka by; local ones if empty"
    )
    kafka_port: int = _setting(0, "port of the embedded Kafka", ge=0, le=65_535)
    kafka_controller_port: int = _setting(0, "port of the embedded Kafka's controller", ge=0, le=65_535)
    kafka_internal_port: int = _setting(0, "port of a secure embedded Kafka's own traffic", ge=0, le=65_535)
    registry: str = _setting("", "API address of an existing schema registry; empty runs an embedded one")
    registry_port: int = _setting(0, "port of the embedded registry", ge=0, le=65_535)
    registry_management_port: int = _setting(0, "port of the embedded registry's health page", ge=0, le=65_535)
    partitions: int = _setting(4, "partitions of the topics, fixed when they are made", ge=1, le=1_000)
    run: str = _setting(LIVE_RUN, "run that the processes belong to")
    instance: str = _setting("1", "name of this instance among several of the same process", min_length=1)
    snapshot_every: int = _setting(50_000, "records between two snapshots of an agent's state", ge=1)
    seal_every: int = _setting(10_000, "records after which a seal is written", ge=1, le=40_000)
    seal_after_s: float = _setting(30.0, "seconds after which one is written when there are any records", gt=0)
    seal_file: Path | None = _setting(
        None, "file outside Kafka that seals are written to as well; `seals.jsonl` in the home folder without one"
    )
    otlp_host: str = _setting("127.0.0.1", "address that the OTLP receiver listens on")
    otlp_port: int = _setting(4318, "port that the OTLP receiver listens on", ge=1, le=65_535)
    api_host: str = _setting("127.0.0.1", "address that the query API and its page listen on")
    api_port: int = _setting(0, "port of the query API and its page", ge=0, le=65_535)
    gateway_host: str = _setting("127.0.0.1", "address that the approval gateway listens on")
    gateway_port: int = _setting(8_090, "port that the approval gateway listens on", ge=1, le=65_535)
    targets: Path | None = _setting(None, "YAML file of the drivers that the effector acts through")
    notifications: Path | None = _setting(None, "YAML file of the channels by which the notifier reaches people")
    supervisord_url: str = _setting("", "XML-RPC address of the supervisord that the effector acts on")
    supervisord_username: str = _setting("", "user at that supervisord")
    supervisord_password: SecretStr = _setting(SecretStr(""), "password at that supervisord")
    supervisord_releases: Path | None = _setting(None, "folder of the releases that its groups may be switched to")
    pinned_administrators: str = _setting(
        "",
        "public keys, separated by spaces: the effector refuses all while there is another administrator; "
        "without any, the key of `admin` that `up` made in this home",
    )
    telemetry_endpoint: str = _setting("", "OTLP/HTTP address that our own traces and metrics go to; empty for none")
    prometheus_port: int = _setting(
        0, "first port of the processes' Prometheus pages, one each; 0 for none", ge=0, le=65_500
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "least severe level that is logged")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment before the file."""
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            _file_source(settings_cls),
            file_secret_settings,
        )

    @property
    def keys(self) -> Path:
        """The folder of this machine's private keys."""
        return self.home / "keys"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.home / "logs"

    @property
    def seals(self) -> Path:
        """The seal file."""
        return self.seal_file or self.home / "seals.jsonl"

    @property
    def views(self) -> Path:
        """The folder of the projections' views."""
        return self.home / "projections"

    @property
    def kpis(self) -> Path:
        """The folder of the KPI topology's copy of its rows."""
        return self.home / "kpis"

    @property
    def embeds_kafka(self) -> bool:
        """Whether an embedded Kafka is run."""
        return not self.kafka

    @property
    def ground(self) -> Ground:
        """The security folder of the home."""
        return Ground(self.home)

    @property
    def is_secure(self) -> bool:
        """Whether an embedded Kafka is run with passwords, TLS and access control lists."""
        return self.embeds_kafka and (self.secure or self.ground.exists)

    @property
    def embeds_registry(self) -> bool:
        """Whether an embedded registry is run."""
        return not self.registry

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """The settings `names`, secrets among them, as environment variables, so that another process has the same."""
        wanted = set(names)
        values = {name: value for name, value in self if value is not None and name in wanted}
        for name in ("home", "targets", "notifications", "supervisord_releases", "seal_file", "kafka_credentials"):
            if name in values:
                values[name] = values[name].absolute()
        return {PREFIX + name.upper(): _plain(value) for name, value in values.items()}


class SettingsFileError(MendableError):
    """`autopilot.toml` cannot be read, or is no TOML: mend it, or move it away."""

    def __init__(self, why: Exception) -> None:
        super().__init__(f"`{FILE.absolute()}` cannot be read as TOML: {why}")


def _file_source(settings_cls: type[BaseSettings]) -> TomlConfigSettingsSource:
    """The settings in the file; none without one. Raises `SettingsFileError`."""
    try:
        return TomlConfigSettingsSource(settings_cls)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsFileError(error) from None


class NotUpError(MendableError):
    """The embedded platform has never been started in this home: `autopilot up` does, or point at another."""

    def __init__(self, what: str, setting: str, home: Path) -> None:
        super().__init__(f"no {what} is known in `{home}`; run `autopilot up`, or point `{setting}` at one")


DEFAULT_PRINCIPAL = "people"
"""Who connects to a secure embedded Kafka when no credentials are named: the command line is for people."""


def kafka_config(settings: Settings) -> dict[str, str]:
    """Client configuration for the Kafka of these settings.

    Raises `NotUpError` when no embedded one was started, `SecretFileError` when its credentials cannot be used.
    """
    if settings.embeds_kafka:
        address = {"bootstrap.servers": _embedded(settings, "kafka", settings.kafka_port)}
        if not settings.is_secure:
            return address
        ground = settings.ground
        return address | ground.client(settings.kafka_credentials or ground.credentials(DEFAULT_PRINCIPAL))
    config = {"bootstrap.servers": settings.kafka, "security.protocol": settings.kafka_security_protocol}
    optional = {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_username,
        "sasl.password": settings.kafka_password.get_secret_value(),
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate,
        "ssl.key.location": settings.kafka_certificate,
    }
    if settings.kafka_credentials is not None:
        optional |= {"sasl.mechanism": settings.kafka_sasl_mechanism or MECHANISM}
        optional |= read_credentials(settings.kafka_credentials)
    return config | {name: value for name, value in optional.items() if value}


def admin_config(settings: Settings) -> dict[str, str]:
    """As `kafka_config`, for making topics and deleting records: at a secure embedded Kafka, the administrator's."""
    if not settings.is_secure:
        return kafka_config(settings)
    address = _embedded(settings, "kafka-internal", settings.kafka_internal_port)
    return {"bootstrap.servers": address, **settings.ground.admin()}


def _embedded(settings: Settings, name: str, chosen: int) -> str:
    port = PortBook(settings.home).known(name, chosen)
    if not port:
        raise NotUpError("Kafka", "AUTOPILOT_KAFKA", settings.home)
    return f"{HOST}:{port}"


@dataclass(frozen=True)
class Sourced:
    """A setting as `autopilot config` shows it."""

    name: str
    variable: str
    value: str
    source: str
    meaning: str


def sources_of(settings: Settings) -> list[Sourced]:
    """Every setting with its value and where that came from: `environment`, `autopilot.toml` or `default`."""
    environment: Mapping[str, Any] = EnvSettingsSource(Settings)()
    file: Mapping[str, Any] = _file_source(Settings)()
    rows = []
    for name, field in Settings.model_fields.items():
        source = "environment" if name in environment else str(FILE) if name in file else "default"
        rows.append(
            Sourced(name, PREFIX + name.upper(), _shown(getattr(settings, name)), source, field.description or "")
        )
    return rows


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    return "" if value is None else str(value)
