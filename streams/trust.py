"""Whose signature counts: folded from the configuration in force, so that a replay sees the same.

The first accepted configuration of a partition is the genesis: it must bring a signer list and be signed by an
administrator on that very list. Every later one must be signed by a principal of the list in force; one that brings a
signer list must be signed by an administrator.
"""

from autopilot.schemas.configuration import Configuration, Principal, Role
from autopilot.schemas.envelope import Event, Rejection
from autopilot.schemas.events.people import (
    ApprovalGranted,
    ApprovalRejected,
    ConfigurationActivated,
    Halt,
    Resume,
)
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized
from autopilot.schemas.signing import holds
from autopilot.streams.record import SIGNATURE, Record

AUTHORITATIVE: frozenset[str] = frozenset(
    model.event_type()
    for model in (
        ConfigurationActivated,
        PlanAuthorized,
        AuthorizationRevoked,
        ApprovalGranted,
        ApprovalRejected,
        Halt,
        Resume,
    )
)
"""Event types that mean nothing without a signature."""


def signer_of(record: Record, event_type: str, signers: list[Principal]) -> str | None:
    """The principal among `signers` whose key signed the record, or None."""
    header = record.headers.get(SIGNATURE)
    if header is None:
        return None
    for principal in signers:
        if holds(header, principal.public_key, event_type, record.key, record.value):
            return principal.name
    return None


def check_activation(
    record: Record, event: Event[ConfigurationActivated], in_force: Configuration
) -> Configuration | Rejection:
    """The configuration after an activation, or why it does not count."""
    activation = event.payload
    known = in_force.signers()
    candidate = in_force.with_activated(activation.documents)
    judges = known or candidate.signers()
    author = signer_of(record, event.type, judges)
    if author is None or author != activation.author:
        return Rejection("signature", f"of `{author or 'nobody known'}`", f"of the author `{activation.author}`")
    roles = next(principal.roles for principal in judges if principal.name == author)
    brings_signers = any(doc.kind == "Signers" for doc in activation.documents)
    needed = {Role.ADMINISTRATOR} if brings_signers or not known else {Role.ADMINISTRATOR, Role.AUTHOR}
    if not needed & set(roles):
        return Rejection("author", f"`{author}` with roles {sorted(roles)}", f"one of the roles {sorted(needed)}")
    return candidate
