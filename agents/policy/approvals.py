"""Which approvals count, whether the evidence still stands, and what people are shown when they are asked."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from autopilot.agents.authority import Authority
from autopilot.agents.policy.holding import Holding
from autopilot.agents.policy.people import AGENTS
from autopilot.agents.policy.states import HoldingState
from autopilot.policies.engine import ApprovalNeed
from autopilot.policies.obligations import Per
from autopilot.schemas.basis_points import percent
from autopilot.schemas.configuration import Role
from autopilot.schemas.events.effector import Change, PreviewCompleted
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import PlanProposed, Step
from autopilot.schemas.events.policy import ApprovalRequested, Decision, subject_of
from autopilot.schemas.events.verifier import Check, Outcome
from autopilot.schemas.identity import derived_id

Answer = ApprovalGranted | ApprovalRejected

WHOLE_PLAN: Final = ""
"""The step id of a request for the whole plan."""
AS_BEFORE: Final = " (as it was before the start)"
_US_PER_MS: Final = 1_000


def parts_of(plan: PlanProposed, per: Per) -> list[list[str]]:
    """The ids of the steps that are approved together: all, those of each stage, or each one alone; in order."""
    parts = [[plan.steps[0].step_id]]
    for before, step in pairwise(plan.steps):
        if per is Per.STEP or (per is Per.STAGE and before.gate is not None):
            parts.append([])
        parts[-1].append(step.step_id)
    return parts


def begun_by(plan: PlanProposed, held_steps: Sequence[str], first: str = "") -> list[Step]:
    """The steps that one authorisation lets begin: from the plan's beginning or a held step up to the next held one."""
    steps = [step.step_id for step in plan.steps]
    begin = steps.index(first) if first else 0
    end = next((at for at in range(begin + 1, len(steps)) if steps[at] in held_steps), len(steps))
    return plan.steps[begin:end]


def requests_of(
    plan: PlanProposed,
    decision: Decision,
    need: ApprovalNeed,
    reason: str,
    preview: PreviewCompleted | None,
    now_us: int,
) -> tuple[ApprovalRequested, ...]:
    """What people are asked before a plan starts: one request for the whole, for each part, or for the first one.

    A plan of one stage is asked for as a whole.
    """
    parts = parts_of(plan, need.per)
    if len(parts) == 1 and need.per is not Per.STEP:
        parts = [[]]
    return tuple(
        ApprovalRequested(
            approval_id=derived_id("apr", plan.plan_id, decision.decision_id, *part),
            decision=decision,
            group=need.group,
            needed=need.needed,
            summary=summary_of(plan, reason, preview, part),
            expires_at_us=now_us + need.expires_ms * _US_PER_MS,
            step_id=part[0] if part else WHOLE_PLAN,
            tolerances=dict(need.tolerances),
            step_ids=part,
        )
        for part in (parts[:1] if need.when_reached else parts)
    )


def request_for_step(
    holding: Holding, decision: Decision, need: ApprovalNeed, reason: str, now_us: int
) -> ApprovalRequested:
    """What people are asked about the held step that an execution has reached."""
    step_id, plan = holding.held_step, holding.plan
    part = [step.step_id for step in begun_by(plan, holding.held_steps, step_id)]
    stage = stage_before(holding)
    return ApprovalRequested(
        approval_id=derived_id("apr", plan.plan_id, decision.decision_id, *part),
        decision=decision,
        group=need.group,
        needed=need.needed,
        summary="\n".join([summary_of(plan, reason, holding.preview, part, AS_BEFORE), *seen_before(holding)]),
        expires_at_us=now_us + need.expires_ms * _US_PER_MS,
        step_id=step_id,
        tolerances=dict(need.tolerances),
        execution_id=holding.execution_id,
        outcome_id=stage.outcome_id if stage is not None else "",
        step_ids=part,
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
    if holding.state not in (HoldingState.AWAITING, HoldingState.HELD):
        return f"the request is closed: the plan is {holding.state}"
    if request not in holding.asked:
        why = f"step `{request.step_id}` is authorised" if request.execution_id else "it was made before the plan began"
        return f"the request is closed: {why}"
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
    if name in holding.approvers(request.approval_id):
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


def stage_before(holding: Holding) -> Outcome | None:
    """The outcome of the stage right before the held step; None when the step before it has no gate."""
    steps = [step.step_id for step in holding.plan.steps]
    at = steps.index(holding.held_step)
    stage = holding.stage
    return stage if at and stage is not None and stage.step_id == steps[at - 1] else None


def seen_before(holding: Holding) -> Iterable[str]:
    """How the step before the held one went: its verdict with the figures, and where the evidence stands."""
    steps = [step.step_id for step in holding.plan.steps]
    at, stage = steps.index(holding.held_step), stage_before(holding)
    if at == 0:
        return []
    if stage is None:
        return [f"step {steps[at - 1]} before it: succeeded; it has no gate, so nothing was measured after it"]
    evidence = ", ".join(f"{e.topic}[{e.partition}]@{e.first_offset}-{e.last_offset}" for e in stage.evidence)
    return [
        f"step {steps[at - 1]} before it: succeeded, "
        f"its stage verified with {percent(stage.confidence_bp)}: {stage.reason}",
        *map(_check_line, stage.checks),
        f"evidence: outcome {stage.outcome_id}" + (f", {evidence}" if evidence else ""),
    ]


def _check_line(check: Check) -> str:
    figures = [
        f"{name} {value:g}"
        for name, value in (("before", check.before_mean), ("after", check.after_mean), ("effect", check.effect_size))
        if value is not None
    ]
    sure = [] if check.confidence_bp is None else [f"confidence {percent(check.confidence_bp)}"]
    return f"  {check.name}: {', '.join([check.verdict.value, *figures, *sure])}"


def summary_of(
    plan: PlanProposed, reason: str, preview: PreviewCompleted | None, step_ids: Sequence[str] = (), when: str = ""
) -> str:
    """What people are asked to approve: the plan or some steps, why they are asked, and what it would change.

    `step_ids` are empty for the whole plan. `when` says when the preview was made, where that is not now.
    """
    lines = [
        f"{subject_of(step_ids)} of: {plan.summary}" if step_ids else plan.summary,
        f"why you are asked: {reason}",
        f"confidence {percent(plan.confidence_bp)}, touches {plan.blast_radius_instances} instances"
        f" ({percent(plan.blast_radius_bp)}) at once, {'reversible' if plan.reversible else 'NOT reversible'}",
        *_previewed(preview, step_ids, when),
    ]
    return "\n".join(lines)


def _previewed(preview: PreviewCompleted | None, step_ids: Sequence[str], when: str) -> Iterable[str]:
    if preview is None:
        return ["preview: none came in time; what would change is not known"]
    changes = [change for change in preview.changes if not step_ids or change.step_id in step_ids]
    if not preview.ok:
        return [f"preview{when}: not possible, {preview.reason}", *map(_line, changes)]
    return [f"would change{when}:", *map(_line, changes)] if changes else [f"would change nothing{when}"]


def _line(change: Change) -> str:
    return f"  {change.step_id}: {change.field} {change.before} -> {change.after}"
