"""The planner: groups signals into incidents, proposes one plan at a time for each, and ends them.

It promises that every incident that it opens gets a plan or a NoPlanFound that says what a person should look at, that
no two plans hold one target at the same time, that lost telemetry never leads to a plan, and that its choice follows
from the log alone: the catalogue, the outcomes so far and the state of the targets as the effector observed them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.agents.planner import course, signals
from autopilot.agents.planner.case import Level, attempt_key
from autopilot.agents.planner.fleet import KINDS, FleetView, view_of
from autopilot.agents.planner.incident import INCIDENT, Incident, Phase, Trigger
from autopilot.agents.planner.planning import hand_over, plan, reconsider, renew, tried, withdraw
from autopilot.agents.planner.state import Limits, PlannerState, Turn
from autopilot.agents.planner.variables import UNKNOWN, Target, target_key
from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Output, Recorded
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    StepHeld,
)
from autopilot.schemas.events.governance import RemedyAutonomyChanged, RemedyAutonomyLowered
from autopilot.schemas.events.observer import SignalCleared, SignalRaised, SignalUpdated
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, PlanDenied, StepAuthorized
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.identity import digest_of

V = TypeVar("V")

KEPT_VIEWS = 8
"""Configurations whose view is kept; partitions pass through the same ones at slightly different moments."""


def _configured(turn: Turn, payload: ConfigurationActivated) -> None:
    """Takes over what the planner needs of the documents, and looks again where nothing was found before."""
    turn.state.authority.activate(payload)
    known = {entry.remedy.name for entry in turn.view.remedies}
    state = turn.state
    state.used_at_us = _of_known(state.used_at_us, known)
    state.ended_at_us = _of_known(state.ended_at_us, known)
    state.autonomies = _of_known(state.autonomies, known)
    _reconsider_each(turn, turn.state.incidents.values())


def _of_known(by_key: Mapping[str, V], known: set[str]) -> dict[str, V]:
    """The entries of remedies that are still in the catalogue."""
    return {key: value for key, value in by_key.items() if key.partition("@")[0] in known}


def _autonomy_changed(turn: Turn, payload: RemedyAutonomyChanged) -> None:
    """Takes over how far a person lets a remedy go. Whether that counts in full is the policy's to judge."""
    roles = (Role.OPERATOR, Role.AUTHOR, Role.ADMINISTRATOR)
    if turn.recorded.signed_by == payload.changed_by and turn.state.authority.has(payload.changed_by, *roles):
        _leveled(turn, payload)


def _autonomy_lowered(turn: Turn, payload: RemedyAutonomyLowered) -> None:
    """Takes over that the policy lets a remedy go less far."""
    if turn.state.authority.has(turn.recorded.signed_by, Role.POLICY):
        _leveled(turn, payload)


def _leveled(turn: Turn, payload: RemedyAutonomyChanged | RemedyAutonomyLowered) -> None:
    key = attempt_key(payload.remedy, payload.service)
    turn.state.autonomies[key] = Level(payload.autonomy, payload.remedy_digest)
    _reconsider_each(turn, [turn.state.incidents[one] for one in turn.state.of_service.get(payload.service, ())])


def _observed(turn: Turn, payload: TargetObserved) -> None:
    """Takes over the target's state; a target that changed may make a remedy apply."""
    key = target_key(payload.driver, payload.target)
    before = turn.state.targets.get(key)
    changed_at_us = before.release_changed_at_us if before else UNKNOWN
    if before is not None and before.state.get("release") != payload.state.get("release"):
        changed_at_us = turn.now_us
    service = turn.recorded.envelope.service
    turn.state.targets[key] = Target(payload.driver, payload.target, service, payload.state, turn.now_us, changed_at_us)
    if before is None or before.state != payload.state:
        incidents = [turn.state.incidents[one] for one in turn.state.of_service.get(service, ())]
        _reconsider_each(turn, incidents)
        for incident in incidents:
            if incident.phase == Phase.DECIDING:
                renew(turn, incident)


def _ticked(turn: Turn, payload: Tick) -> None:
    """Lets pass what has run out: delays, plans, phases and cooldowns."""
    del payload  # its time was taken over before the turn
    for incident in list(turn.state.incidents.values()):
        if incident.phase == Phase.OPEN:
            if turn.now_us >= incident.opened_at_us + turn.limits.correlation_delay_ms * 1000:
                plan(turn, incident)
        elif incident.phase == Phase.DECIDING:
            _expire(turn, incident)
        elif incident.deadline_us and turn.now_us >= incident.deadline_us:
            _stall(turn, incident)
        elif incident.retry_at_us and turn.now_us >= incident.retry_at_us:
            reconsider(turn, incident)


def _halted(turn: Turn, payload: Halt) -> None:
    """Nothing is proposed in a halted domain. An order that does not count is refused by those who act on it."""
    del payload
    turn.state.authority.halt(turn.recorded)


def _resumed(turn: Turn, payload: Resume) -> None:
    """Looks again wherever the halt was in the way."""
    del payload
    turn.state.authority.resume(turn.recorded)
    _reconsider_each(turn, turn.state.incidents.values())


def _expire(turn: Turn, incident: Incident) -> None:
    if incident.plan is None or turn.now_us < incident.plan.expires_at_us:
        return
    incident = tried(incident, "nothing was decided before it expired")
    plan(turn, withdraw(turn, incident, "nothing was decided before it expired"))


def _stall(turn: Turn, incident: Incident) -> None:
    """Leaves to a person what has lasted too long; a halted execution may take as long as the halt."""
    if turn.halted(incident):
        margin_us = turn.limits.stall_margin_ms * 1000
        turn.keep(replace(incident, deadline_us=turn.now_us + margin_us))
    else:
        hand_over(turn, tried(incident, "stalled"), Trigger.STALLED, _stall_reason(incident))


def _stall_reason(incident: Incident) -> str:
    if incident.phase == Phase.VERIFIED:
        return "a remedy was verified, and yet signals stay raised"
    return f"nothing was heard of the plan for too long while it was {incident.phase}"


def _reconsider_each(turn: Turn, incidents: Iterable[Incident]) -> None:
    for incident in list(incidents):
        if incident.phase == Phase.ESCALATED:
            reconsider(turn, incident)


_Handler = Callable[[Turn, Any], None]

HANDLERS: dict[type[Payload], _Handler] = {
    Tick: _ticked,
    ConfigurationActivated: _configured,
    RemedyAutonomyChanged: _autonomy_changed,
    RemedyAutonomyLowered: _autonomy_lowered,
    Halt: _halted,
    Resume: _resumed,
    TargetObserved: _observed,
    SignalRaised: signals.raised,
    SignalUpdated: signals.updated,
    SignalCleared: signals.cleared,
    PlanAuthorized: course.authorized,
    PlanDenied: course.denied,
    ExecutionStarted: course.started,
    StepHeld: course.held,
    ApprovalRequested: course.asked,
    StepAuthorized: course.step_authorized,
    ExecutionCompleted: course.completed,
    ExecutionFailed: course.failed,
    ExecutionRolledBack: course.rolled_back,
    OutcomeVerified: course.verified,
    OutcomeRejected: course.rejected,
    OutcomeInconclusive: course.inconclusive,
}


class Planner(FoldingAgent[PlannerState]):
    """The planner agent. `limits` belong to its code: whoever replays its decisions must use the same."""

    name = "planner"
    reads = Topic.LOG
    handles = frozenset(HANDLERS)
    state_type = TypeAdapter(PlannerState)
    lifecycle = INCIDENT

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._views: dict[str, FleetView] = {}

    def initial_state(self) -> PlannerState:
        """Nothing is known."""
        return PlannerState()

    def handle(self, state: PlannerState, recorded: Recorded[Payload]) -> tuple[PlannerState, Sequence[Output]]:
        """See `Agent.handle`."""
        payload = recorded.payload
        if isinstance(payload, Tick):
            state.now_us = max(state.now_us, payload.at_us)
        elif isinstance(payload, ConfigurationActivated):
            _take_over(state, payload)
        turn = Turn(state, self._view(state), self._limits, recorded)
        HANDLERS[type(payload)](turn, payload)
        if turn.released:
            _wake(turn)
        return state, turn.out

    def _view(self, state: PlannerState) -> FleetView:
        view = self._views.get(state.revision)
        if view is None:
            if len(self._views) >= KEPT_VIEWS:
                self._views.clear()
            view = self._views[state.revision] = view_of(state.configuration)
        return view


def _take_over(state: PlannerState, payload: ConfigurationActivated) -> None:
    """Folds the documents of the planner's kinds."""
    after = state.configuration.with_activated(payload.documents)
    state.configuration = Configuration(documents={k: after.documents[k] for k in KINDS if k in after.documents})
    digests = (doc.digest for kind in KINDS for doc in state.configuration.of_kind(kind))
    state.revision = digest_of("\n".join(digests))


def _wake(turn: Turn) -> None:
    """Lets the incidents that waited for what was let go of look again, in the order in which they began to wait."""
    for blocker in dict.fromkeys(turn.released):
        for incident_id in list(turn.state.waiting.get(blocker, ())):
            reconsider(turn, turn.state.incidents[incident_id])
