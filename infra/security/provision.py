"""What a secure Kafka is given before anyone can use it: every principal's password, and the access control lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from autopilot.infra.errors import MendableError
from autopilot.infra.security.acls import sync_acls
from autopilot.infra.security.credentials import PASSWORD, read_credentials
from autopilot.infra.security.ground import Ground
from autopilot.infra.security.principals import GRANTS

ITERATIONS = 4096
"""Kafka's least number. Passwords are 256 random bits, so a higher one would only make connecting slower."""
_MECHANISM = ScramMechanism.SCRAM_SHA_512
_TIMEOUT_S = 30.0


class ProvisionError(MendableError):
    """Kafka does not take passwords or access control lists: the message says why."""


def provision(ground: Ground, admin: Mapping[str, str]) -> tuple[int, int]:
    """Makes passwords and access control lists on the cluster what files and grants say. May be done again.

    Whoever is not in the table any more loses the password. Gives how many lists were added and taken away.
    Raises `ProvisionError`, `SecretFileError`.
    """
    client = AdminClient({**admin, "log_level": 3})
    try:
        set_passwords(client, ground, GRANTS)
        _forget(client, set(GRANTS))
        return sync_acls(client)
    except KafkaException as error:
        raise ProvisionError(f"kafka does not take passwords and access control lists: {error.args[0].str()}") from None


def set_passwords(client: AdminClient, ground: Ground, names: Iterable[str]) -> None:
    """Makes the passwords in the files the ones that count. Raises `KafkaException`, `SecretFileError`."""
    info = ScramCredentialInfo(_MECHANISM, ITERATIONS)
    wanted = [
        UserScramCredentialUpsertion(name, info, read_credentials(ground.credentials(name))[PASSWORD].encode())
        for name in names
    ]
    _alter(client, wanted)


def change_password(ground: Ground, admin: Mapping[str, str], name: str) -> None:
    """A new password for one principal, in its file and at Kafka. Its processes must be started again.

    When it is interrupted in between, `autopilot up` brings the two together. Raises `ProvisionError`.
    """
    ground.new_password(name)
    try:
        set_passwords(AdminClient({**admin, "log_level": 3}), ground, [name])
    except KafkaException as error:
        raise ProvisionError(f"the new password of `{name}` was not taken: {error.args[0].str()}") from None


def _forget(client: AdminClient, known: set[str]) -> None:
    described: Any = client.describe_user_scram_credentials(request_timeout=_TIMEOUT_S)
    strangers = [name for name in described.result() if name not in known]
    _alter(client, [UserScramCredentialDeletion(name, _MECHANISM) for name in strangers])


def _alter(client: AdminClient, alterations: Sequence[UserScramCredentialAlteration]) -> None:
    if alterations:
        for altered in client.alter_user_scram_credentials(list(alterations), request_timeout=_TIMEOUT_S).values():
            altered.result()
