"""Whose signature counts: folded from the configuration in force, so that a replay sees the same.

The first accepted configuration of a partition is the genesis: it must bring a signer list and be signed by an
administrator on that very list. Every later one must be signed by a principal of the list in force; one that brings a
signer list must be signed by an administrator.

The first policy bundles of a partition may come with an activation that an administrator signs. From then on bundles
change through their life cycle alone (`agents/policy/catalogue.py`): an activation that brings others does not count.

A signature says who, not when or where, and whoever may write to the log could write a signed record once more: what
that changes is said in `streams/repetition.py`.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import ModuleType
from typing import Final

from autopilot.schemas.configuration import Configuration, Principal, Role
from autopilot.schemas.envelope import Event, Rejection
from autopilot.schemas.events import EVENT_TYPES, effector, executor, planner, policy, verifier
from autopilot.schemas.events.governance import (
    BreakGlass,
    BundleActivated,
    BundleRetired,
    BundleReviewed,
    BundleShadowed,
    BundleSubmitted,
    GovernanceRefused,
    NoticeGiven,
    RemedyAutonomyChanged,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.people import (
    ApprovalGranted,
    ApprovalRejected,
    ConfigurationActivated,
    Halt,
    Resume,
)
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized, StepAuthorized
from autopilot.schemas.signing import holds
from autopilot.streams.record import SIGNATURE, Record

AUTHORITATIVE: frozenset[str] = frozenset(
    model.event_type()
    for model in (
        ConfigurationActivated,
        PlanAuthorized,
        StepAuthorized,
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


def _all_of(family: ModuleType) -> frozenset[str]:
    return frozenset(name for name, model in EVENT_TYPES.items() if model.__module__ == family.__name__)


_OF_GOVERNANCE: Final = frozenset(
    model.event_type() for model in (RemedyAutonomyLowered, RemedyPromotionProposed, GovernanceRefused, NoticeGiven)
)
"""What the policy says about what rules it."""
SIGNS: Final[Mapping[str, frozenset[str]]] = {
    "planner": _all_of(planner),
    "policy": _all_of(policy) | _OF_GOVERNANCE,
    "executor": _all_of(executor),
    "effector": _all_of(effector),
    "verifier": _all_of(verifier),
}
"""Process -> the event types that are signed with its key when they are minted. New ones of a family are among them."""
_ROLES: Final[Mapping[str, Role]] = {
    "planner": Role.PLANNER,
    "policy": Role.POLICY,
    "executor": Role.EXECUTOR,
    "effector": Role.EFFECTOR,
    "verifier": Role.VERIFIER,
}
ANSWERED_FOR: Final[Mapping[str, Role]] = {
    event_type: _ROLES[name] for name, types in SIGNS.items() for event_type in sorted(types - AUTHORITATIVE)
}
"""Event types that a process answers for with its key, as soon as the signer list has somebody with its role."""
SIGNED: Final[frozenset[str]] = AUTHORITATIVE | frozenset(chain(*SIGNS.values()))
"""Event types whose signature is looked at."""


def signer_of(record: Record, event_type: str, signers: Sequence[Principal]) -> str | None:
    """The principal among `signers` whose key signed the record, or None."""
    header = record.headers.get(SIGNATURE)
    if header is None:
        return None
    for principal in signers:
        if holds(header, principal.public_key, event_type, record.key, record.value):
            return principal.name
    return None


def check_signature(record: Record, event_type: str, signers: Sequence[Principal]) -> str | Rejection | None:
    """Who signed the record, None for nobody known; or why it does not count, whoever did.

    What a process answers for does not count when the list has its role, and nobody with it has signed this. What means
    nothing without a signature is for its reader to refuse, who knows which one it takes.
    """
    if event_type not in SIGNED:
        return None
    role = ANSWERED_FOR.get(event_type)
    able = [principal for principal in signers if role in principal.roles]
    signed_by = signer_of(record, event_type, able)
    if signed_by is not None:
        return signed_by
    signed_by = signer_of(record, event_type, signers)
    if not able:
        return signed_by
    return Rejection("signature", f"of `{signed_by or 'nobody known'}`", f"of a principal with the role {role}")


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


def is_heard(name: str, public_key: str | None, signers: Sequence[Principal]) -> bool:
    """Whether what the process `name` signs with this key counts, or would count without a signature."""
    role = _ROLES[name]
    able = [one.public_key for one in signers if role in one.roles]
    return not able or public_key in able


def bears_policys_word(record: Record, event_type: str, signers: Sequence[Principal]) -> bool:
    """Whether the policy signed the record: for readers that fold no roles. Nobody else may authorise."""
    return signer_of(record, event_type, [one for one in signers if Role.POLICY in one.roles]) is not None


def as_far_as_trust(configuration: Configuration) -> Configuration:
    """What the checks here need of a configuration: signer lists, and which bundles there are. The rest is large."""
    bundles = [doc.model_copy(update={"content": ""}) for doc in configuration.of_kind("PolicyBundle")]
    needed = Configuration().with_activated([*configuration.of_kind("Signers"), *bundles])
    return needed.model_copy(update={"said_at_us": configuration.said_at_us})


def _changes_bundles(in_force: Configuration, candidate: Configuration) -> bool:
    """Whether there are bundles already and the candidate has others."""
    known = {(doc.name, doc.digest) for doc in in_force.of_kind("PolicyBundle")}
    return bool(known) and known != {(doc.name, doc.digest) for doc in candidate.of_kind("PolicyBundle")}
