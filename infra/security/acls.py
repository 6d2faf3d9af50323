"""Access control lists, made from the grants and kept equal to them: what is not in the table is taken away."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from autopilot.infra.security.principals import GRANTS, Grants

_TIMEOUT_S = 30.0
_TOPIC, _GROUP, _TRANSACTION = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
_LITERAL, _PREFIXED = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
_OF_OWNER = (AclOperation.CREATE, AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS)


def acls_of(name: str, grants: Grants) -> list[AclBinding]:
    """The bindings that let `User:name` do what it is granted. All of them allow; Kafka refuses the rest."""
    return [
        AclBinding(kind, resource, pattern, f"User:{name}", "*", operation, AclPermissionType.ALLOW)
        for kind, resource, pattern, operation in dict.fromkeys(_rules(grants))
    ]


def _rules(grants: Grants) -> Iterator[tuple[ResourceType, str, ResourcePatternType, AclOperation]]:
    for topic in grants.reads:
        yield _TOPIC, str(topic), _LITERAL, AclOperation.READ
    for topic in grants.writes:
        yield _TOPIC, str(topic), _LITERAL, AclOperation.WRITE
    for topic in grants.owns:
        for operation in _OF_OWNER:
            yield _TOPIC, topic, _LITERAL, operation
    for group in grants.groups:
        yield _GROUP, group, _LITERAL, AclOperation.READ
        yield _GROUP, f"{group}.", _PREFIXED, AclOperation.READ
    for prefix in grants.group_prefixes:
        yield _GROUP, prefix, _PREFIXED, AclOperation.READ
    for prefix in grants.looks_up:
        yield _GROUP, prefix, _PREFIXED, AclOperation.DESCRIBE
    for prefix in grants.transactions:
        yield _TRANSACTION, prefix, _PREFIXED, AclOperation.WRITE


def wanted_acls(grants: Mapping[str, Grants] = GRANTS) -> list[AclBinding]:
    """The bindings of every principal."""
    return [binding for name, granted in grants.items() for binding in acls_of(name, granted)]


def sync_acls(client: AdminClient, grants: Mapping[str, Grants] = GRANTS) -> tuple[int, int]:
    """Makes the cluster's bindings equal to the grants; gives how many were added and taken away.

    Raises `KafkaException` when the broker refuses or does not answer.
    """
    standing = set(client.describe_acls(_anything(), request_timeout=_TIMEOUT_S).result())
    wanted = set(wanted_acls(grants))
    _delete(client, standing - wanted)
    missing = sorted(wanted - standing, key=str)
    if missing:
        for created in client.create_acls(missing, request_timeout=_TIMEOUT_S).values():
            created.result()
    return len(missing), len(standing - wanted)


def _delete(client: AdminClient, surplus: Iterable[AclBinding]) -> None:
    filters = [
        AclBindingFilter(
            one.restype,
            one.name,
            one.resource_pattern_type,
            one.principal,
            one.host,
            one.operation,
            one.permission_type,
        )
        for one in surplus
    ]
    if filters:
        for deleted in client.delete_acls(filters, request_timeout=_TIMEOUT_S).values():
            deleted.result()


def _anything() -> AclBindingFilter:
    whatever: Any = None
    return AclBindingFilter(
        ResourceType.ANY,
        whatever,
        ResourcePatternType.ANY,
        whatever,
        whatever,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
