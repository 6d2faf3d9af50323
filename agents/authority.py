"""Who may say what, and what is halted: folded from configuration, halts and resumes.

The runtime has checked the signatures; here a signer's name is looked up in the roles in force.
"""

from dataclasses import dataclass, field
from typing import Any

from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.envelope import Recorded, Rejection
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume

EVERYWHERE = "*"
"""The scope of a halt that holds for every domain."""

_MAY_HALT = (Role.OPERATOR, Role.ADMINISTRATOR)


@dataclass
class Authority:
    """Roles by principal, and for each halted scope who halted it."""

    roles: dict[str, list[str]] = field(default_factory=dict)
    administrators: list[str] = field(default_factory=list)
    """Public keys of the administrators in force, sorted."""
    halts: dict[str, list[str]] = field(default_factory=dict)

    def activate(self, activation: ConfigurationActivated) -> None:
        """Takes over the signer list, if the activation brings one."""
        signers = Configuration().with_activated(activation.documents).signers()
        if not any(doc.kind == "Signers" for doc in activation.documents):
            return
        self.roles = {}
        for signer in signers:
            self.roles.setdefault(signer.name, []).extend(signer.roles)
        self.administrators = sorted(s.public_key for s in signers if Role.ADMINISTRATOR in s.roles)

    def has(self, name: str | None, *roles: str) -> bool:
        """Whether the principal has one of the roles; nobody has none."""
        return name is not None and not set(roles).isdisjoint(self.roles.get(name, ()))

    def halt(self, recorded: Recorded[Any]) -> Rejection | None:
        """Halts a scope, or says why the order does not count."""
        order: Halt = recorded.payload
        refused = self._refused(recorded.signed_by, order.ordered_by)
        if refused is None and order.ordered_by not in self.halts.setdefault(order.scope, []):
            self.halts[order.scope].append(order.ordered_by)
        return refused

    def resume(self, recorded: Recorded[Any]) -> Rejection | None:
        """Lifts the halt of exactly the scope that is named, or says why the order does not count."""
        order: Resume = recorded.payload
        refused = self._refused(recorded.signed_by, order.ordered_by)
        if refused is not None:
            return refused
        if order.ordered_by in self.halts.get(order.scope, []):
            return Rejection("ordered_by", f"`{order.ordered_by}`", "another person than who halted")
        self.halts.pop(order.scope, None)
        return None

    def halted(self, domain: str) -> bool:
        """Whether nothing new may begin in the domain."""
        return EVERYWHERE in self.halts or domain in self.halts

    def _refused(self, signed_by: str | None, ordered_by: str) -> Rejection | None:
        if signed_by is None or signed_by != ordered_by:
            return Rejection("signature", f"of `{signed_by or 'nobody known'}`", f"of `{ordered_by}`")
        if not self.has(signed_by, *_MAY_HALT):
            roles = sorted(self.roles.get(signed_by, ()))
            return Rejection("ordered_by", f"`{ordered_by}` with roles {roles}", "an operator or an administrator")
        return None
