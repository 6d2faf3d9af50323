"""What came of executions, and what that means for a remedy's autonomy on the service.

Two failures in a row lower it one level; nothing raises it. Three verified outcomes in a row propose a promotion, once,
with the outcomes as evidence and the command by which a person decides so. A failure is an outcome that was rejected,
as a whole or at a stage, or an execution that failed or was rolled back because a step was tried and failed; not one
that a halt, lost telemetry, a changed target, an open breaker or the end of its time has stopped, for that says nothing
about the remedy. An inconclusive outcome counts neither way, nor does a step of which nobody can know what it did.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from autopilot.agents.policy.autonomy import FAILED_NEEDED, LEVELS, VERIFIED_NEEDED, Grant, key_of
from autopilot.agents.policy.held_steps import note_stage
from autopilot.agents.policy.holding import Holding, PolicyState
from autopilot.agents.policy.ledger import Happening
from autopilot.agents.policy.noting import move, note
from autopilot.agents.policy.standing import remedies_of
from autopilot.agents.policy.states import Trigger
from autopilot.schemas.configuration import Autonomy
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.governance import RemedyAutonomyLowered, RemedyPromotionProposed
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified

POLICY: Final = "policy"
"""Who lowers an autonomy, where a person's name stands otherwise."""
NOT_TRIED: Final = ("", FailureClass.REFUSED, FailureClass.STALE)
"""What an execution that has ended says when no step was tried and failed."""


def _ended_badly(state: PolicyState, recorded: Recorded[ExecutionFailed | ExecutionRolledBack]) -> list[Output]:
    ended = recorded.payload
    move(state, ended.plan_id, Trigger.LAPSE)
    if not ended.execution_id:
        return []
    note(state, recorded, Happening.FAILED, ended.plan_id, ended.execution_id)
    holding = state.holdings.get(ended.plan_id)
    if holding is None or ended.failure in NOT_TRIED or _stopped(state, holding):
        return []
    return _count_failure(state, holding, ended.execution_id, ended.execution_id)


def _stopped(state: PolicyState, holding: Holding) -> bool:
    """Whether something else than the remedy may have ended the execution."""
    return state.authority.halted(holding.domain) or state.world.lost(holding.service)


def _rejected(state: PolicyState, recorded: Recorded[OutcomeRejected]) -> list[Output]:
    outcome = recorded.payload.outcome
    if outcome.phase not in ("remedy", "stage"):
        return []
    holding = state.holdings.get(outcome.plan_id)
    if outcome.phase == "remedy":
        if holding is not None:
            state.autonomies.seen(outcome, holding.plan, holding.service, verified=False)
        note(state, recorded, Happening.REJECTED, outcome.plan_id, outcome.execution_id)
    return [] if holding is None else _count_failure(state, holding, outcome.execution_id, outcome.outcome_id)


def _verified(state: PolicyState, recorded: Recorded[OutcomeVerified]) -> list[Output]:
    outcome = recorded.payload.outcome
    if outcome.phase == "stage":
        note_stage(state, outcome)
    holding = state.holdings.get(outcome.plan_id)
    if outcome.phase != "remedy" or holding is None:
        return []
    state.autonomies.seen(outcome, holding.plan, holding.service, verified=True)
    plan, key = holding.plan, key_of(holding.plan.remedy, holding.service)
    streak = state.autonomies.succeeded(key, plan.remedy_digest, outcome.outcome_id)
    level = _level(state, holding)
    if streak.proposed or len(streak.verified) < VERIFIED_NEEDED or level in (None, Autonomy.OBSERVE, LEVELS[-1]):
        return []
    state.autonomies.proposed(key)
    return [_draft(holding, _promotion(holding, Autonomy(str(level)), streak.verified))]


def _promotion(holding: Holding, level: Autonomy, evidence: tuple[str, ...]) -> RemedyPromotionProposed:
    remedy, service, higher = holding.plan.remedy, holding.service, LEVELS[LEVELS.index(level) + 1]
    reason = f"{len(evidence)} outcomes in a row were verified"
    command = f'autopilot autonomy set {remedy} {service} {higher} --reason "{reason}" --as NAME'
    return RemedyPromotionProposed(
        remedy=remedy,
        remedy_digest=holding.plan.remedy_digest,
        service=service,
        autonomy=level.value,
        proposed=higher.value,
        evidence=list(evidence),
        command=command,
        reason=f"{reason}; an author or administrator decides: {command}",
    )


def _count_failure(state: PolicyState, holding: Holding, execution_id: str, evidence: str) -> list[Output]:
    plan, key = holding.plan, key_of(holding.plan.remedy, holding.service)
    streak = state.autonomies.failed(key, plan.remedy_digest, execution_id, evidence)
    level = _level(state, holding)
    lowest = level in (None, Autonomy.OBSERVE, Autonomy.RECOMMEND)
    if streak is None or lowest or len(streak.failed) < FAILED_NEEDED:
        return []
    lower = LEVELS[LEVELS.index(Autonomy(str(level))) - 1]
    state.autonomies.lower(key, Grant(lower.value, plan.remedy_digest, POLICY))
    undo = f"autopilot autonomy set {plan.remedy} {holding.service} {level} --reason WHY --as NAME"
    proof = f" on {VERIFIED_NEEDED} verified outcomes" if lower != Autonomy.RECOMMEND else ""
    lowered = RemedyAutonomyLowered(
        remedy=plan.remedy,
        remedy_digest=plan.remedy_digest,
        service=holding.service,
        before=str(level),
        autonomy=lower.value,
        evidence=list(streak.failed),
        reason=f"it failed {len(streak.failed)} times in a row; an author or administrator may undo it{proof}: {undo}",
    )
    return [_draft(holding, lowered)]


def _level(state: PolicyState, holding: Holding) -> str | None:
    """The remedy's autonomy on the service; None when the catalogue has it no more as the plan has it."""
    remedy, digest = remedies_of(state.configuration.remedies()).get(holding.plan.remedy, (None, ""))
    if remedy is None or digest != holding.plan.remedy_digest:
        return None
    return state.autonomies.of(holding.plan, holding.service, remedy)


def _draft(holding: Holding, payload: Payload) -> Draft:
    return Draft(payload, holding.domain, holding.service, holding.plan.incident_id)


FEEDBACK: Final[Mapping[type[Payload], Callable[[PolicyState, Recorded[Any]], list[Output]]]] = {
    ExecutionFailed: _ended_badly,
    ExecutionRolledBack: _ended_badly,
    OutcomeRejected: _rejected,
    OutcomeVerified: _verified,
}
"""Event type -> what it changes and what is said because of it."""
