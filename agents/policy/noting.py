"""What the policy only takes note of: signals, incidents, breakers and beginnings of executions."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from autopilot.agents.policy.holding import PolicyState
from autopilot.agents.policy.ledger import Happening, Spending
from autopilot.agents.policy.states import HOLDING, Trigger
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import BreakerClosed, BreakerOpened, ExecutionStarted, RollbackStarted
from autopilot.schemas.events.observer import SignalCleared, SignalUpdated, TelemetryQualityChanged
from autopilot.schemas.events.planner import IncidentOpened, SignalLinked


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
    move(state, started.plan_id, Trigger.START)
    note(state, recorded, Happening.STARTED, started.plan_id, started.execution_id)


def _turned_back(state: PolicyState, recorded: Recorded[RollbackStarted]) -> None:
    move(state, recorded.payload.plan_id, Trigger.LAPSE)


def move(state: PolicyState, plan_id: str, trigger: Trigger) -> None:
    """Moves the plan's holding, if it takes the trigger."""
    holding = state.holdings.get(plan_id)
    if holding is not None and HOLDING.accepts(holding.state, trigger):
        state.holdings[plan_id] = holding.moved(trigger, state.now_us)


def note(state: PolicyState, recorded: Recorded[Any], what: Happening, plan_id: str, execution_id: str) -> None:
    """Notes what happened to a service, and what it cost its failure budgets, once for each execution."""
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
    RollbackStarted: _turned_back,
}
"""Event type -> what it changes; none of them is answered."""
