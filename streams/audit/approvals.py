"""Whether the approvals that an authorisation names are in the log before it, and those that it needed.

Roles are those at the offset of the approval: who loses a role later has approved all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from autopilot.policies.obligations import APPROVAL
from autopilot.schemas.configuration import Principal
from autopilot.schemas.events.people import ApprovalGranted
from autopilot.schemas.events.policy import ApprovalRequested, ApprovalUse, PlanAuthorized, StepAuthorized, subject_of


@dataclass(frozen=True, slots=True)
class _Given:
    """An approval that somebody gave under their own signature."""

    granted: ApprovalGranted
    roles: frozenset[str]


@dataclass(slots=True)
class Approvals:
    """Requests and approvals of one partition, as far as the log was read."""

    steps: dict[str, list[str]] = field(default_factory=dict)
    """Request -> the steps that it was for; empty for the whole plan."""
    given: dict[str, _Given] = field(default_factory=dict)
    """By the approval's event id."""

    def requested(self, request: ApprovalRequested) -> None:
        """People were asked."""
        self.steps[request.approval_id] = request.step_ids

    def granted(
        self, event_id: str, granted: ApprovalGranted, signed_by: str | None, signers: Sequence[Principal]
    ) -> None:
        """Somebody approved; it counts under their own signature alone."""
        if signed_by == granted.approver:
            roles = frozenset(role for one in signers if one.name == signed_by for role in one.roles)
            self.given[event_id] = _Given(granted, roles)

    def faults(self, authorized: PlanAuthorized | StepAuthorized, begun: Sequence[str] = ()) -> Iterator[str]:
        """What is wrong with the approvals that an authorisation rests on; `begun` are the steps that it lets begin."""
        needs = [need.parameters for need in authorized.obligations if need.name == APPROVAL]
        groups = {need.get("group", "") for need in needs}
        for use in authorized.approvals:
            yield from self._fault(authorized, use, groups)
        counts = [need.get("needed", "1") for need in needs]
        needed = max((int(count) for count in counts if count.isdecimal()), default=0)
        for step_id in sorted({use.step_id for use in authorized.approvals} or {""}):
            people = {use.approver for use in authorized.approvals if use.step_id == step_id}
            if len(people) < needed:
                yield f"needs {needed} people to approve {_named(step_id)}, and names {len(people)}"
        if not authorized.overruled_by:
            yield from self._let_through(authorized, begun)

    def _fault(self, authorized: PlanAuthorized | StepAuthorized, use: ApprovalUse, groups: set[str]) -> Iterator[str]:
        given = self.given.get(use.event_id)
        if given is None or given.granted.approver != use.approver:
            yield f"rests on an approval of `{use.approver}` that is not before it with their signature"
            return
        if given.granted.plan_hash != authorized.decision.plan_hash:
            yield f"rests on an approval of `{use.approver}` for another plan"
        if groups - given.roles:
            yield f"rests on an approval of `{use.approver}`, who was not of the group `{', '.join(sorted(groups))}`"
        asked = self.steps.get(given.granted.approval_id)
        wanted = authorized.step_id if isinstance(authorized, StepAuthorized) else use.step_id
        if asked is None:
            yield f"rests on an approval of `{use.approver}` that nobody had asked for"
        elif (_first(asked), use.step_id) != (wanted, wanted):
            yield f"rests on an approval of `{use.approver}` for something else, {_named(_first(asked))}"

    def _let_through(self, authorized: PlanAuthorized | StepAuthorized, begun: Sequence[str]) -> Iterator[str]:
        """Steps that may begin although the approvals are of others: neither held nor approved."""
        approved: set[str] = set()
        for use in authorized.approvals:
            given = self.given.get(use.event_id)
            asked = self.steps.get(given.granted.approval_id) if given is not None else None
            if asked == [] or not use.step_id:
                return
            approved |= {use.step_id, *(asked or ())}
        for step_id in begun if approved else ():
            if step_id not in approved:
                yield f"lets {_named(step_id)} begin, which nobody approved and which is not held"


def _first(asked: Sequence[str]) -> str:
    return asked[0] if asked else ""


def _named(step_id: str) -> str:
    return subject_of([step_id] if step_id else [])
