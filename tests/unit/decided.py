"""What the policy decides about a plan and what people answer, for tests of those who read it."""

from typing import Any

from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.policy import ApprovalRequested, Decision, PlanAuthorized


def decision(number: int = 1, **of: Any) -> Decision:
    """The decision `dec-NUMBER` on the plan `plan-NUMBER`, or `of` another one."""
    content: dict[str, Any] = {
        "decision_id": f"dec-{number}",
        "plan_id": f"plan-{number}",
        "incident_id": "inc-1",
        "plan_hash": "sha256:1",
        "bundle": "b@1",
        "bundle_digest": "sha256:b",
        "rules": [],
        "facts": [],
        "facts_digest": "sha256:f",
    }
    return Decision(**{**content, **of})


def requested(about: Decision, approval_id: str = "apr-1", needed: int = 1, **of: Any) -> ApprovalRequested:
    """Approvers are asked about a plan, for as long as it takes."""
    content = {"group": "approver", "summary": "restart", "expires_at_us": 2**62}
    return ApprovalRequested(approval_id=approval_id, decision=about, needed=needed, **{**content, **of})


def granted(asked: ApprovalRequested, approver: str, comment: str = "") -> ApprovalGranted:
    """One of them approves, as it was shown."""
    shown = asked.decision
    return ApprovalGranted(
        approval_id=asked.approval_id,
        plan_id=shown.plan_id,
        plan_hash=shown.plan_hash,
        facts_digest=shown.facts_digest,
        approver=approver,
        comment=comment,
    )


def rejected(asked: ApprovalRequested, approver: str, comment: str = "") -> ApprovalRejected:
    """One of them refuses."""
    return ApprovalRejected(
        approval_id=asked.approval_id,
        plan_id=asked.decision.plan_id,
        plan_hash=asked.decision.plan_hash,
        approver=approver,
        comment=comment,
    )


def authorized(about: Decision, not_after_us: int = 0) -> PlanAuthorized:
    """The plan may be carried out."""
    return PlanAuthorized(decision=about, obligations=[], approvals=[], not_after_us=not_after_us)
