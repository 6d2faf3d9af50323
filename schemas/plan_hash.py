"""The hash that binds approvals, decisions and steps to one plan."""

from collections.abc import Container, Sequence

from autopilot.schemas.configuration import canonical
from autopilot.schemas.envelope import Rejection
from autopilot.schemas.events.planner import PlanProposed, Step, Verification
from autopilot.schemas.identity import digest_of


def plan_hash(steps: Sequence[Step], verification: Verification) -> str:
    """Digest of what would be done and how it would be judged, as `sha256:HEX`: any change to either changes it.

    What is not known of the verification is left out, so that a plan from before there was such a field keeps its hash.
    """
    content = {
        "steps": [step.model_dump(mode="json") for step in steps],
        "verification": verification.model_dump(mode="json", exclude_defaults=True),
    }
    return digest_of(canonical(content))


def refused_plan(plan: PlanProposed, known: Container[str]) -> Rejection | None:
    """Why a plan cannot be what is carried out and judged: its content is another one, or its name is known."""
    if plan.plan_hash != plan_hash(plan.steps, plan.verification):
        return Rejection("plan_hash", plan.plan_hash, "the hash of the plan's steps and verification")
    if plan.plan_id in known:
        return Rejection("plan_id", f"`{plan.plan_id}`", "a plan that was not proposed before")
    return None
