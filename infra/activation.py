"""Activating configuration: what is in force, whether a new set may follow it, and its broadcast."""

from collections.abc import Mapping, Sequence

from autopilot.infra.configuration_files import Finding
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Event
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.identity import digest_of
from autopilot.schemas.registry import SchemaRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.reader import read_raw
from autopilot.streams.record import EVENT_TYPE
from autopilot.streams.trust import check_activation

_ACTIVATED = ConfigurationActivated.event_type().encode()


def configuration_in_force(kafka: Mapping[str, str], registry: SchemaRegistry) -> Configuration:
    """The configuration that every agent has at the end of the log, by the same checks that they make.

    Activations are broadcast, so one partition tells it all.
    """
    codec = Codec(registry)
    in_force = Configuration()
    for record in read_raw(kafka, str(Topic.LOG), partitions=[0]):
        if record.headers.get(EVENT_TYPE) != _ACTIVATED:
            continue
        try:
            event = codec.decode(record.value)
        except ContractError:
            continue
        if isinstance(event.payload, ConfigurationActivated):
            outcome = check_activation(record, Event(event.envelope, event.payload), in_force)
            in_force = outcome if isinstance(outcome, Configuration) else in_force
    return in_force


def activation(documents: Sequence[Document], author: str, comment: str) -> ConfigurationActivated:
    """The event that puts `documents` in force."""
    ordered = sorted(documents, key=lambda doc: (doc.kind, doc.name))
    revision = digest_of("\n".join(doc.digest for doc in ordered))
    return ConfigurationActivated(revision=revision, documents=ordered, author=author, comment=comment)


def check_author(in_force: Configuration, documents: Sequence[Document], author: SigningKey) -> list[Finding]:
    """Why the agents would not accept these documents from this author, before anything is written."""
    known = in_force.signers()
    judges = known or in_force.with_activated(documents).signers()
    brings_signers = any(doc.kind == "Signers" for doc in documents)
    if not judges:
        return [_finding("signers", "missing", "a Signers document: the first activation must bring one")]
    mine = next((p for p in judges if p.name == author.principal), None)
    if mine is None or mine.public_key != author.public_key:
        names = ", ".join(p.name for p in judges)
        return [_finding("author", f"`{author.principal}`", f"one whose key is in the signer list: {names}")]
    first_bundles = not in_force.of_kind("PolicyBundle") and any(doc.kind == "PolicyBundle" for doc in documents)
    administrators_only = brings_signers or first_bundles or not known
    needed = {Role.ADMINISTRATOR} if administrators_only else {Role.ADMINISTRATOR, Role.AUTHOR}
    if not needed & set(mine.roles):
        roles = " or ".join(sorted(needed))
        return [_finding("author", f"`{mine.name}` with roles {', '.join(mine.roles)}", f"a signer with role {roles}")]
    return []


def changes(in_force: Configuration, documents: Sequence[Document]) -> list[str]:
    """What an activation would change, one line for each document that is new, changed or gone; empty for nothing."""
    after = in_force.with_activated(documents)
    lines = []
    for kind in sorted({doc.kind for doc in documents}):
        old = {doc.name: doc.digest for doc in in_force.of_kind(kind)}
        new = {doc.name: doc.digest for doc in after.of_kind(kind)}
        lines += [f"+ {kind} {name}" for name in sorted(new.keys() - old.keys())]
        lines += [f"~ {kind} {name}" for name in sorted(new.keys() & old.keys()) if new[name] != old[name]]
        lines += [f"- {kind} {name}" for name in sorted(old.keys() - new.keys())]
    return lines


def _finding(name: str, value: str, expected: str) -> Finding:
    return Finding("signers", 0, name, value, expected)
