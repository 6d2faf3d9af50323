"""The gate: what the log of one partition says about whether a step may be taken. A pure fold, like an agent.

`Gate.refusal` is asked immediately before each act, once the partition has been read to its end. What it remembers for
that is in `gate_state`, what it checks in `refusals`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.agents.authority import not_of_the_policy
from autopilot.agents.executor.states import FORWARD, KnownPlan
from autopilot.infra.effector.gate_state import (
    KEPT_AFTER_CLOSE_US,
    AskedPreview,
    Attempt,
    Before,
    GateState,
    SignedDecision,
    SignedStep,
    StepResult,
    Told,
    attempt_of,
    begin,
    expired,
    forget,
    remember,
    step_of,
)
from autopilot.infra.effector.refusals import refusal
from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Output, Recorded, Rejection
from autopilot.schemas.events.effector import (
    PreviewCompleted,
    StepFailed,
    StepIndeterminate,
    StepStarted,
    StepSucceeded,
)
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StepRequested,
)
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import IncidentClosed, PlanProposed
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized, PreviewRequested, StepAuthorized
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeVerified

Handler = Callable[[GateState, Recorded[Any]], Sequence[Output]]


class Gate(FoldingAgent[GateState]):
    """See the module. `pinned_administrators` are public keys: with an administrator besides them, all is refused."""

    name = "effector"
    reads = Topic.LOG
    state_type = TypeAdapter(GateState)

    def __init__(self, pinned_administrators: frozenset[str] = frozenset()) -> None:
        self._pinned = pinned_administrators

    def initial_state(self) -> GateState:
        """Nothing is known, so everything is refused."""
        return GateState()

    def handle(self, state: GateState, recorded: Recorded[Any]) -> tuple[GateState, Sequence[Output]]:
        """See `Agent.handle`. It says nothing, except about what does not count."""
        return state, self._handlers[type(recorded.payload)](state, recorded)

    # -- the question ------------------------------------------------------------------------------------------------

    def refusal(self, state: GateState, request: StepRequested, now_us: int, *, again: bool = False) -> str | None:
        """Why the step must not be taken now, or None. `again`: it was begun before a crash and would be taken up."""
        return refusal(state, request, now_us, pinned=self._pinned, again=again)

    # -- handlers ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _tick(state: GateState, recorded: Recorded[Tick]) -> Sequence[Output]:
        state.now_us = recorded.payload.at_us
        gone = expired(state)
        if gone:
            forget(state, gone)
        return []

    @staticmethod
    def _activated(state: GateState, recorded: Recorded[ConfigurationActivated]) -> Sequence[Output]:
        state.authority.activate(recorded.payload)
        fleets = Configuration().with_activated(recorded.payload.documents).fleets()
        for service in (service for fleet in fleets for service in fleet.services):
            state.targets[service.name] = [f"{one.driver}/{one.target}" for one in service.targets]
        return []

    @staticmethod
    def _halt(state: GateState, recorded: Recorded[Halt]) -> Sequence[Output]:
        refused = state.authority.halt(recorded)
        return [refused] if refused else []

    @staticmethod
    def _resume(state: GateState, recorded: Recorded[Resume]) -> Sequence[Output]:
        refused = state.authority.resume(recorded)
        return [refused] if refused else []

    @staticmethod
    def _closed(state: GateState, recorded: Recorded[IncidentClosed]) -> Sequence[Output]:
        if recorded.payload.incident_id in state.seen_us:
            state.seen_us[recorded.payload.incident_id] = state.now_us + KEPT_AFTER_CLOSE_US
        return []

    @staticmethod
    def _proposed(state: GateState, recorded: Recorded[PlanProposed]) -> Sequence[Output]:
        plan = recorded.payload
        known = state.plans.get(plan.plan_id)
        if known is not None and known.plan != plan:
            return [Rejection("plan_id", f"`{plan.plan_id}`", "a plan that was not proposed before")]
        remember(state, plan.incident_id, recorded)
        if known is None:
            state.plans[plan.plan_id] = KnownPlan(plan, recorded.envelope.domain, recorded.envelope.service)
        return []

    @staticmethod
    def _authorized(state: GateState, recorded: Recorded[PlanAuthorized]) -> Sequence[Output]:
        decision = recorded.payload.decision
        if recorded.signed_by is None or not state.authority.has(recorded.signed_by, Role.POLICY):
            return [not_of_the_policy(recorded)]
        if decision.decision_id in state.decisions:
            return [Rejection("decision_id", f"`{decision.decision_id}`", "a decision that was not made before")]
        remember(state, decision.incident_id, recorded)
        envelope = recorded.envelope
        signed = SignedDecision(recorded.payload, recorded.signed_by, envelope.domain, envelope.service)
        state.decisions[decision.decision_id] = signed
        return []

    @staticmethod
    def _step_authorized(state: GateState, recorded: Recorded[StepAuthorized]) -> Sequence[Output]:
        said = recorded.payload
        if recorded.signed_by is None or not state.authority.has(recorded.signed_by, Role.POLICY):
            return [not_of_the_policy(recorded)]
        name = f"{said.plan_decision_id}/{said.step_id}"
        if name in state.held:
            return [Rejection("step_id", f"`{name}`", "a held step that was not authorised before")]
        remember(state, said.decision.incident_id, recorded)
        state.held[name] = SignedStep(said, recorded.signed_by, recorded.envelope.domain)
        return []

    @staticmethod
    def _revoked(state: GateState, recorded: Recorded[AuthorizationRevoked]) -> Sequence[Output]:
        if not state.authority.has(recorded.signed_by, Role.POLICY):
            return [not_of_the_policy(recorded)]
        remember(state, recorded.payload.incident_id, recorded)
        state.revoked[recorded.payload.decision_id] = recorded.payload.incident_id
        return []

    @staticmethod
    def _begun(state: GateState, recorded: Recorded[ExecutionStarted]) -> Sequence[Output]:
        begin(state, recorded.payload)
        return []

    @staticmethod
    def _turned(
        state: GateState,
        recorded: Recorded[RollbackStarted | ExecutionCompleted | ExecutionFailed | ExecutionRolledBack],
    ) -> Sequence[Output]:
        execution_id, incident_id = recorded.payload.execution_id, recorded.payload.incident_id
        if isinstance(recorded.payload, RollbackStarted):
            state.undoing[execution_id] = incident_id
        elif execution_id:
            state.undoing.pop(execution_id, None)
            state.ended[execution_id] = incident_id
            if not isinstance(recorded.payload, ExecutionCompleted):
                state.in_hand.pop(execution_id, None)
        return []

    @staticmethod
    def _judged(state: GateState, recorded: Recorded[OutcomeVerified | OutcomeInconclusive]) -> Sequence[Output]:
        outcome = recorded.payload.outcome
        if outcome.phase == "remedy" and outcome.execution_id not in state.undoing:
            state.in_hand.pop(outcome.execution_id, None)
        elif outcome.step_id and isinstance(recorded.payload, OutcomeVerified):
            state.passed[f"{outcome.execution_id}/{outcome.step_id}"] = outcome.incident_id
        return []

    @staticmethod
    def _requested(state: GateState, recorded: Recorded[StepRequested]) -> Sequence[Output]:
        request = recorded.payload
        name = attempt_of(request)
        if name in state.open or name in state.answered:
            return [Rejection("attempt", f"`{name}`", "an attempt that was not asked for before")]
        remember(state, request.incident_id, recorded)
        state.open[name] = Attempt(request, _told(recorded))
        return []

    @staticmethod
    def _started(state: GateState, recorded: Recorded[StepStarted]) -> Sequence[Output]:
        name = attempt_of(recorded.payload)
        if name in state.open:
            state.open[name] = replace(state.open[name], started=recorded.payload, began=_told(recorded))
            started = recorded.payload
            state.befores.setdefault(started.idempotency_key, Before(started.incident_id, started.before))
            if started.phase == FORWARD:
                state.begun[step_of(started)] = started.incident_id
                begin(state, started)
        return []

    @staticmethod
    def _result(state: GateState, recorded: Recorded[StepResult]) -> Sequence[Output]:
        name = attempt_of(recorded.payload)
        attempt = state.open.pop(name, None)
        if attempt is not None:
            incident_id = state.answered[name] = attempt.request.incident_id
            if isinstance(recorded.payload, StepSucceeded):
                state.succeeded[attempt.request.idempotency_key] = incident_id
            elif isinstance(recorded.payload, StepIndeterminate):
                state.unknown[attempt.request.idempotency_key] = incident_id
        return []

    @staticmethod
    def _preview(state: GateState, recorded: Recorded[PreviewRequested]) -> Sequence[Output]:
        remember(state, recorded.payload.incident_id, recorded)
        state.previews[recorded.payload.plan_id] = AskedPreview(recorded.payload, _told(recorded))
        return []

    @staticmethod
    def _previewed(state: GateState, recorded: Recorded[PreviewCompleted]) -> Sequence[Output]:
        state.previews.pop(recorded.payload.plan_id, None)
        return []

    _handlers: ClassVar[dict[type[Payload], Handler]] = {
        Tick: _tick,
        ConfigurationActivated: _activated,
        Halt: _halt,
        Resume: _resume,
        IncidentClosed: _closed,
        PlanProposed: _proposed,
        PlanAuthorized: _authorized,
        StepAuthorized: _step_authorized,
        AuthorizationRevoked: _revoked,
        ExecutionStarted: _begun,
        RollbackStarted: _turned,
        ExecutionCompleted: _turned,
        ExecutionFailed: _turned,
        ExecutionRolledBack: _turned,
        OutcomeVerified: _judged,
        OutcomeInconclusive: _judged,
        StepRequested: _requested,
        StepStarted: _started,
        StepSucceeded: _result,
        StepFailed: _result,
        StepIndeterminate: _result,
        PreviewRequested: _preview,
        PreviewCompleted: _previewed,
    }
    handles = frozenset(_handlers)


def _told(recorded: Recorded[Any]) -> Told:
    return Told(recorded.position.partition, recorded.position.offset, recorded.envelope)
