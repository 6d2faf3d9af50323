"""Certificates and passwords: made once, readable by their owner alone, on no command line and in no listing."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from autopilot.infra.composition import PROCESSES, environment_of
from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.ports import PortBook
from autopilot.infra.platform.registry import EmbeddedRegistry
from autopilot.infra.security.certificates import Authority, certificate_of
from autopilot.infra.security.credentials import PASSWORD, read_credentials, write_credentials
from autopilot.infra.security.files import SecretFileError
from autopilot.infra.security.ground import ADMIN, BROKER, Ground
from autopilot.infra.security.principals import GRANTS, REGISTRY
from autopilot.infra.settings import Settings, admin_config, kafka_config, sources_of


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A secure home that was once up, and no variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"AUTOPILOT_{name.upper()}", raising=False)
    Ground(tmp_path / "home").ensure(list(GRANTS), ["127.0.0.1", "kafka"])
    for name in ("kafka", "kafka-internal"):
        PortBook(tmp_path / "home").port(name)
    return Settings(home=tmp_path / "home")


def passwords(ground: Ground) -> list[str]:
    return [read_credentials(ground.credentials(name))[PASSWORD] for name in GRANTS]


def test_only_the_authoritys_certificate_can_be_read_by_others(settings: Settings) -> None:
    ground = settings.ground
    ground.write_registry(REGISTRY)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in ground.folder.rglob("*")}
    assert stat.S_IMODE(ground.folder.stat().st_mode) == 0o700
    assert {path.name for path, mode in modes.items() if mode & 0o077} <= {"ca.pem", "hosts"}
    assert ground.registry_properties in modes


def test_passwords_are_256_random_bits_each_another(settings: Settings) -> None:
    made = passwords(settings.ground)
    assert len(set(made)) == len(GRANTS)
    assert min(map(len, made)) >= 43


def test_what_is_there_stays(settings: Settings) -> None:
    before = {path: path.read_bytes() for path in settings.ground.folder.rglob("*") if path.is_file()}
    settings.ground.ensure(list(GRANTS), ["127.0.0.1", "kafka"])
    assert {path: path.read_bytes() for path in settings.ground.folder.rglob("*") if path.is_file()} == before


def test_a_broker_that_gets_another_name_gets_another_certificate(settings: Settings) -> None:
    ground = settings.ground
    authority, broker = ground.authority.read_bytes(), ground.certificate(BROKER).read_bytes()
    ground.ensure(list(GRANTS))
    assert ground.certificate(BROKER).read_bytes() == broker
    ground.ensure(list(GRANTS), ["elsewhere"])
    names = certificate_of(ground.certificate(BROKER).read_bytes()).extensions
    assert names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [
        "elsewhere"
    ]
    assert (ground.authority.read_bytes(), ground.hosts()) == (authority, ["elsewhere"])


def test_credentials_that_others_can_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "planner"
    write_credentials(file, "planner", "secret")
    assert read_credentials(file) == {"sasl.username": "planner", "sasl.password": "secret"}
    file.chmod(0o640)
    with pytest.raises(SecretFileError, match="others may read it"):
        read_credentials(file)
    file.chmod(0o600)
    file.write_text("sasl.username=planner\n")
    with pytest.raises(SecretFileError, match=r"expected a line `sasl\.username"):
        read_credentials(file)
    with pytest.raises(SecretFileError, match="no such file"):
        read_credentials(tmp_path / "nobody")


def test_the_brokers_certificate_is_for_its_hosts_and_given_by_the_authority(settings: Settings) -> None:
    ground = settings.ground
    authority = certificate_of(ground.authority.read_bytes())
    broker = certificate_of(ground.certificate(BROKER).read_bytes())
    broker.verify_directly_issued_by(authority)
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kafka"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert broker.not_valid_after_utc - datetime.now(UTC) < timedelta(days=399)


def test_the_administrators_certificate_is_no_servers(settings: Settings) -> None:
    admin = certificate_of(settings.ground.certificate(ADMIN).read_bytes())
    usage = admin.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert admin.subject.rfc4514_string() == "CN=admin"


def test_an_authority_reads_back_and_nonsense_is_refused() -> None:
    made = Authority.new("of a test")
    assert Authority.load(made.file).certificate == made.certificate
    with pytest.raises(SecretFileError, match="cannot be read"):
        Authority.load(b"nonsense")


def test_a_new_authority_gives_new_certificates_for_the_same_hosts(settings: Settings) -> None:
    ground = settings.ground
    before = certificate_of(ground.certificate(BROKER).read_bytes())
    ground.new_authority()
    after = certificate_of(ground.certificate(BROKER).read_bytes())
    after.verify_directly_issued_by(certificate_of(ground.authority.read_bytes()))
    wanted = x509.SubjectAlternativeName
    assert after.public_key() != before.public_key()
    assert after.extensions.get_extension_for_class(wanted) == before.extensions.get_extension_for_class(wanted)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_told_the_file_of_its_own_credentials_and_no_password(settings: Settings, process: str) -> None:
    environment = environment_of(process, settings)
    assert environment["AUTOPILOT_KAFKA_CREDENTIALS"] == str(settings.ground.credentials(process))
    assert environment["AUTOPILOT_SECURE"] == "True"
    assert not any(password in text for password in passwords(settings.ground) for text in environment.values())


def test_no_listing_and_no_command_line_has_a_password(settings: Settings) -> None:
    ground = settings.ground
    kafka = EmbeddedKafka(settings.home / "kafka", security=ground)
    registry = EmbeddedRegistry(settings.home / "registry", "x:1", security=ground)
    shown = str(sources_of(settings)) + repr(settings) + str(ground.broker({}, "h")) + " ".join(registry.command())
    shown += str(registry.environment()) + " ".join(kafka.command())
    assert not [password for password in passwords(ground) if password in shown]


def test_a_secure_home_stays_secure_and_the_command_line_is_for_people(settings: Settings) -> None:
    assert not settings.secure
    assert settings.is_secure
    config = kafka_config(settings)
    assert (config["security.protocol"], config["sasl.username"]) == ("SASL_SSL", "people")
    assert admin_config(settings)["ssl.certificate.location"] == str(settings.ground.certificate(ADMIN))


def test_a_home_without_a_security_folder_is_as_it_was(tmp_path: Path) -> None:
    plain = Settings(home=tmp_path / "plain")
    assert not plain.is_secure
    plain.home.mkdir()
    port = PortBook(plain.home).port("kafka")
    assert kafka_config(plain) == admin_config(plain) == {"bootstrap.servers": f"127.0.0.1:{port}"}
    assert "AUTOPILOT_KAFKA_CREDENTIALS" not in environment_of("planner", plain)


def test_an_existing_kafka_takes_credentials_from_a_file(settings: Settings) -> None:
    file = settings.ground.credentials("planner")
    there = Settings(
        home=settings.home, kafka="broker:9093", kafka_security_protocol="SASL_SSL", kafka_credentials=file
    )
    config = kafka_config(there)
    assert (config["sasl.username"], config["sasl.mechanism"]) == ("planner", "SCRAM-SHA-512")
    assert config["bootstrap.servers"] == "broker:9093"
    assert not there.is_secure
