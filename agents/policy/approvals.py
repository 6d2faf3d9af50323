"""Which approvals count, whether the evidence still stands, and what people are shown when they are asked."""

from collections.abc import Iterable
from typing import Final

from autopilot.agents.authority import Authority
from autopilot.agents.policy.holding import Holding
from autopilot.agents.policy.people import AGENTS
from autopilot.agents.policy.states import HoldingState
from autopilot.policies.engine import ApprovalNeed
from autopilot.schemas.configuration import Role
from autopilot.schemas.events.effector import Change, PreviewCompleted
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested, Decision
from autopilot.schemas.identity import derived_id

Answer = ApprovalGranted | ApprovalRejected

WHOLE_PLAN: Final = ""
"""The step id of a request for the whole plan."""
_US_PER_MS: Final = 1_000


def requests_of(
    plan: PlanProposed,
    decision: Decision,
    need: ApprovalNeed,
    reason: str,
    preview: PreviewCompleted | None,
    now_us: int,
) -> tuple[ApprovalRequested, ...]:
    """What people are asked: one request for the whole plan, or one for each step."""
    steps = [step.step_id for step in plan.steps] if need.per_step else [WHOLE_PLAN]
    return tuple(
        ApprovalRequested(
            approval_id=derived_id("apr", plan.plan_id, decision.decision_id, *([step] if step else [])),
            decision=decision,
            group=need.group,
            needed=need.needed,
            summary=summary_of(plan, reason, preview, step),
            expires_at_us=now_us + need.expires_ms * _US_PER_MS,
            step_id=step,
            tolerances=dict(need.tolerances),
        )
        for step in steps
    )


def refusal(answer: Answer, signed_by: str | None, holding: Holding | None, authority: Authority, now_us: int) -> str:
    """Why an answer to an approval request does not count; empty when it does."""
    if signed_by is None:
        return "it bears no signature of a principal in force"
    if signed_by != answer.approver:
        return f"it was signed by `{signed_by}`, not by `{answer.approver}`"
    request = holding.request(answer.approval_id) if holding is not None else None
    if holding is None or request is None:
        return "no such request stands in this domain"
    if holding.state is not HoldingState.AWAITING:
        return f"the request is closed: the plan is {holding.state}"
    return _unbound(answer, request, now_us) or _unentitled(answer, holding, request, authority)


def _unbound(answer: Answer, request: ApprovalRequested, now_us: int) -> str:
    """Why it is not about what was asked."""
    if answer.plan_hash != request.decision.plan_hash:
        return f"it is for another plan: hash {answer.plan_hash}, asked for {request.decision.plan_hash}"
    if isinstance(answer, ApprovalGranted) and answer.facts_digest != request.decision.facts_digest:
        return f"it is for other facts: digest {answer.facts_digest}, asked for {request.decision.facts_digest}"
    if now_us >= request.expires_at_us:
        return "it came after the request had expired"
    return ""


def _unentitled(answer: Answer, holding: Holding, request: ApprovalRequested, authority: Authority) -> str:
    """Why this principal may not give it."""
    name, group = answer.approver, request.group
    if name in AGENTS or name == holding.proposer or authority.has(name, Role.POLICY):
        return f"`{name}` proposes or decides plans and cannot approve one"
    if not authority.has(name, group):
        return f"`{name}` is not of the group `{group}`"
    if name in holding.approvers(request.step_id):
        return f"`{name}` has approved already"
    return ""


def strayed(request: ApprovalRequested, now: Decision) -> str:
    """Which fact left the tolerance that the approval rests on, and how; empty when none did."""
    shown = {fact.name: fact.value for fact in request.decision.facts}
    present = {fact.name: fact.value for fact in now.facts}
    for name, most in request.tolerances.items():
        before, after = shown.get(name), present.get(name)
        counts = type(before) is int and type(after) is int
        if before != after and not (counts and abs(int(after or 0) - int(before or 0)) <= most):
            return f"`{name}` was {before} when it was asked for, is {after}, and may move by {most}"
    return ""


def summary_of(plan: PlanProposed, reason: str, preview: PreviewCompleted | None, step_id: str = WHOLE_PLAN) -> str:
    """What people are asked to approve: the plan or one step, why they are asked, and what it would change."""
    lines = [
        f"step {step_id} of: {plan.summary}" if step_id else plan.summary,
        f"why you are asked: {reason}",
        f"confidence {plan.confidence_bp} bp, touches {plan.blast_radius_instances} instances"
        f" ({plan.blast_radius_bp} bp) at once, {'reversible' if plan.reversible else 'NOT reversible'}",
        *_previewed(preview, step_id),
    ]
    return "\n".join(lines)


def _previewed(preview: PreviewCompleted | None, step_id: str) -> Iterable[str]:
    if preview is None:
        return ["preview: none came in time; what would change is not known"]
    changes = [change for change in preview.changes if step_id in (WHOLE_PLAN, change.step_id)]
    if not preview.ok:
        return [f"preview: not possible, {preview.reason}", *map(_line, changes)]
    return ["would change:", *map(_line, changes)] if changes else ["would change nothing"]


def _line(change: Change) -> str:
    return f"  {change.step_id}: {change.field} {change.before} -> {change.after}"
