"""Plans, decisions and results for tests of the executor and of the effector."""

from typing import Any

from decided import decision
from scenario import START_US, Said

from autopilot.agents.executor.states import execution_of, idempotency_key
from autopilot.schemas.configuration import Principal, Role, Signers, document
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import (
    FailureClass,
    StepFailed,
    StepIndeterminate,
    StepStarted,
    StepSucceeded,
)
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import (
    Action,
    ConfidenceBasis,
    PlanProposed,
    RiskClass,
    StageGate,
    Step,
    Verification,
)
from autopilot.schemas.events.policy import ApprovalUse, Decision, Obligation, PlanAuthorized, StepAuthorized
from autopilot.schemas.plan_hash import plan_hash
from autopilot.schemas.signing import SigningKey

SECOND_US = 1_000_000
POLICY = SigningKey.from_bytes("policy", b"p" * 32)
ADA = SigningKey.from_bytes("ada", b"a" * 32)
BOB = SigningKey.from_bytes("bob", b"b" * 32)
EXECUTION = execution_of("dec-1")


def signers() -> Document:
    """Ada administers, Bob operates, policy authorises."""
    roles = ((ADA, Role.ADMINISTRATOR), (BOB, Role.OPERATOR), (POLICY, Role.POLICY))
    people = [Principal(name=key.principal, public_key=key.public_key, roles=[role]) for key, role in roles]
    return document(Signers(name="s", signers=people).model_dump(mode="json"))


def act(verb: str, target: str = "web", **parameters: str) -> Action:
    return Action(driver="fake", verb=verb, target=target, parameters=parameters)


def gate(deadline_ms: int = 60_000) -> StageGate:
    """Something must be seen before the next step is taken."""
    return StageGate(
        slo_names=[], guard_metrics=[], settle_ms=1_000, after_ms=9_000, deadline_ms=deadline_ms, groups=[]
    )


def step(
    number: int,
    *,
    undo: bool = True,
    attempts: int = 2,
    settle_ms: int = 0,
    verb: str = "set",
    gate: StageGate | None = None,
) -> Step:
    """Step `number` sets `n` of the target `t<number>`; its compensation sets it back."""
    return Step(
        step_id=f"s{number}",
        action=act(verb, f"t{number}", n="1"),
        compensation=act(verb, f"t{number}", n="0") if undo else None,
        timeout_ms=5_000,
        max_attempts=attempts,
        settle_ms=settle_ms,
        gate=gate,
    )


def plan(*steps: Step, reversible: bool = True, plan_id: str = "plan-1") -> PlanProposed:
    verification = Verification(slo_names=[], guard_metrics=[], before_ms=1, settle_ms=1, after_ms=1, deadline_ms=1)
    taken = list(steps or (step(1), step(2)))
    return PlanProposed(
        plan_id=plan_id,
        incident_id="inc-1",
        plan_hash=plan_hash(taken, verification),
        remedy="r",
        remedy_digest="sha256:0",
        summary="s",
        steps=taken,
        verification=verification,
        risk_class=RiskClass.LOW,
        reversible=reversible,
        blast_radius_bp=0,
        blast_radius_instances=0,
        cost=1,
        confidence_bp=5_000,
        basis=ConfidenceBasis(
            context="c", prior_successes_milli=1, prior_failures_milli=1, verified=0, rejected=0, mean_bp=5_000
        ),
        alternatives=[],
        attempt=1,
        expires_at_us=START_US + 3_600 * SECOND_US,
    )


def authorization(
    of: PlanProposed,
    *,
    decision_id: str = "dec-1",
    obligations: list[Obligation] | None = None,
    approvals: list[ApprovalUse] | None = None,
    seconds: int = 600,
    held_steps: list[str] | None = None,
) -> PlanAuthorized:
    return PlanAuthorized(
        decision=_decision(of, decision_id),
        obligations=obligations or [],
        approvals=approvals or [],
        not_after_us=START_US + seconds * SECOND_US,
        held_steps=held_steps or [],
    )


def step_authorization(of: PlanProposed, step_id: str = "s2", *, seconds: int = 600, **changes: Any) -> StepAuthorized:
    """The policy lets a held step begin, until `seconds` from the start."""
    authorized = StepAuthorized(
        decision=_decision(of, f"dec-1-{step_id}"),
        plan_decision_id="dec-1",
        execution_id=EXECUTION,
        step_id=step_id,
        obligations=[],
        approvals=[],
        not_after_us=START_US + seconds * SECOND_US,
    )
    return authorized.model_copy(update=changes)


def step_signed(of: PlanProposed, step_id: str = "s2", **changes: Any) -> Said:
    """The policy lets a held step begin, with its signature."""
    return Said(step_authorization(of, step_id, **changes), signed_by="policy")


def _decision(of: PlanProposed, decision_id: str) -> Decision:
    return decision(decision_id=decision_id, plan_id=of.plan_id, incident_id=of.incident_id, plan_hash=of.plan_hash)


def signed(of: PlanProposed, **changes: Any) -> Said:
    """The policy authorises the plan."""
    return Said(authorization(of, **changes), signed_by="policy")


def request(of: PlanProposed, step_id: str = "s1", phase: str = "forward", attempt: int = 1) -> StepRequested:
    """What the executor asks for, of a plan with decision `dec-1`."""
    asked = next(s for s in of.steps if s.step_id == step_id)
    action = asked.action if phase == "forward" else asked.compensation
    assert action is not None
    return StepRequested(
        **names(step_id, phase, attempt),
        decision_id="dec-1",
        idempotency_key=idempotency_key(EXECUTION, step_id, phase),
        action=action,
        timeout_ms=asked.timeout_ms,
        not_after_us=START_US + 600 * SECOND_US,
    )


def names(step_id: str, phase: str, attempt: int) -> dict[str, Any]:
    return {
        "execution_id": EXECUTION,
        "plan_id": "plan-1",
        "incident_id": "inc-1",
        "step_id": step_id,
        "phase": phase,
        "attempt": attempt,
    }


def started(
    step_id: str = "s1", phase: str = "forward", attempt: int = 1, crash_class: str = "convergent"
) -> StepStarted:
    return StepStarted(
        **names(step_id, phase, attempt),
        decision_id="dec-1",
        idempotency_key=idempotency_key(EXECUTION, step_id, phase),
        crash_class=crash_class,
        before={},
    )


def ok(step_id: str = "s1", phase: str = "forward", attempt: int = 1) -> StepSucceeded:
    return StepSucceeded(**names(step_id, phase, attempt), changed=True, after={})


def failed(
    step_id: str = "s1",
    phase: str = "forward",
    attempt: int = 1,
    failure: FailureClass = FailureClass.PERMANENT,
    reason: str = "no",
) -> StepFailed:
    return StepFailed(**names(step_id, phase, attempt), failure=failure, reason=reason)


def unknown(step_id: str = "s1", phase: str = "forward", attempt: int = 1) -> StepIndeterminate:
    return StepIndeterminate(**names(step_id, phase, attempt), reason="blind")


def asked_for(drafts: list[Draft]) -> list[tuple[str, str, int]]:
    """The steps that were asked for, as step, phase and attempt."""
    requests = [draft.payload for draft in drafts if isinstance(draft.payload, StepRequested)]
    return [(r.step_id, r.phase, r.attempt) for r in requests]
