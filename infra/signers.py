"""The signer list that the keys of a folder make: who they are, and what their signatures are good for.

A home that nobody has configured gets an administrator, an approver who is another person, because whoever activates
configuration must not be the only one to approve what follows, and one principal for each process that signs: planner,
policy, executor, effector, verifier and sealer.
"""

import json
from pathlib import Path

from autopilot.infra.keys import ensure_key, public_key_of
from autopilot.schemas.configuration import Configuration, Principal, Role, Signers, document
from autopilot.schemas.events.people import Document

ADMINISTRATOR, APPROVER = "admin", "approver"
PLANNER, POLICY, EXECUTOR = "planner", "policy", "executor"
EFFECTOR, VERIFIER, SEALER = "effector", "verifier", "sealer"
ROLES_OF_NEW: dict[str, list[str]] = {
    ADMINISTRATOR: [Role.ADMINISTRATOR, Role.AUTHOR, Role.OPERATOR],
    APPROVER: [Role.APPROVER, Role.OPERATOR, Role.REVIEWER],
    PLANNER: [Role.PLANNER],
    POLICY: [Role.POLICY],
    EXECUTOR: [Role.EXECUTOR],
    EFFECTOR: [Role.EFFECTOR],
    VERIFIER: [Role.VERIFIER],
    SEALER: [Role.SEALER],
}
"""The principals of a new home and their roles."""
DEFAULT_ROLES: list[str] = [Role.APPROVER]
"""The roles of a person who is added without saying which."""


def ensure_first_principals(folder: Path) -> None:
    """Makes the keys of a new home's principals that are not there yet."""
    for name in ROLES_OF_NEW:
        ensure_key(folder, name)


def add_principal(folder: Path, name: str, roles: list[str]) -> Principal:
    """Makes a key for `name` if there is none, and remembers its roles. Raises `KeyFileError`."""
    key = ensure_key(folder, name)
    file = _roles_file(folder)
    file.write_text(json.dumps(_chosen_roles(folder) | {name: roles}, indent=2, sort_keys=True) + "\n")
    return Principal(name=name, public_key=key.public_key, roles=roles)


def principals(folder: Path) -> list[Principal]:
    """Everyone whose key is in the folder, by name."""
    roles = ROLES_OF_NEW | _chosen_roles(folder)
    return [
        Principal(name=name, public_key=public_key_of(folder, name), roles=list(roles.get(name, DEFAULT_ROLES)))
        for name in sorted(path.stem for path in folder.glob("*.pub"))
    ]


def signers_of(folder: Path, administrator: str = "") -> Signers:
    """The folder's principals as a document; `administrator` is one in any case."""
    everyone = [
        p.model_copy(update={"roles": sorted({*p.roles, Role.ADMINISTRATOR})}) if p.name == administrator else p
        for p in principals(folder)
    ]
    return Signers(name="local", signers=everyone)


def rotated(in_force: Configuration, name: str, public_key: str, *, keep_old: bool) -> list[Document]:
    """The signer list in force with a new key for a principal that it has."""
    changed = []
    for doc in in_force.of_kind("Signers"):
        written = Signers.model_validate_json(doc.content)
        signers = [new for old in written.signers for new in _with_key(old, name, public_key, keep_old=keep_old)]
        unique = {(each.name, each.public_key): each for each in signers}
        changed.append(document(written.model_copy(update={"signers": list(unique.values())}).model_dump(mode="json")))
    return changed


def _with_key(old: Principal, name: str, public_key: str, *, keep_old: bool) -> list[Principal]:
    if old.name != name:
        return [old]
    fresh = old.model_copy(update={"public_key": public_key})
    return [fresh, old] if keep_old else [fresh]


def _chosen_roles(folder: Path) -> dict[str, list[str]]:
    file = _roles_file(folder)
    chosen: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    return chosen


def _roles_file(folder: Path) -> Path:
    return folder / "roles.json"
