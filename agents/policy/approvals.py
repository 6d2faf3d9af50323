"""Which approvals count, and what people are shown when they are asked."""

from collections.abc import Iterable
from typing import Final

from autopilot.agents.authority import Authority
from autopilot.agents.policy.holding import Holding
from autopilot.agents.policy.states import HoldingState
from autopilot.schemas.configuration import Role
from autopilot.schemas.events.effector import Change, PreviewCompleted
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested

Answer = ApprovalGranted | ApprovalRejected

AGENTS: Final = frozenset({"observer", "planner", "policy", "executor", "effector", "verifier"})
"""Principals that propose, decide or act: none of them is a person, none may approve."""


def refusal(answer: Answer, signed_by: str | None, holding: Holding | None, authority: Authority, now_us: int) -> str:
    """Why an answer to an approval request does not count; empty when it does."""
    if signed_by is None:
        return "it bears no signature of a principal in force"
    if signed_by != answer.approver:
        return f"it was signed by `{signed_by}`, not by `{answer.approver}`"
    if holding is None or holding.request is None or holding.request.approval_id != answer.approval_id:
        return "no such request stands in this domain"
    if holding.state is not HoldingState.AWAITING:
        return f"the request is closed: the plan is {holding.state}"
    return _unbound(answer, holding.request, now_us) or _unentitled(answer, holding, holding.request.group, authority)


def _unbound(answer: Answer, request: ApprovalRequested, now_us: int) -> str:
    """Why it is not about what was asked."""
    if answer.plan_hash != request.decision.plan_hash:
        return f"it is for another plan: hash {answer.plan_hash}, asked for {request.decision.plan_hash}"
    if isinstance(answer, ApprovalGranted) and answer.facts_digest != request.decision.facts_digest:
        return f"it is for other facts: digest {answer.facts_digest}, asked for {request.decision.facts_digest}"
    if now_us >= request.expires_at_us:
        return "it came after the request had expired"
    return ""


def _unentitled(answer: Answer, holding: Holding, group: str, authority: Authority) -> str:
    """Why this principal may not give it."""
    name = answer.approver
    if name in AGENTS or authority.has(name, Role.POLICY):
        return f"`{name}` proposes or decides plans and cannot approve one"
    if not authority.has(name, group):
        return f"`{name}` is not of the group `{group}`"
    if any(use.approver == name for use in holding.approvals):
        return f"`{name}` has approved already"
    return ""


def summary_of(plan: PlanProposed, reason: str, preview: PreviewCompleted | None) -> str:
    """What people are asked to approve: the plan, why they are asked, and what it would change."""
    lines = [
        plan.summary,
        f"why you are asked: {reason}",
        f"confidence {plan.confidence_bp} bp, touches {plan.blast_radius_instances} instances"
        f" ({plan.blast_radius_bp} bp) at once, {'reversible' if plan.reversible else 'NOT reversible'}",
        *_previewed(preview),
    ]
    return "\n".join(lines)


def _previewed(preview: PreviewCompleted | None) -> Iterable[str]:
    if preview is None:
        return ["preview: none came in time; what would change is not known"]
    if not preview.ok:
        return [f"preview: not possible, {preview.reason}", *map(_line, preview.changes)]
    return ["would change:", *map(_line, preview.changes)] if preview.changes else ["would change nothing"]


def _line(change: Change) -> str:
    return f"  {change.step_id}: {change.field} {change.before} -> {change.after}"
