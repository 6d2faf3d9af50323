"""The executor: turns an authorised plan into steps, one at a time, and undoes them when it must.

It promises: one execution for each decision; no forward step without a signed, unexpired, unrevoked authorisation of
exactly the plan that was proposed; none while the domain is halted or the target's breaker is open, or beyond what the
domain allows at a time; none past a gate whose stage was not verified; no held step without an authorisation of its
own; none after a rollback began. A rollback is always possible. What cannot be undone, or is not known, is handed to a
person.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.agents.authority import not_of_the_policy
from autopilot.agents.executor.breaker import breaker_of, lets_through
from autopilot.agents.executor.saga import Saga
from autopilot.agents.executor.states import (
    Execution,
    ExecutionState,
    ExecutorState,
    KnownPlan,
    Limits,
    execution_of,
)
from autopilot.policies.obligations import APPROVAL, NOTIFY
from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.effector import FailureClass, StepFailed, StepIndeterminate, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import ExecutionFailed
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Obligation,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.plan_hash import refused_plan

PLAN_KEPT_US = 3_600_000_000
"""How long a plan that was never executed is remembered after it expired."""
ENDED_KEPT_US = 86_400_000_000
"""How long an execution whose outcome never came is remembered after it ended."""

_VERDICTS = {OutcomeVerified: "verified", OutcomeRejected: "rejected", OutcomeInconclusive: "inconclusive"}

Handler = Callable[[ExecutorState, Recorded[Any]], Sequence[Output]]
StepResult = StepStarted | StepSucceeded | StepFailed | StepIndeterminate


class Executor(FoldingAgent[ExecutorState]):
    """See the module."""

    name = "executor"
    reads = Topic.LOG
    state_type = TypeAdapter(ExecutorState)

    def initial_state(self) -> ExecutorState:
        """Nothing is known and nobody has a role."""
        return ExecutorState()

    def handle(self, state: ExecutorState, recorded: Recorded[Any]) -> tuple[ExecutorState, Sequence[Output]]:
        """See `Agent.handle`."""
        outputs = self._handlers[type(recorded.payload)](state, recorded)
        return state, [*outputs, *_each_in_turn(state, _now_us(state, recorded))]

    # -- time, roles, halts ------------------------------------------------------------------------------------------

    @staticmethod
    def _tick(state: ExecutorState, recorded: Recorded[Tick]) -> Sequence[Output]:
        state.now_us = recorded.payload.at_us
        outputs = _each_active(state)
        _forget(state)
        return outputs

    @staticmethod
    def _activated(state: ExecutorState, recorded: Recorded[ConfigurationActivated]) -> Sequence[Output]:
        state.authority.activate(recorded.payload)
        if any(doc.kind == "Fleet" for doc in recorded.payload.documents):
            fleets = Configuration().with_activated(recorded.payload.documents).fleets()
            allowed = {
                d.name: Limits(d.max_concurrent_executions, d.max_steps_per_minute) for f in fleets for d in f.domains
            }
            state.limits = {name: limits for name, limits in allowed.items() if limits != Limits()}
            state.begun_us = {name: times for name, times in state.begun_us.items() if name in state.limits}
        return []

    @staticmethod
    def _halt(state: ExecutorState, recorded: Recorded[Halt]) -> Sequence[Output]:
        refused = state.authority.halt(recorded)
        if refused is not None:
            return [refused]
        for execution in list(state.executions.values()):
            if state.authority.halted(state.plans[execution.plan_id].domain):
                Saga(state, execution, _now_us(state, recorded)).halted()
        return []

    @staticmethod
    def _resume(state: ExecutorState, recorded: Recorded[Resume]) -> Sequence[Output]:
        refused = state.authority.resume(recorded)
        return [refused] if refused is not None else _each_active(state)

    # -- plans and decisions -----------------------------------------------------------------------------------------

    @staticmethod
    def _proposed(state: ExecutorState, recorded: Recorded[PlanProposed]) -> Sequence[Output]:
        plan = recorded.payload
        refused = refused_plan(plan, state.plans)
        if refused is not None:
            return [refused]
        state.plans[plan.plan_id] = KnownPlan(plan, recorded.envelope.domain, recorded.envelope.service)
        return []

    @staticmethod
    def _dropped(state: ExecutorState, recorded: Recorded[PlanWithdrawn | PlanDenied]) -> Sequence[Output]:
        payload = recorded.payload
        plan_id = payload.plan_id if isinstance(payload, PlanWithdrawn) else payload.decision.plan_id
        running = [execution for execution in state.executions.values() if execution.plan_id == plan_id]
        if not running:
            state.plans.pop(plan_id, None)
        if isinstance(payload, PlanDenied):
            return []
        return [
            output
            for execution in running
            for output in Saga(state, execution, _now_us(state, recorded)).unwanted(
                f"the plan was withdrawn: {payload.reason}"
            )
        ]

    @staticmethod
    def _authorized(state: ExecutorState, recorded: Recorded[PlanAuthorized]) -> Sequence[Output]:
        authorization = recorded.payload
        decision = authorization.decision
        if not state.authority.has(recorded.signed_by, Role.POLICY):
            return [not_of_the_policy(recorded)]
        if any(e.plan_id == decision.plan_id for e in state.executions.values()):
            return [Rejection("decision.plan_id", f"`{decision.plan_id}`", "a plan that was not executed before")]
        now_us = _now_us(state, recorded)
        obstacle = _obstacle(state, authorization, now_us)
        if obstacle:
            failed = ExecutionFailed(
                execution_id="",
                plan_id=decision.plan_id,
                incident_id=decision.incident_id,
                reason=obstacle,
                needs_person=False,
                failure=FailureClass.REFUSED.value,
            )
            return [Draft(failed, recorded.envelope.domain, recorded.envelope.service, decision.incident_id)]
        execution = Execution(
            execution_id=execution_of(decision.decision_id),
            plan_id=decision.plan_id,
            decision_id=decision.decision_id,
            incident_id=decision.incident_id,
            not_after_us=authorization.not_after_us,
            held_steps=tuple(authorization.held_steps),
        )
        return Saga(state, execution, now_us).start()

    @staticmethod
    def _asked(state: ExecutorState, recorded: Recorded[ApprovalRequested]) -> Sequence[Output]:
        request = recorded.payload
        execution = state.executions.get(request.execution_id)
        if execution is None:
            return []
        return Saga(state, execution, _now_us(state, recorded)).asked(request.step_id, request.expires_at_us)

    @staticmethod
    def _step_authorized(state: ExecutorState, recorded: Recorded[StepAuthorized]) -> Sequence[Output]:
        authorization = recorded.payload
        if not state.authority.has(recorded.signed_by, Role.POLICY):
            return [not_of_the_policy(recorded)]
        execution = state.executions.get(execution_of(authorization.plan_decision_id))
        if execution is None:
            return []
        known = state.plans[execution.plan_id].plan
        if authorization.decision.plan_hash != known.plan_hash:
            return [Rejection("plan_hash", f"`{authorization.decision.plan_hash}`", f"`{known.plan_hash}`")]
        saga = Saga(state, execution, _now_us(state, recorded))
        return saga.authorized(authorization.step_id, authorization.not_after_us, _unmet_of(authorization))

    @staticmethod
    def _revoked(state: ExecutorState, recorded: Recorded[AuthorizationRevoked]) -> Sequence[Output]:
        payload = recorded.payload
        if not state.authority.has(recorded.signed_by, Role.POLICY):
            return [not_of_the_policy(recorded)]
        now_us = _now_us(state, recorded)
        state.revoked[payload.decision_id] = now_us
        execution = state.executions.get(execution_of(payload.decision_id))
        if execution is None:
            return []
        return Saga(state, execution, now_us).unwanted(f"the authorisation was revoked: {payload.reason}")

    # -- results and verdicts ----------------------------------------------------------------------------------------

    @staticmethod
    def _started(state: ExecutorState, recorded: Recorded[StepStarted]) -> Sequence[Output]:
        saga = _present(state, recorded)
        return saga.started() if saga and saga.execution.attempt == recorded.payload.attempt else []

    @staticmethod
    def _succeeded(state: ExecutorState, recorded: Recorded[StepSucceeded]) -> Sequence[Output]:
        saga = _present(state, recorded)
        return saga.succeeded() if saga else []

    @staticmethod
    def _failed(state: ExecutorState, recorded: Recorded[StepFailed]) -> Sequence[Output]:
        saga = _present(state, recorded)
        if saga is None or saga.execution.attempt != recorded.payload.attempt:
            return []
        return saga.failed(recorded.payload.failure, recorded.payload.reason)

    @staticmethod
    def _indeterminate(state: ExecutorState, recorded: Recorded[StepIndeterminate]) -> Sequence[Output]:
        saga = _present(state, recorded)
        return saga.indeterminate(recorded.payload.reason) if saga else []

    @staticmethod
    def _judged(
        state: ExecutorState, recorded: Recorded[OutcomeVerified | OutcomeRejected | OutcomeInconclusive]
    ) -> Sequence[Output]:
        outcome = recorded.payload.outcome
        execution = state.executions.get(outcome.execution_id)
        if execution is None or outcome.phase not in ("remedy", "stage"):
            return []
        saga = Saga(state, execution, _now_us(state, recorded))
        if outcome.phase == "stage":
            verdict = _VERDICTS[type(recorded.payload)]
            if verdict == "verified":
                return saga.stage_verified(outcome.step_id)
            return saga.stage_not_verified(outcome.step_id, f"{verdict}: {outcome.reason}")
        if isinstance(recorded.payload, OutcomeRejected):
            return saga.rejected(f"the outcome was rejected: {outcome.reason}")
        return saga.accepted()

    _handlers: ClassVar[dict[type[Payload], Handler]] = {
        Tick: _tick,
        ConfigurationActivated: _activated,
        Halt: _halt,
        Resume: _resume,
        PlanProposed: _proposed,
        PlanWithdrawn: _dropped,
        PlanDenied: _dropped,
        PlanAuthorized: _authorized,
        ApprovalRequested: _asked,
        StepAuthorized: _step_authorized,
        AuthorizationRevoked: _revoked,
        StepStarted: _started,
        StepSucceeded: _succeeded,
        StepFailed: _failed,
        StepIndeterminate: _indeterminate,
        OutcomeVerified: _judged,
        OutcomeRejected: _judged,
        OutcomeInconclusive: _judged,
    }
    handles = frozenset(_handlers)


def _now_us(state: ExecutorState, recorded: Recorded[Any]) -> int:
    """The last tick's time; before the first tick the event's own."""
    return state.now_us or recorded.envelope.occurred_at_us


def _each_active(state: ExecutorState) -> list[Output]:
    some = [execution for execution in state.executions.values() if execution.active or execution.is_queued]
    return [output for execution in some for output in Saga(state, execution, state.now_us).time_passed()]


def _each_in_turn(state: ExecutorState, now_us: int) -> list[Output]:
    """Starts those whose turn has come, in the order in which they were authorised."""
    queued = [execution for execution in state.executions.values() if execution.is_queued]
    return [output for execution in queued for output in Saga(state, execution, now_us).start()]


def _present(state: ExecutorState, recorded: Recorded[Any]) -> Saga | None:
    """The saga that a result answers, when it is about its present step and phase; a late result is about none."""
    result: StepResult = recorded.payload
    execution = state.executions.get(result.execution_id)
    if execution is None or not execution.active or execution.phase != result.phase:
        return None
    if execution.pending[0] != result.step_id or result.attempt > execution.attempt:
        return None
    return Saga(state, execution, _now_us(state, recorded))


def _obstacle(state: ExecutorState, authorization: PlanAuthorized, now_us: int) -> str:
    """Why an authorised plan is not begun; empty when it is."""
    decision = authorization.decision
    known = state.plans.get(decision.plan_id)
    if known is None:
        return f"plan `{decision.plan_id}` is not known: it was never proposed, or it was withdrawn or has expired"
    if known.plan.plan_hash != decision.plan_hash:
        return "the decision is about another version of the plan: the hashes differ"
    if decision.decision_id in state.revoked:
        return "the authorisation was revoked"
    if now_us > authorization.not_after_us:
        return "the authorisation's time is over"
    name = breaker_of(known.plan.steps[0].action)
    if not lets_through(state.breakers, name, now_us):
        return f"the breaker `{name}` is open"
    return _unmet_of(authorization)


def _unmet_of(authorization: PlanAuthorized | StepAuthorized) -> str:
    """Why an obligation of an authorisation cannot be met; empty when all are."""
    return next(filter(None, (_unmet(o, authorization) for o in authorization.obligations)), "")


def _unmet(obligation: Obligation, authorization: PlanAuthorized | StepAuthorized) -> str:
    """Why an obligation cannot be met; empty when it is met, or will be by whoever notifies."""
    if obligation.name == NOTIFY:
        return ""
    if obligation.name != APPROVAL:
        return f"the obligation `{obligation.name}` is not known"
    needed = obligation.parameters.get("needed", "1")
    given = len({approval.approver for approval in authorization.approvals})
    if not needed.isdecimal() or given < max(1, int(needed)):
        return f"the obligation `approval` is not met: {given} of {needed} approvals"
    return ""


def _forget(state: ExecutorState) -> None:
    """Drops what can no longer matter."""
    now_us = state.now_us
    for execution in list(state.executions.values()):
        if not execution.ended_us or now_us <= execution.not_after_us:
            continue
        awaits_verdict = execution.state is ExecutionState.COMPLETED
        if not awaits_verdict or now_us > execution.ended_us + ENDED_KEPT_US:
            del state.executions[execution.execution_id]
            state.plans.pop(execution.plan_id, None)
    used = {execution.plan_id for execution in state.executions.values()}
    for plan_id, known in list(state.plans.items()):
        if plan_id not in used and now_us > known.plan.expires_at_us + PLAN_KEPT_US:
            del state.plans[plan_id]
    for decision_id, at_us in list(state.revoked.items()):
        if now_us > at_us + ENDED_KEPT_US:
            del state.revoked[decision_id]
