"""A plan whose steps are held, as the policy sees it: its rules, its execution and what its first stage came to."""

from typing import Any

from outcomes import outcome
from policy_bundles import PERMIT, bundle, rule
from policy_world import (
    granted,
    in_force,
    plan,
    preview,
)
from sagas import gate
from scenario import Scenario

from autopilot.policies.bundle import PolicyBundle, Rule
from autopilot.schemas.events.effector import Change
from autopilot.schemas.events.executor import (
    ExecutionStarted,
    RollbackStarted,
    StepHeld,
)
from autopilot.schemas.events.observer import EvidenceRange
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    PlanAuthorized,
)
from autopilot.schemas.events.verifier import Check, CheckVerdict, OutcomeVerified
from autopilot.schemas.plan_hash import plan_hash

NO_LOSS = rule("lost", "deny", "telemetry_lost")
STEP_MS = 10_000 * 2 + 1_000
"""How long a step of the plan may take, with its time to settle."""
GATE_MS = 60_000


def ask(when: str = "true", **parameters: Any) -> Rule:
    """A rule that asks for each step as it is reached."""
    stated = {"group": "approver", "needed": 1, "expires_ms": 600_000, "per": "step", **parameters}
    return rule("each", "obligate", when, obligation={"name": "approval", "parameters": stated})


def asks(*more: Rule, **parameters: Any) -> PolicyBundle:
    """A bundle of it, that denies in the dark."""
    return bundle(PERMIT, NO_LOSS, ask(**parameters), *more)


def rollout() -> PlanProposed:
    """Three steps; a gate after the first."""
    one = plan().steps[0]
    steps = [
        one.model_copy(update={"gate": gate(GATE_MS)}),
        one.model_copy(update={"step_id": "2"}),
        one.model_copy(update={"step_id": "3"}),
    ]
    return plan(steps=steps, plan_hash=plan_hash(steps, plan().verification))


WHOLE = rollout()
NAMES = {"execution_id": "exe", "plan_id": "plan", "incident_id": "inc"}
STARTED = ExecutionStarted(**NAMES, decision_id="dec", steps=3)
ROLLBACK = RollbackStarted(**NAMES, reason="r", step_ids=["1"])


def held(step_id: str = "2") -> StepHeld:
    return StepHeld(**NAMES, decision_id="dec", step_id=step_id)


def stage_verified(step_id: str = "1") -> OutcomeVerified:
    check = Check(
        name="slo:errors below 1 %",
        verdict=CheckVerdict.PASS,
        before_mean=0.25,
        after_mean=0.01,
        threshold=0.02,
        before_samples=9,
        after_samples=9,
        reason="it recovered",
        effect_size=-0.24,
        confidence_bp=9_950,
    )
    judged = {"confidence_bp": 9_900, "reason": "all checks passed"}
    seen = EvidenceRange(topic="telemetry", partition=3, first_offset=10, last_offset=42)
    return OutcomeVerified(outcome=outcome("stage", step_id, checks=[check], evidence=[seen], **NAMES, **judged))


def authorised(*bundles: PolicyBundle, **more: Any) -> tuple[Scenario, PlanAuthorized]:
    """The plan, whose first step or stage was approved."""
    changes = [Change(step_id=s, field="release", before="a", after=f"b{s}") for s in ("1", "2", "3")]
    shown = preview(changes).model_copy(update={"plan_hash": WHOLE.plan_hash})
    scenario = in_force(*(bundles or (asks(),)), **more).events(WHOLE).when(shown)
    request = scenario.only(ApprovalRequested)
    assert (request.step_id, request.execution_id) == ("1", "")
    scenario.when(*(granted(request, who) for who in ("bob", "dee")[: request.needed]))
    return scenario, scenario.only(PlanAuthorized)


def waiting(*bundles: PolicyBundle, **more: Any) -> tuple[Scenario, ApprovalRequested]:
    """The execution waits before its second step, about which people are asked."""
    scenario, _ = authorised(*bundles, **more)
    scenario.events(STARTED, stage_verified()).when(held()).then(ApprovalRequested)
    return scenario, scenario.only(ApprovalRequested)
