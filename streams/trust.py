"""Whose signature counts: folded from the configuration in force, so that a replay sees the same.

The first accepted configuration of a partition is the genesis: it must bring a signer list and be signed by an
administrator on that very list. Every later one must be signed by a principal of the list in force; one that brings a
signer list must be signed by an administrator.

The first policy bundles of a partition may come with an activation that an administrator signs. From then on bundles
change through their life cycle alone (`agents/policy/catalogue.py`): an activation that brings others does not count.
"""

from autopilot.schemas.configuration import Configuration, Principal, Role
from autopilot.schemas.envelope import Event, Rejection
from autopilot.schemas.events.governance import (
    BreakGlass,
    BundleActivated,
    BundleRetired,
    BundleReviewed,
    BundleShadowed,
    BundleSubmitted,
    RemedyAutonomyChanged,
)
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
        BundleSubmitted,
        BundleReviewed,
        BundleShadowed,
        BundleActivated,
        BundleRetired,
        RemedyAutonomyChanged,
        BreakGlass,
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
    if _changes_bundles(in_force, candidate):
        expected = (
            "a bundle that went through its life cycle: submitted, reviewed by another person, shadowed, activated"
        )
        return Rejection("documents", "another PolicyBundle than the one in force", expected)
    brings_signers = any(doc.kind == "Signers" for doc in activation.documents)
    brings_bundles = any(doc.kind == "PolicyBundle" for doc in activation.documents)
    first = not known or (brings_bundles and not in_force.of_kind("PolicyBundle"))
    needed = {Role.ADMINISTRATOR} if brings_signers or first else {Role.ADMINISTRATOR, Role.AUTHOR}
    if not needed & set(roles):
        return Rejection("author", f"`{author}` with roles {sorted(roles)}", f"one of the roles {sorted(needed)}")
    return candidate


def _changes_bundles(in_force: Configuration, candidate: Configuration) -> bool:
    """Whether there are bundles already and the candidate has others."""
    known = {(doc.name, doc.digest) for doc in in_force.of_kind("PolicyBundle")}
    return bool(known) and known != {(doc.name, doc.digest) for doc in candidate.of_kind("PolicyBundle")}
