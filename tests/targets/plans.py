"""Plans about real targets, the decisions that authorise them, and single attempts at their steps."""

import time
from typing import Any

import outcomes
from sagas import authorization, plan, request, step

from autopilot.infra.effector.port import Driver
from autopilot.infra.effector.work import Prepared, carry_out
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionRolledBack
from autopilot.schemas.events.planner import REVERT, Action, PlanProposed, Step
from autopilot.schemas.events.policy import PlanAuthorized
from autopilot.schemas.events.verifier import Outcome
from autopilot.schemas.plan_hash import plan_hash

LASTS_US = 3_600_000_000
ANSWERED_MS = 120_000
KEY = "key-1"
"""Of a single attempt."""


def reverting(action: Action) -> Action:
    """What puts back what the first step's action changed."""
    return Action(driver=action.driver, verb=REVERT, target=action.target, parameters={"step": "s1"})


def first_step(action: Action, timeout_s: float, *, revert: bool) -> Step:
    """Step `s1`; with `revert` it can be undone."""
    changes: dict[str, Any] = {"action": action, "timeout_ms": round(timeout_s * 1_000), "max_attempts": 3}
    return step(1).model_copy(update={**changes, "compensation": reverting(action) if revert else None})


def failing_step(driver: str, target: str) -> Step:
    """Step `s2`, which fails for good, also when the answer has to wait for effectors that are killed."""
    action = Action(driver=driver, verb="no-such-verb", target=target, parameters={})
    return step(2, undo=False).model_copy(update={"action": action, "timeout_ms": ANSWERED_MS, "max_attempts": 3})


def outcome(end: ExecutionCompleted | ExecutionRolledBack, phase: str) -> Outcome:
    """A judgement by whoever has counted the effects at the target."""
    names = {"execution_id": end.execution_id, "plan_id": end.plan_id, "incident_id": end.incident_id}
    return outcomes.outcome(
        phase, outcome_id=f"out-{end.execution_id}-{phase}", reason="counted at the target", **names
    )


def proposal(name: str, *steps: Step) -> tuple[PlanProposed, PlanAuthorized]:
    """A plan of these steps and its authorisation; `name` sets them apart from all others."""
    not_after_us = time.time_ns() // 1_000 + LASTS_US
    of = plan(*steps, plan_id=f"plan-{name}")
    of = of.model_copy(update={"incident_id": f"inc-{name}", "expires_at_us": not_after_us})
    assert of.plan_hash == plan_hash(of.steps, of.verification)
    decided = authorization(of, decision_id=f"dec-{name}")
    return of, decided.model_copy(update={"not_after_us": not_after_us})


def attempt(driver: Driver, action: Action, timeout_s: float) -> Payload:
    """What the effector records of one attempt at an action, under the key `KEY`."""
    asked = request(plan(first_step(action, timeout_s, revert=False))).model_copy(update={"idempotency_key": KEY})
    prepared = Prepared(driver.observe(action.target), driver.verbs[action.verb])
    return carry_out({action.driver: driver}, asked, prepared)
