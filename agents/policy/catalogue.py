"""The catalogue of policy bundles: which versions there are, how far each has come, and which rule.

A version comes into force only when another person than its author has reviewed it and it has run as a shadow. The
catalogue is a fold over signed events that stand in every partition, so a domain's bundles are those of its own offset.
What does not count changes nothing and has a reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from autopilot.agents.authority import Authority
from autopilot.agents.lifecycle import Lifecycle
from autopilot.policies.engine import policy_set
from autopilot.schemas.configuration import Role
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.governance import (
    BundleActivated,
    BundleRetired,
    BundleReviewed,
    BundleShadowed,
    BundleSubmitted,
)
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.identity import digest_of


class BundleState(StrEnum):
    """How far a version has come."""

    DRAFT = "draft"
    REVIEWED = "reviewed"
    SHADOW = "shadow"
    ACTIVE = "active"
    RETIRED = "retired"


class BundleTrigger(StrEnum):
    """What moves it on."""

    REVIEW = "BundleReviewed"
    SHADOW = "BundleShadowed"
    ACTIVATE = "BundleActivated"
    SUPERSEDE = "another version activated"
    ROLL_BACK = "rolled back to"
    RETIRE = "BundleRetired"


_S, _T = BundleState, BundleTrigger

BUNDLE: Lifecycle[BundleState, BundleTrigger] = Lifecycle(
    "bundle",
    _S.DRAFT,
    {
        (_S.DRAFT, _T.REVIEW): _S.REVIEWED,
        (_S.DRAFT, _T.RETIRE): _S.RETIRED,
        (_S.REVIEWED, _T.SHADOW): _S.SHADOW,
        (_S.REVIEWED, _T.RETIRE): _S.RETIRED,
        (_S.SHADOW, _T.ACTIVATE): _S.ACTIVE,
        (_S.SHADOW, _T.RETIRE): _S.RETIRED,
        (_S.ACTIVE, _T.SUPERSEDE): _S.RETIRED,
        (_S.ACTIVE, _T.RETIRE): _S.RETIRED,
        (_S.RETIRED, _T.ROLL_BACK): _S.ACTIVE,
    },
)
"""Only a version that ruled before is rolled back to."""

WRITERS: Final = (Role.AUTHOR, Role.ADMINISTRATOR)
REVIEWERS: Final = (Role.REVIEWER, Role.AUTHOR, Role.ADMINISTRATOR)
UNDOERS: Final = (Role.OPERATOR, Role.AUTHOR, Role.ADMINISTRATOR)
KEPT_PREDECESSORS: Final = 10
"""Versions that ruled before, for each name, that can still be rolled back to."""


class RefusedError(Exception):
    """What a person said does not count; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One version of a bundle. `content` is dropped once it can never rule again."""

    bundle: str
    version: str
    digest: str
    content: str
    author: str
    reviewer: str = ""
    state: BundleState = BUNDLE.initial

    @property
    def title(self) -> str:
        """`bundle@version`."""
        return f"{self.bundle}@{self.version}"

    def document(self) -> Document:
        """The bundle as a document."""
        return Document(kind="PolicyBundle", name=self.bundle, digest=self.digest, content=self.content)


@dataclass
class Catalogue:
    """Entries by title, and for each name the versions that ruled, the last one the one that rules (or ruled last)."""

    entries: dict[str, Entry] = field(default_factory=dict)
    ruled: dict[str, list[str]] = field(default_factory=dict)

    def active(self) -> list[Document]:
        """The bundles that rule, by name."""
        found = [entry for entry in self.entries.values() if entry.state is BundleState.ACTIVE]
        return [entry.document() for entry in sorted(found, key=lambda entry: entry.bundle)]

    def active_version(self, bundle: str) -> str:
        """The version that rules under a name; empty for none."""
        return next((e.version for e in self.entries.values() if e.bundle == bundle and _rules(e)), "")

    def previous(self, bundle: str) -> Entry | None:
        """The version that ruled before the one that rules, or the last one when none does."""
        versions = self.ruled.get(bundle, [])
        at = -2 if self.active_version(bundle) else -1
        return self.entries.get(f"{bundle}@{versions[at]}") if len(versions) >= -at else None

    # -- what happened -----------------------------------------------------------------------------------------------

    def bootstrap(self, activation: ConfigurationActivated) -> None:
        """Takes the first bundles of a partition, which an administrator may bring; later ones come by life cycle."""
        if self.entries:
            return
        for doc in (each for each in activation.documents if each.kind == "PolicyBundle"):
            entry = Entry(doc.name, _version_of(doc), doc.digest, doc.content, activation.author)
            self.entries[entry.title] = replace(entry, state=BundleState.ACTIVE)
            self.ruled[doc.name] = [entry.version]

    def submitted(self, recorded: Recorded[BundleSubmitted], authority: Authority) -> None:
        """A new draft. Raises `RefusedError`."""
        said = recorded.payload
        check_claim(recorded.signed_by, said.author, authority, WRITERS)
        doc, title = said.document, f"{said.bundle}@{said.version}"
        if title in self.entries:
            raise RefusedError(
                f"there is a `{title}` already, by `{self.entries[title].author}`: give it a new version"
            )
        if doc.kind != "PolicyBundle" or doc.digest != digest_of(doc.content):
            raise RefusedError("the document is no PolicyBundle of the digest that it names")
        broken = policy_set([doc.content]).broken
        if broken:
            raise RefusedError(broken)
        if (doc.name, _version_of(doc)) != (said.bundle, said.version):
            raise RefusedError(f"the document is `{doc.name}@{_version_of(doc)}`, submitted as `{title}`")
        self.entries[title] = Entry(said.bundle, said.version, doc.digest, doc.content, said.author)

    def reviewed(self, recorded: Recorded[BundleReviewed], authority: Authority) -> None:
        """A review. Raises `RefusedError`."""
        said = recorded.payload
        check_claim(recorded.signed_by, said.reviewer, authority, REVIEWERS)
        entry = self._named(said)
        if said.reviewer == entry.author:
            raise RefusedError(f"`{said.reviewer}` wrote it: another person must review it")
        self._move(replace(entry, reviewer=said.reviewer), BundleTrigger.REVIEW)

    def shadowed(self, recorded: Recorded[BundleShadowed], authority: Authority) -> None:
        """It is run as a shadow. Raises `RefusedError`."""
        check_claim(recorded.signed_by, recorded.payload.ordered_by, authority, WRITERS)
        self._move(self._named(recorded.payload), BundleTrigger.SHADOW)

    def activated(self, recorded: Recorded[BundleActivated], authority: Authority) -> None:
        """It rules from here on. Raises `RefusedError`."""
        said = recorded.payload
        check_claim(recorded.signed_by, said.ordered_by, authority, UNDOERS if said.rollback else WRITERS)
        entry, now = self._named(said), self.active_version(said.bundle)
        if said.replaces != now:
            raise RefusedError(f"`{now or 'no version'}` rules now, not `{said.replaces or 'no version'}`: look again")
        if said.rollback:
            self._roll_back(entry)
            return
        _after(entry, BundleTrigger.ACTIVATE)
        if now:
            self._move(self.entries[f"{said.bundle}@{now}"], BundleTrigger.SUPERSEDE)
        self._move(entry, BundleTrigger.ACTIVATE)
        self.ruled[said.bundle] = [*self.ruled.get(said.bundle, []), said.version]
        self._forget(said.bundle)

    def retired(self, recorded: Recorded[BundleRetired], authority: Authority) -> None:
        """It rules no longer, or never will; one that rules only an administrator takes away. Raises `RefusedError`."""
        said = recorded.payload
        entry = self._named(said)
        allowed = (Role.ADMINISTRATOR,) if entry.state is BundleState.ACTIVE else WRITERS
        check_claim(recorded.signed_by, said.ordered_by, authority, allowed)
        self._move(entry, BundleTrigger.RETIRE)
        self._forget(said.bundle)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _roll_back(self, entry: Entry) -> None:
        previous = self.previous(entry.bundle)
        if previous is None or previous.version != entry.version:
            ruled = f"`{previous.version}`" if previous is not None else "nothing"
            raise RefusedError(f"{ruled} ruled before: a roll-back goes there, not to `{entry.version}`")
        versions, now = self.ruled[entry.bundle], self.active_version(entry.bundle)
        if now:
            self._move(self.entries[f"{entry.bundle}@{now}"], BundleTrigger.SUPERSEDE)
            versions.pop()
        self._move(entry, BundleTrigger.ROLL_BACK)
        self._forget(entry.bundle)

    def _named(self, said: BundleReviewed | BundleShadowed | BundleActivated | BundleRetired) -> Entry:
        entry = self.entries.get(f"{said.bundle}@{said.version}")
        if entry is None:
            raise RefusedError(f"there is no `{said.bundle}@{said.version}`")
        if said.digest != entry.digest:
            raise RefusedError(f"it is about other content: digest {said.digest}, submitted was {entry.digest}")
        return entry

    def _move(self, entry: Entry, trigger: BundleTrigger) -> None:
        self.entries[entry.title] = replace(entry, state=_after(entry, trigger))

    def _forget(self, bundle: str) -> None:
        """Keeps so many predecessors; drops the content of what can never rule again, but not its name."""
        self.ruled[bundle] = versions = self.ruled.get(bundle, [])[-KEPT_PREDECESSORS - 1 :]
        for title, entry in self.entries.items():
            if entry.bundle == bundle and entry.state is BundleState.RETIRED and entry.version not in versions:
                self.entries[title] = replace(entry, content="")


_LACKING: Final[Mapping[BundleState, str]] = {
    BundleState.DRAFT: "it has not been reviewed by another person than its author",
    BundleState.REVIEWED: "it has been reviewed, but has not run as a shadow",
    BundleState.SHADOW: "it is running as a shadow",
    BundleState.ACTIVE: "it rules already",
    BundleState.RETIRED: "it is retired",
}


def _after(entry: Entry, trigger: BundleTrigger) -> BundleState:
    if not BUNDLE.accepts(entry.state, trigger):
        raise RefusedError(f"`{entry.title}` is {entry.state}: {_LACKING[entry.state]} (author `{entry.author}`)")
    return BUNDLE.after(entry.state, trigger)


def _rules(entry: Entry) -> bool:
    return entry.state is BundleState.ACTIVE


def _version_of(doc: Document) -> str:
    ready = policy_set([doc.content]).bundles
    return ready[0].bundle.version if ready else ""


def check_claim(signed_by: str | None, claimed: str, authority: Authority, roles: tuple[Role, ...]) -> None:
    """Checks that the claimed person signed, and has one of the roles. Raises `RefusedError`."""
    if signed_by is None:
        raise RefusedError("it bears no signature of a principal in force")
    if signed_by != claimed:
        raise RefusedError(f"it was signed by `{signed_by}`, not by `{claimed}`")
    if not authority.has(claimed, *roles):
        held = ", ".join(sorted(authority.roles.get(claimed, ()))) or "none"
        raise RefusedError(f"`{claimed}` has the roles {held}; needed is {' or '.join(roles)}")


Taker = Callable[[Catalogue, Recorded[Any], Authority], None]

TAKERS: Final[Mapping[type[Payload], Taker]] = {
    BundleSubmitted: Catalogue.submitted,
    BundleReviewed: Catalogue.reviewed,
    BundleShadowed: Catalogue.shadowed,
    BundleActivated: Catalogue.activated,
    BundleRetired: Catalogue.retired,
}
"""Event type -> what it does to a catalogue; each raises `RefusedError` when it does not count."""
