"""What the policy only takes note of: signals, incidents, breakers, executions and outcomes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from autopilot.agents.policy.holding import PolicyState
from autopilot.agents.policy.ledger import Happening, Spending
from autopilot.agents.policy.states import HOLDING, Trigger
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import (
    BreakerClosed,
    BreakerOpened,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
)
from autopilot.schemas.events.observer import SignalCleared, SignalUpdated, TelemetryQualityChanged
from autopilot.schemas.events.planner import IncidentOpened, SignalLinked
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified


def _signal_updated(state: PolicyState, recorded: Recorded[SignalUpdated]) -> None:
    state.world.updated(recorded.envelope.service, recorded.payload)


def _signal_cleared(state: PolicyState, recorded: Recorded[SignalCleared]) -> None:
    state.world.cleared(recorded.envelope.service, recorded.payload)


def _quality_changed(state: PolicyState, recorded: Recorded[TelemetryQualityChanged]) -> None:
    state.world.quality_changed(recorded.envelope.service, recorded.payload)


def _incident_opened(state: PolicyState, recorded: Recorded[IncidentOpened]) -> None:
    state.world.opened(recorded.payload)


def _signal_linked(state: PolicyState, recorded: Recorded[SignalLinked]) -> None:
    state.world.linked(recorded.payload)


def _breaker_opened(state: PolicyState, recorded: Recorded[BreakerOpened]) -> None:
    state.world.breaker_opened(recorded.envelope.domain, recorded.payload)


def _breaker_closed(state: PolicyState, recorded: Recorded[BreakerClosed]) -> None:
    state.world.breaker_closed(recorded.envelope.domain, recorded.payload)


def _execution_started(state: PolicyState, recorded: Recorded[ExecutionStarted]) -> None:
    started = recorded.payload
    _move(state, started.plan_id, Trigger.START)
    _note(state, recorded, Happening.STARTED, started.plan_id, started.execution_id)


def _execution_ended_badly(state: PolicyState, recorded: Recorded[ExecutionFailed | ExecutionRolledBack]) -> None:
    ended = recorded.payload
    _move(state, ended.plan_id, Trigger.LAPSE)
    if ended.execution_id:
        _note(state, recorded, Happening.FAILED, ended.plan_id, ended.execution_id)


def _outcome(state: PolicyState, recorded: Recorded[OutcomeRejected | OutcomeVerified]) -> None:
    outcome = recorded.payload.outcome
    if outcome.phase != "remedy":
        return
    verified = isinstance(recorded.payload, OutcomeVerified)
    holding = state.holdings.get(outcome.plan_id)
    if holding is not None:
        state.autonomies.seen(outcome, holding.plan, holding.service, verified=verified)
    if not verified:
        _note(state, recorded, Happening.REJECTED, outcome.plan_id, outcome.execution_id)


def _move(state: PolicyState, plan_id: str, trigger: Trigger) -> None:
    holding = state.holdings.get(plan_id)
    if holding is not None and HOLDING.accepts(holding.state, trigger):
        state.holdings[plan_id] = holding.moved(trigger, state.now_us)


def _note(state: PolicyState, recorded: Recorded[Any], what: Happening, plan_id: str, execution_id: str) -> None:
    holding = state.holdings.get(plan_id)
    service = holding.service if holding is not None else recorded.envelope.service
    fresh = state.ledger.happened(service, what, execution_id, state.now_us)
    if fresh and what is not Happening.STARTED:
        risk_class = holding.plan.risk_class.value if holding is not None else ""
        domain = holding.domain if holding is not None else recorded.envelope.domain
        state.ledger.fail(domain, Spending(state.now_us, execution_id, service, risk_class))


NOTED: Final[Mapping[type[Payload], Callable[[PolicyState, Recorded[Any]], None]]] = {
    SignalUpdated: _signal_updated,
    SignalCleared: _signal_cleared,
    TelemetryQualityChanged: _quality_changed,
    IncidentOpened: _incident_opened,
    SignalLinked: _signal_linked,
    BreakerOpened: _breaker_opened,
    BreakerClosed: _breaker_closed,
    ExecutionStarted: _execution_started,
    ExecutionFailed: _execution_ended_badly,
    ExecutionRolledBack: _execution_ended_badly,
    OutcomeRejected: _outcome,
    OutcomeVerified: _outcome,
}
"""Event type -> what it changes; none of them is answered."""
