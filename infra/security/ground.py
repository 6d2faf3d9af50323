"""The security folder of a home: authority, certificates and passwords, and the configurations that are made of them.

    ca.pem              the authority's certificate; clients trust it
    ca-private.pem      the authority itself; needed only to issue certificates
    broker.pem          the broker's key and certificate
    admin.pem           the administrator's; it makes topics, passwords and access control lists
    credentials/NAME    a principal's password
    registry.properties the registry's configuration, with its password

All but `ca.pem` are readable by their owner alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from autopilot.infra.security.certificates import Authority
from autopilot.infra.security.credentials import (
    MECHANISM,
    PASSWORD,
    USERNAME,
    new_password,
    read_credentials,
    write_credentials,
)
from autopilot.infra.security.files import SecretFileError, private_folder, read_private, write_private

ADMIN, BROKER = "admin", "broker"
"""The names in the certificates of the two super users."""
LOCAL_HOSTS = ("127.0.0.1", "localhost")
CLIENTS, INTERNAL, CONTROLLER = "CLIENTS", "INTERNAL", "CONTROLLER"
REAUTHENTICATE_MS = 3_600_000
"""A connection must show its password again after this time, so that a changed one locks out whoever has the old."""

_AUTHORITY_NAME = "autopilot certificate authority"
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"


class Ground:
    """The security of one home. Making it does nothing; `ensure` makes the files."""

    def __init__(self, home: Path) -> None:
        self.folder = home.absolute() / "security"
        self.authority = self.folder / "ca.pem"
        self.registry_properties = self.folder / "registry.properties"

    @property
    def exists(self) -> bool:
        """Whether this home is a secure one."""
        return self.authority.exists()

    def credentials(self, name: str) -> Path:
        """The file of a principal's password."""
        return self.folder / "credentials" / name

    def certificate(self, name: str) -> Path:
        """The file of a super user's key and certificate."""
        return self.folder / f"{name}.pem"

    def ensure(self, principals: Sequence[str], hosts: Sequence[str] = ()) -> None:
        """Makes what is not there yet. Raises `SecretFileError`.

        The broker's certificate is for `hosts`, for those of before when there are none, for local ones at first.
        """
        private_folder(self.folder)
        known, wanted = self.hosts(), list(hosts) or self.hosts()
        self._hosts_file.write_text("\n".join(wanted) + "\n")
        if not self.exists or not self._authority_file.exists():
            self.new_authority()
        elif wanted != known:
            self.new_certificate(BROKER)
        for name in principals:
            if not self.credentials(name).exists():
                self.new_password(name)

    def new_authority(self) -> None:
        """A new authority and new certificates: every client must read `ca.pem` again."""
        authority = Authority.new(_AUTHORITY_NAME)
        write_private(self._authority_file, authority.file)
        write_private(self.authority, authority.pem)
        self.authority.chmod(0o644)
        self.new_certificate(BROKER)
        self.new_certificate(ADMIN)

    def new_certificate(self, name: str) -> None:
        """A new key and certificate for a super user, by the standing authority."""
        authority = Authority.load(read_private(self._authority_file))
        write_private(self.certificate(name), authority.issue(name, self.hosts() if name == BROKER else ()))

    def new_password(self, name: str) -> None:
        """A new password in the principal's file; Kafka does not know it yet."""
        write_credentials(self.credentials(name), name, new_password())

    def hosts(self) -> list[str]:
        """The names under which clients reach the broker."""
        return self._hosts_file.read_text().split() if self._hosts_file.exists() else list(LOCAL_HOSTS)

    # -- configurations ----------------------------------------------------------------------------------------------

    def client(self, credentials: Path) -> dict[str, str]:
        """How a principal's client connects. Raises `SecretFileError`."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "ssl.ca.location": str(self.authority),
            **read_credentials(credentials),
        }

    def admin(self) -> dict[str, str]:
        """How the administrator's client connects, at the internal listener. Raises `SecretFileError`."""
        file = self.certificate(ADMIN)
        if not file.exists():
            raise SecretFileError(f"{file}: there is no such file; only the administrator's machine has it")
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.authority),
            "ssl.certificate.location": str(file),
            "ssl.key.location": str(file),
        }

    def broker(self, ports: Mapping[str, int], host: str) -> dict[str, str]:
        """The broker's properties: who listens where, who is trusted, and that what is not granted is refused.

        `ports` has one for each of the three listeners: `CLIENTS` takes passwords, the others ask for a certificate.
        """
        return {
            "listeners": ",".join(f"{name}://{host}:{port}" for name, port in ports.items()),
            "listener.security.protocol.map": f"{CLIENTS}:SASL_SSL,{INTERNAL}:SSL,{CONTROLLER}:SSL",
            "inter.broker.listener.name": INTERNAL,
            "controller.listener.names": CONTROLLER,
            "sasl.enabled.mechanisms": MECHANISM,
            "listener.name.clients.scram-sha-512.sasl.jaas.config": f"{_SCRAM_LOGIN};",
            "listener.name.clients.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
            "listener.name.internal.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.enabled.protocols": "TLSv1.3",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificate(BROKER)),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            **authorization(),
        }

    def write_registry(self, name: str) -> None:
        """Puts the registry's configuration in place, so that its password is in no environment and no command line.

        It names no path, so that it is the same in a container.
        """
        known = read_credentials(self.credentials(name))
        common = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.jaas.config": f'{_SCRAM_LOGIN} username="{known[USERNAME]}" password="{known[PASSWORD]}";',
            "ssl.endpoint.identification.algorithm": "https",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": self.authority.read_text().replace("\n", "\\n"),
        }
        lines = [f"apicurio.kafka.common.{key}={value}" for key, value in common.items()]
        lines.append("apicurio.kafkasql.consumer.group-prefix=registry-")
        write_private(self.registry_properties, ("\n".join(lines) + "\n").encode())

    @property
    def _hosts_file(self) -> Path:
        return self.folder / "hosts"

    @property
    def _authority_file(self) -> Path:
        return self.folder / "ca-private.pem"


def authorization() -> dict[str, str]:
    """The broker's authorizer: denies by default, save to the two names in certificates that only we issue."""
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:CN={BROKER};User:CN={ADMIN}",
    }
