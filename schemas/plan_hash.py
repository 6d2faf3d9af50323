"""The hash that binds approvals, decisions and steps to one plan."""

from collections.abc import Container, Sequence

from autopilot.schemas.canonical_writer import canonical_writer
from autopilot.schemas.envelope import Rejection
from autopilot.schemas.events.planner import PlanProposed, Step, Verification
from autopilot.schemas.identity import digest_of

_STEP = canonical_writer(Step)
_VERIFICATION = canonical_writer(Verification, without_defaults=True)


def plan_hash(steps: Sequence[Step], verification: Verification) -> str:
    """Digest of what would be done and how it would be judged, as `sha256:HEX`: any change to either changes it.

    What is not known of the verification is left out, so that a plan from before there was such a field keeps its hash.
    """
    return hash_of(steps_text(steps), verification)


def steps_text(steps: Sequence[Step]) -> str:
    """The canonical text of steps, for whoever has several hashes made of the same ones."""
    return f"[{','.join(map(_STEP, steps))}]"


def hash_of(written: str, verification: Verification) -> str:
    """`plan_hash` of steps of which the canonical text is given."""
    return digest_of(f'{{"steps":{written},"verification":{_VERIFICATION(verification)}}}')


def refused_plan(plan: PlanProposed, known: Container[str]) -> Rejection | None:
    """Why a plan cannot be what is decided, carried out and judged.

    It has no steps, or two of one name; its content is another one; or its name is known.
    """
    names = [step.step_id for step in plan.steps]
    if not names or len(set(names)) < len(names):
        return Rejection("steps", f"`{', '.join(names)}`", "at least one, each with a name of its own")
    if plan.plan_hash != plan_hash(plan.steps, plan.verification):
        return Rejection("plan_hash", plan.plan_hash, "the hash of the plan's steps and verification")
    if plan.plan_id in known:
        return Rejection("plan_id", f"`{plan.plan_id}`", "a plan that was not proposed before")
    return None
