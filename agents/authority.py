"""Who may say what, and what is halted: folded from configuration, halts and resumes.

The runtime has checked the signatures; here a signer's name is looked up in the roles in force.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.envelope import Recorded, Rejection
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume

EVERYWHERE = "*"
"""The scope of a halt that holds for every domain."""

MAY_HALT = (Role.OPERATOR, Role.ADMINISTRATOR)


@dataclass(frozen=True)
class OpenHalt:
    """A halt that holds: the event that ordered it, why, and when it was said."""

    event_id: str
    reason: str
    at_us: int


@dataclass
class Authority:
    """Roles by principal, and for each halted scope the halts that hold there, by who gave them.

    Each halt is ended by another person than who gave it. Two people who both halted a scope end each other's halt.
    """

    roles: dict[str, list[str]] = field(default_factory=dict)
    administrators: list[str] = field(default_factory=list)
    """Public keys of the administrators in force, sorted."""
    halts: dict[str, dict[str, OpenHalt]] = field(default_factory=dict)
    """Scope -> who halted it -> their halt; a later one of the same person takes the place of the earlier one."""

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
        if refused is None:
            envelope = recorded.envelope
            given = OpenHalt(envelope.event_id, order.reason, envelope.occurred_at_us)
            self.halts.setdefault(order.scope, {})[order.ordered_by] = given
        return refused

    def resume(self, recorded: Recorded[Any]) -> Rejection | None:
        """Ends the halts of exactly the scope that is named: those that the order names, or all when it names none,
        but never one of who gives the order. Or says why the order does not count.
        """
        order: Resume = recorded.payload
        refused = self._refused(recorded.signed_by, order.ordered_by)
        open_here = self.halts.get(order.scope, {})
        if refused is not None or not open_here:
            return refused
        named = {by: halt for by, halt in open_here.items() if not order.halts or halt.event_id in order.halts}
        ended = named.keys() - {order.ordered_by}
        if ended:
            self._end(order.scope, ended)
            return None
        if named:
            return Rejection("ordered_by", f"`{order.ordered_by}`", "another person than who halted")
        return Rejection("halts", ", ".join(order.halts), f"halts that hold: {_ids_of(open_here)}")

    def _end(self, scope: str, ended: Set[str]) -> None:
        """Drops the halts of `scope` that were given by `ended`, and the scope with its last one."""
        left = {by: halt for by, halt in self.halts[scope].items() if by not in ended}
        if left:
            self.halts[scope] = left
        else:
            del self.halts[scope]

    def may_resume(self, scope: str) -> list[str]:
        """Who could end a halt of the scope: all who may halt now, save who gave the only one.

        With several halts each of them could end the others', also those of somebody who has lost the role since; their
        own stays until another person ends it, if there is one.
        """
        open_here = self.halts.get(scope, {})
        able = {name for name in self.roles if self.has(name, *MAY_HALT)}
        return sorted(able - open_here.keys() if len(open_here) == 1 else able)

    def halted(self, domain: str) -> bool:
        """Whether nothing new may begin in the domain."""
        return EVERYWHERE in self.halts or domain in self.halts

    def _refused(self, signed_by: str | None, ordered_by: str) -> Rejection | None:
        if signed_by is None or signed_by != ordered_by:
            return Rejection("signature", f"of `{signed_by or 'nobody known'}`", f"of `{ordered_by}`")
        if not self.has(signed_by, *MAY_HALT):
            roles = sorted(self.roles.get(signed_by, ()))
            return Rejection("ordered_by", f"`{ordered_by}` with roles {roles}", "an operator or an administrator")
        return None


def not_of_the_policy(recorded: Recorded[Any]) -> Rejection:
    """Why words do not count that only a principal with the role policy may say."""
    return Rejection("signature", f"of `{recorded.signed_by or 'nobody known'}`", "of a principal with the role policy")


def _ids_of(halts: Mapping[str, OpenHalt]) -> str:
    return ", ".join(halt.event_id for halt in halts.values())
