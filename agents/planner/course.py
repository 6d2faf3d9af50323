"""The course of a plan, as the policy, the executor and the verifier tell it."""

from dataclasses import replace

from autopilot.agents.planner.case import attempt_key
from autopilot.agents.planner.confidence import Tally
from autopilot.agents.planner.incident import INCIDENT, Incident, Phase, Trigger
from autopilot.agents.planner.planning import hand_over, plan, tried, withdraw
from autopilot.agents.planner.state import Turn
from autopilot.schemas.configuration import Role
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    StepHeld,
)
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, PlanDenied, StepAuthorized
from autopilot.schemas.events.verifier import Outcome, OutcomeInconclusive, OutcomeRejected, OutcomeVerified

STAGE = "stage"
"""The phase of an outcome of one stage. A rejected one counts against the remedy; a verified one says little yet."""
REMEDY = "remedy"
"""The phase of an outcome that counts for a remedy; the undoing of one says nothing about it."""


def authorized(turn: Turn, payload: PlanAuthorized) -> None:
    """From here on the plan is not withdrawn. An authorisation without the policy's signature is none."""
    incident = _planned(turn, payload.decision.incident_id, payload.decision.plan_id, Trigger.PLAN_AUTHORIZED)
    if incident is not None and turn.state.authority.has(turn.recorded.signed_by, Role.POLICY):
        turn.move(incident, Trigger.PLAN_AUTHORIZED, deadline_us=_deadline_us(turn, incident))


def denied(turn: Turn, payload: PlanDenied) -> None:
    """The next remedy is tried in place of the denied one."""
    incident = _planned(turn, payload.decision.incident_id, payload.decision.plan_id, Trigger.PLAN_DENIED)
    if incident is not None:
        _next(turn, _tried(turn, incident, f"denied: {payload.reason}"), Trigger.PLAN_DENIED)


def started(turn: Turn, payload: ExecutionStarted) -> None:
    """The remedy counts as used on its service: its cooldown begins."""
    incident = _planned(turn, payload.incident_id, payload.plan_id, Trigger.EXECUTION_STARTED)
    if incident is not None and incident.plan is not None:
        key = attempt_key(incident.plan.remedy, incident.plan.service)
        turn.state.used_at_us[key] = turn.now_us
        turn.move(incident, Trigger.EXECUTION_STARTED, deadline_us=_deadline_us(turn, incident))


def held(turn: Turn, payload: StepHeld) -> None:
    """The execution waits before a step: the way from here may take as long as the whole."""
    _goes_on(turn, payload.incident_id, payload.plan_id, Trigger.STEP_HELD)


def asked(turn: Turn, payload: ApprovalRequested) -> None:
    """People are asked about a held step, and what follows has its time after theirs."""
    decision = payload.decision
    if payload.execution_id:
        people_us = max(payload.expires_at_us - turn.now_us, 0)
        _goes_on(turn, decision.incident_id, decision.plan_id, Trigger.APPROVAL_REQUESTED, people_us)


def step_authorized(turn: Turn, payload: StepAuthorized) -> None:
    """The execution goes on. An authorisation without the policy's signature is none."""
    if turn.state.authority.has(turn.recorded.signed_by, Role.POLICY):
        _goes_on(turn, payload.decision.incident_id, payload.decision.plan_id, Trigger.STEP_AUTHORIZED)


def completed(turn: Turn, payload: ExecutionCompleted) -> None:
    """The verifier's verdict is awaited."""
    incident = _planned(turn, payload.incident_id, payload.plan_id, Trigger.EXECUTION_COMPLETED)
    if incident is not None:
        turn.move(incident, Trigger.EXECUTION_COMPLETED, deadline_us=_deadline_us(turn, incident))


def failed(turn: Turn, payload: ExecutionFailed) -> None:
    """The next remedy is tried, unless the target may be in a state that a person must look at."""
    incident = _planned(turn, payload.incident_id, payload.plan_id, Trigger.EXECUTION_FAILED)
    if incident is None:
        return
    if payload.failure == FailureClass.STALE and incident.plan is not None:
        turn.state.used_at_us.pop(attempt_key(incident.plan.remedy, incident.plan.service), None)
        _next(turn, incident, Trigger.EXECUTION_FAILED)  # nothing was touched: it is planned anew on what is there now
        return
    if not payload.execution_id:
        _never_begun(turn, incident, refused=payload.failure == FailureClass.REFUSED)
        return
    incident = _tried(turn, incident, f"its execution failed: {payload.reason}")
    harmless = incident.phase == Phase.ROLLING_BACK and incident.plan is not None and incident.plan.leaves_nothing
    if payload.needs_person and not harmless:
        hand_over(turn, incident, Trigger.EXECUTION_FAILED, f"its target needs a person: {payload.reason}")
    else:
        _next(turn, incident, Trigger.EXECUTION_FAILED)


def _never_begun(turn: Turn, incident: Incident, *, refused: bool) -> None:
    """The remedy was not tried. The obstacle that refused it would do so again at once: it cools down first."""
    if refused and incident.plan is not None:
        turn.state.used_at_us[attempt_key(incident.plan.remedy, incident.plan.service)] = turn.now_us
    _next(turn, incident, Trigger.EXECUTION_FAILED)


def rolled_back(turn: Turn, payload: ExecutionRolledBack) -> None:
    """What was done is undone: the next remedy is tried."""
    incident = _planned(turn, payload.incident_id, payload.plan_id, Trigger.EXECUTION_ROLLED_BACK)
    if incident is not None:
        incident = _tried(turn, incident, f"rolled back: {payload.reason}")
        _next(turn, incident, Trigger.EXECUTION_ROLLED_BACK)


def verified(turn: Turn, payload: OutcomeVerified) -> None:
    """Counts for the remedy; the incident ends with its signals."""
    outcome = payload.outcome
    if outcome.phase != REMEDY:
        return
    _count(turn, outcome, verified=1, rejected=0)
    incident = _planned(turn, outcome.incident_id, outcome.plan_id, Trigger.OUTCOME_VERIFIED)
    if incident is None:
        return
    clearing_us = turn.now_us + turn.limits.clearing_ms * 1000
    helped = (*incident.helped, attempt_key(outcome.remedy, outcome.context))
    incident = turn.move(incident, Trigger.OUTCOME_VERIFIED, deadline_us=clearing_us, helped=helped)
    if not incident.signals:
        turn.close(incident, "remediated", "a remedy was verified and every signal has cleared")


def rejected(turn: Turn, payload: OutcomeRejected) -> None:
    """Counts against the remedy, whose execution is now undone; a rollback that did harm leaves it to a person."""
    outcome = payload.outcome
    if outcome.phase == STAGE:
        _count(turn, outcome, verified=0, rejected=1)  # the executor undoes it and says what came of it
        return
    if outcome.phase != REMEDY:
        _rollback_rejected(turn, outcome)
        return
    _count(turn, outcome, verified=0, rejected=1)
    incident = _planned(turn, outcome.incident_id, outcome.plan_id, Trigger.OUTCOME_REJECTED)
    if incident is not None:
        incident = tried(incident, f"rejected: {outcome.reason}")
        turn.move(incident, Trigger.OUTCOME_REJECTED, deadline_us=_deadline_us(turn, incident))


def inconclusive(turn: Turn, payload: OutcomeInconclusive) -> None:
    """Counts neither way. Whether the remedy helped is not known, so nothing is piled on it: a person looks."""
    outcome = payload.outcome
    incident = _planned(turn, outcome.incident_id, outcome.plan_id, Trigger.OUTCOME_INCONCLUSIVE)
    if outcome.phase == REMEDY and incident is not None:
        incident = tried(incident, f"inconclusive: {outcome.reason}")
        reason = f"the outcome of `{outcome.remedy}` is inconclusive: {outcome.reason}"
        hand_over(turn, incident, Trigger.OUTCOME_INCONCLUSIVE, reason)


def _rollback_rejected(turn: Turn, outcome: Outcome) -> None:
    incident = turn.state.incidents.get(outcome.incident_id)
    if incident is None:
        return
    reason = f"the rollback of `{outcome.remedy}` left things worse: {outcome.reason}"
    if incident.phase == Phase.DECIDING:
        incident = withdraw(turn, incident, reason)
    elif INCIDENT.accepts(incident.phase, Trigger.RETRY):
        incident = turn.move(incident, Trigger.RETRY)
    if incident.phase == Phase.OPEN:
        hand_over(turn, incident, Trigger.NO_PLAN_FOUND, reason)


def _planned(turn: Turn, incident_id: str, plan_id: str, trigger: Trigger) -> Incident | None:
    """The incident when `plan_id` is its plan and its phase takes `trigger`: late news changes nothing."""
    incident = turn.state.incidents.get(incident_id)
    if incident is None or incident.plan is None or incident.plan.plan_id != plan_id:
        return None
    return incident if INCIDENT.accepts(incident.phase, trigger) else None


def _goes_on(turn: Turn, incident_id: str, plan_id: str, trigger: Trigger, longer_us: int = 0) -> None:
    incident = _planned(turn, incident_id, plan_id, trigger)
    if incident is not None:
        turn.move(incident, trigger, deadline_us=_deadline_us(turn, incident) + longer_us)


def _tried(turn: Turn, incident: Incident, what_came_of_it: str) -> Incident:
    """What a halt or lost telemetry has stopped was not really tried, and may be once that is over."""
    blind = incident.plan is not None and turn.blind(incident.plan.service)
    return incident if blind or turn.halted(incident) else tried(incident, what_came_of_it)


def _next(turn: Turn, incident: Incident, trigger: Trigger) -> None:
    exhausted = len(incident.tried) >= turn.limits.attempts
    plan(turn, turn.move(incident, trigger, handed_over=exhausted))


def _deadline_us(turn: Turn, incident: Incident) -> int:
    return turn.now_us + (incident.plan.patience_ms * 1000 if incident.plan else 0)


def _count(turn: Turn, outcome: Outcome, *, verified: int, rejected: int) -> None:
    key = attempt_key(outcome.remedy, outcome.context)
    tally = turn.state.tallies.get(key, Tally())
    turn.state.tallies[key] = replace(tally, verified=tally.verified + verified, rejected=tally.rejected + rejected)
