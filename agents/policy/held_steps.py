"""Held steps: what the policy does when an execution waits before a step that needs an authorisation of its own.

People are asked when the step is reached, and shown how the stage before it went. When enough have approved, the plan
is judged again on the facts of that moment, as a whole plan is: `StepAuthorized` lets the step begin. A refusal, a
request that expires, facts that strayed or deny, and lost telemetry revoke the authorisation, and the executor undoes
what was done. In a halt nothing is decided: the step waits for the resume, or for its request to expire.
"""

from dataclasses import replace
from typing import Final

from autopilot.agents.policy.approvals import begun_by, parts_of, request_for_step, stage_before, strayed
from autopilot.agents.policy.governance import glass_for, notice
from autopilot.agents.policy.holding import Holding, PolicyState
from autopilot.agents.policy.judgement import Judge
from autopilot.agents.policy.states import HOLDING, HoldingState, Trigger
from autopilot.policies.bundle import Ruling
from autopilot.policies.engine import ApprovalNeed, Verdict
from autopilot.policies.obligations import APPROVAL
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.executor import StepHeld
from autopilot.schemas.events.planner import PlanProposed, Step
from autopilot.schemas.events.policy import ApprovalRequested, AuthorizationRevoked, Decision, StepAuthorized
from autopilot.schemas.events.verifier import Outcome

START_US: Final = 300_000_000
"""How long an authorisation gives beyond what its steps may take."""
_US_PER_MS: Final = 1_000


def held_later(plan: PlanProposed, need: ApprovalNeed | None) -> list[str]:
    """The steps with which a later part of the plan begins, where each part is to be approved as it is reached."""
    if need is None or not need.when_reached:
        return []
    return [part[0] for part in parts_of(plan, need.per)[1:]]


def held_steps_of(holding: Holding, verdict: Verdict) -> list[str]:
    """The steps of a plan that are held: those that the bundles in force want held, and those that were to be.

    The latter are those about which nobody was asked, whatever the bundles ask for by now: an approval of the first
    step or stage is none of the others.
    """
    held = {*holding.held_steps, *held_later(holding.plan, verdict.approval)}
    return [step.step_id for step in holding.plan.steps if step.step_id in held]


def not_after_us(plan: PlanProposed, held_steps: list[str], now_us: int, first: str = "") -> int:
    """When an authorisation ends: after what its steps may take by their own bounds, from `first` up to a held one."""
    return now_us + START_US + sum(map(_longest_ms, begun_by(plan, held_steps, first))) * _US_PER_MS


def _longest_ms(step: Step) -> int:
    gate_ms = step.gate.deadline_ms if step.gate is not None else 0
    return step.timeout_ms * step.max_attempts + step.settle_ms + gate_ms


def reached(judge: Judge, state: PolicyState, recorded: Recorded[StepHeld]) -> list[Output]:
    """An execution waits before a held step: people are asked."""
    held = recorded.payload
    holding = state.holdings.get(held.plan_id)
    if holding is None or not HOLDING.accepts(holding.state, Trigger.HOLD) or held.step_id in holding.released_steps:
        return []
    steps = [step.step_id for step in holding.plan.steps]
    if held.step_id not in steps:
        return [Rejection("step_id", f"`{held.step_id}`", "a step of the plan")]
    holding = replace(holding, execution_id=held.execution_id).holding_at(held.step_id, state.now_us)
    before = holding.plan.steps[max(steps.index(held.step_id) - 1, 0)]
    if before.gate is not None and steps.index(held.step_id) and stage_before(holding) is None:
        return [Rejection("step_id", f"`{held.step_id}`", f"a step before which stage `{before.step_id}` was verified")]
    state.holdings[held.plan_id] = holding
    return go_on(judge, state, holding, recorded.envelope.event_id)


def go_on(judge: Judge, state: PolicyState, holding: Holding, cause_id: str) -> list[Output]:
    """Asks about the held step, or decides about it, as far as that can be done now."""
    if state.authority.halted(holding.domain):
        return []
    decision, verdict = judge.of(state, holding, cause_id)
    glass = glass_for(state, holding.service, verdict)
    if glass is not None and verdict.ruling is not Ruling.ALLOW:
        return overrule(state, holding, decision, verdict, glass.event_id, glass.invoked_by)
    request = next(iter(holding.asked), None)
    moved = strayed(request, decision) if request is not None else ""
    if moved:
        return turn_back(state, holding, f"the evidence moved since it was shown: {moved}", decision)
    if request is not None and verdict.ruling is not Ruling.DENY and holding.approved < request.needed:
        return []
    if verdict.ruling is Ruling.ALLOW:
        return _authorize(state, holding, decision, verdict)
    if request is None and verdict.ruling is Ruling.NEEDS_APPROVAL and verdict.approval is not None:
        asked = request_for_step(holding, decision, verdict.approval, verdict.reason, state.now_us)
        state.holdings[holding.plan.plan_id] = holding.asking(asked)
        return [_draft(holding, asked)]
    since = "the evidence moved since it was approved: " if verdict.ruling is Ruling.NEEDS_APPROVAL else ""
    return turn_back(state, holding, since + verdict.reason, decision)


def overrule(
    state: PolicyState, holding: Holding, decision: Decision, verdict: Verdict, event_id: str, by: str
) -> list[Output]:
    """Authorises a held step that the bundles do not allow, and says so aloud. Later steps are asked for again."""
    plan = holding.plan
    text = f"{by} overruled `{verdict.ruling}` for step {holding.held_step} of {plan.summary}: {verdict.reason}"
    told = notice(event_id, plan.plan_id, text, holding.domain, holding.service, plan.incident_id)
    return [*_authorize(state, holding, decision, verdict, overruled_by=event_id), told]


def _authorize(
    state: PolicyState, holding: Holding, decision: Decision, verdict: Verdict, *, overruled_by: str = ""
) -> list[Output]:
    step_id, plan = holding.held_step, holding.plan
    authorized = StepAuthorized(
        decision=decision,
        plan_decision_id=holding.decision_id,
        execution_id=holding.execution_id,
        step_id=step_id,
        obligations=[o for o in verdict.obligations if not (overruled_by and o.name == APPROVAL)],
        approvals=holding.uses,
        not_after_us=not_after_us(plan, list(holding.held_steps), state.now_us, step_id),
        overruled_by=overruled_by,
    )
    state.holdings[plan.plan_id] = holding.released(state.now_us)
    return [_draft(holding, authorized)]


# -- turning back ----------------------------------------------------------------------------------------------------


def turn_back(state: PolicyState, holding: Holding, reason: str, verdict: Decision | None = None) -> list[Output]:
    """The held step, or the one that is next to be, may not begin, and what was done is undone.

    The plan's budget stays spent: it was begun.
    """
    step_id = holding.held_step or next(each for each in holding.held_steps if each not in holding.released_steps)
    state.holdings[holding.plan.plan_id] = holding.moved(Trigger.TURN_BACK, state.now_us)
    revoked = AuthorizationRevoked(
        decision_id=holding.decision_id,
        plan_id=holding.plan.plan_id,
        incident_id=holding.plan.incident_id,
        reason=f"step `{step_id}`: {reason}",
        step_id=step_id,
        verdict=verdict,
    )
    return [_draft(holding, revoked)]


def expired(state: PolicyState, holding: Holding, request: ApprovalRequested) -> list[Output]:
    """Nobody answered in time, or not enough people did, or a halt kept what they approved from being decided."""
    got = f"{holding.approved} of {request.needed} approvals"
    halted = ", in a halted domain" if state.authority.halted(holding.domain) else ""
    return turn_back(state, holding, f"the request expired with {got}{halted}")


def resumed(judge: Judge, state: PolicyState, cause_id: str) -> list[Output]:
    """Takes up what a halt has kept from being asked or decided."""
    held = [each for each in state.holdings.values() if each.state is HoldingState.HELD]
    return [output for holding in held for output in go_on(judge, state, holding, cause_id)]


def note_stage(state: PolicyState, outcome: Outcome) -> None:
    """Keeps the outcome of a verified stage, to show it to those who are asked about the next step."""
    holding = state.holdings.get(outcome.plan_id)
    if holding is not None and holding.held_steps:
        state.holdings[outcome.plan_id] = replace(holding, stage=outcome)


def _draft(holding: Holding, payload: Payload) -> Draft:
    return Draft(payload, holding.domain, holding.service, holding.plan.incident_id)
