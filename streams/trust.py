"""Whose signature counts: folded from the configuration in force, so that a replay sees the same.

The first accepted configuration of a partition is the genesis: it must bring a signer list and be signed by an
administrator on that very list. Every later one must be signed by a principal of the list in force; one that brings a
signer list must be signed by an administrator.

The first policy bundles of a partition may come with an activation that an administrator signs. From then on bundles
change through their life cycle alone (`agents/policy/catalogue.py`): an activation that brings others does not count.

A signature says who, not when or where, and whoever may write to the log could write a signed record once more. So the
orders of people count once: an activation that is older than the one in force, an order that was heard already and one
that is a day old do not. What the log caused counts only in the partition of its cause.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

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
    RemedyAutonomyLowered,
)
from autopilot.schemas.events.people import (
    ApprovalGranted,
    ApprovalRejected,
    ConfigurationActivated,
    Halt,
    Resume,
)
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
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
ANSWERED_FOR: Mapping[str, Role] = {
    OutcomeVerified.event_type(): Role.VERIFIER,
    OutcomeRejected.event_type(): Role.VERIFIER,
    OutcomeInconclusive.event_type(): Role.VERIFIER,
    RemedyAutonomyLowered.event_type(): Role.POLICY,
}
"""Event types that an agent answers for with its key, as soon as the signer list has somebody with its role."""
SIGNED: frozenset[str] = AUTHORITATIVE | ANSWERED_FOR.keys()
"""Event types whose signature is looked at."""
SIGNS: Mapping[str, frozenset[str]] = {
    "policy": frozenset(model.event_type() for model in (PlanAuthorized, AuthorizationRevoked, RemedyAutonomyLowered)),
    "verifier": frozenset(model.event_type() for model in (OutcomeVerified, OutcomeRejected, OutcomeInconclusive)),
}
"""Agent -> the event types that the runtime signs for it when it mints."""
_BOUND: Final = frozenset(
    model.event_type()
    for model in (PlanAuthorized, AuthorizationRevoked, ApprovalGranted, ApprovalRejected, ConfigurationActivated)
)
"""Those of them whose readers know a repetition by the decision, the request or the configuration that it is about."""
HEARD_US: Final = 86_400_000_000
"""How long the orders of people are remembered, and how old one may be: a day."""


def signer_of(record: Record, event_type: str, signers: list[Principal]) -> str | None:
    """The principal among `signers` whose key signed the record, or None."""
    header = record.headers.get(SIGNATURE)
    if header is None:
        return None
    for principal in signers:
        if holds(header, principal.public_key, event_type, record.key, record.value):
            return principal.name
    return None


def check_answered_for(record: Record, event_type: str, signers: list[Principal]) -> Rejection | None:
    """Why what an agent answers for does not count: the list has its role, and nobody with it has signed this."""
    role = ANSWERED_FOR.get(event_type)
    able = [principal for principal in signers if role in principal.roles]
    if not able or signer_of(record, event_type, able) is not None:
        return None
    given = signer_of(record, event_type, signers)
    return Rejection("signature", f"of `{given or 'nobody known'}`", f"of a principal with the role {role}")


def check_activation(
    record: Record, event: Event[ConfigurationActivated], in_force: Configuration
) -> Configuration | Rejection:
    """The configuration after an activation, or why it does not count."""
    activation, said_at_us = event.payload, event.envelope.occurred_at_us
    if said_at_us < in_force.said_at_us:
        expected = f"none that is older than the one in force, which was said at {in_force.said_at_us}"
        return Rejection("occurred_at_us", str(said_at_us), expected)
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
    return candidate.model_copy(update={"said_at_us": said_at_us})


def check_place(record: Record, event: Event[Any]) -> Rejection | None:
    """Why a record does not count where it stands: what the log caused stands in the partition of its cause."""
    envelope, here = event.envelope, record.position
    if envelope.cause_topic != here.topic or envelope.cause_partition == here.partition:
        return None
    return Rejection("cause_partition", str(envelope.cause_partition), f"the partition it stands in, {here.partition}")


def check_first_said(event: Event[Any], heard: MutableMapping[str, int], now_us: int) -> Rejection | None:
    """Why a signed order does not count: it was heard before, or is old. One that counts is noted in `heard`.

    `heard` has the ids of orders with the times at which they were said; `now_us` is the last tick's time.
    """
    said_at_us, event_id = event.envelope.occurred_at_us, event.envelope.event_id
    if event.type in _BOUND:
        return None
    if said_at_us < now_us - HEARD_US:
        return Rejection("occurred_at_us", str(said_at_us), f"at most a day before {now_us}: it must be said again")
    if event_id in heard:
        return Rejection("event_id", f"`{event_id}` for a second time", "an order that was not heard before")
    for old in [known for known, at_us in heard.items() if at_us < now_us - HEARD_US]:
        del heard[old]
    heard[event_id] = said_at_us
    return None


def _changes_bundles(in_force: Configuration, candidate: Configuration) -> bool:
    """Whether there are bundles already and the candidate has others."""
    known = {(doc.name, doc.digest) for doc in in_force.of_kind("PolicyBundle")}
    return bool(known) and known != {(doc.name, doc.digest) for doc in candidate.of_kind("PolicyBundle")}
