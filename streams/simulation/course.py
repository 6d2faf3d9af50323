"""What a simulated log says, by incident: signals, plans, verdicts, actions that would have been taken. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.effector import StepSucceeded
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, StepRequested
from autopilot.schemas.events.observer import SignalCleared, SignalKind, SignalRaised
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened, NoPlanFound, PlanProposed, SignalLinked
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified


@dataclass
class Alarm:
    """A signal that was raised. Times are virtual, microseconds since the epoch."""

    signal_id: str
    at_us: int
    service: str
    kind: str
    slo: str
    severity: str
    summary: str
    cleared_us: int | None = None

    @property
    def about_service(self) -> bool:
        """Whether it says something about the service, and not about its telemetry alone."""
        return self.kind != SignalKind.TELEMETRY_LOST


@dataclass(frozen=True)
class Said:
    """Something that was decided or done, in a line."""

    at_us: int
    what: str
    text: str


@dataclass
class Incident:
    """An incident as it went."""

    incident_id: str
    service: str
    domain: str
    title: str
    severity: str
    opened_us: int
    started_us: int
    signal_ids: list[str] = field(default_factory=list)
    plans: list[Said] = field(default_factory=list)
    decisions: list[Said] = field(default_factory=list)
    actions: list[Said] = field(default_factory=list)
    outcomes: list[Said] = field(default_factory=list)
    closed_us: int | None = None
    resolution: str = "open"
    reason: str = ""


@dataclass
class Course:
    """The whole run."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Events of each type."""


def course_of(events: Iterable[Recorded[Payload]]) -> Course:
    """The run that these events of the log, in order, tell of."""
    course = Course()
    for recorded in events:
        name = recorded.event.type
        course.counts[name] = course.counts.get(name, 0) + 1
        handler = _HANDLERS.get(type(recorded.payload))
        if handler is not None:
            handler(course, recorded)
    return course


def _raised(course: Course, recorded: Recorded[SignalRaised]) -> None:
    said = recorded.payload
    course.alarms[said.signal_id] = Alarm(
        said.signal_id, _at(recorded), recorded.envelope.service, said.kind.value, said.slo, said.severity.value,
        said.summary,
    )  # fmt: skip


def _cleared(course: Course, recorded: Recorded[SignalCleared]) -> None:
    alarm = course.alarms.get(recorded.payload.signal_id)
    if alarm is not None:
        alarm.cleared_us = _at(recorded)


def _opened(course: Course, recorded: Recorded[IncidentOpened]) -> None:
    said, envelope = recorded.payload, recorded.envelope
    course.incidents[said.incident_id] = Incident(
        said.incident_id, envelope.service, envelope.domain, said.title, said.severity, _at(recorded),
        said.started_at_us, list(said.signal_ids),
    )  # fmt: skip


def _linked(course: Course, recorded: Recorded[SignalLinked]) -> None:
    signals = course.incidents[recorded.payload.incident_id].signal_ids
    if recorded.payload.signal_id not in signals:
        signals.append(recorded.payload.signal_id)


def _closed(course: Course, recorded: Recorded[IncidentClosed]) -> None:
    incident = course.incidents[recorded.payload.incident_id]
    incident.closed_us = _at(recorded)
    incident.resolution, incident.reason = recorded.payload.resolution, recorded.payload.reason


def _says(part: str, text: Callable[[Any], str]) -> Callable[[Course, Recorded[Any]], None]:
    """A handler that adds a line to a part of the event's incident."""

    def handle(course: Course, recorded: Recorded[Any]) -> None:
        incident = course.incidents.get(recorded.envelope.correlation_id)
        if incident is not None:
            getattr(incident, part).append(Said(_at(recorded), recorded.event.type, text(recorded.payload)))

    return handle


def _at(recorded: Recorded[Any]) -> int:
    return recorded.recorded_at_ms * 1000


def _action(said: StepRequested) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in sorted(said.action.parameters.items()))
    return f"{said.phase}: {said.action.verb} {said.action.target}({parameters})"


def _rules(said: PlanAuthorized | StepAuthorized | ApprovalRequested) -> str:
    rules = ", ".join(rule.rule for rule in said.decision.rules)
    step_id = "" if isinstance(said, PlanAuthorized) else said.step_id
    return f"{f'step {step_id}: ' if step_id else ''}{said.decision.bundle}: {rules}"


def _outcome(said: OutcomeVerified | OutcomeRejected | OutcomeInconclusive) -> str:
    judged = f"stage {said.outcome.step_id}" if said.outcome.step_id else said.outcome.phase
    return f"{judged}: {said.outcome.reason}"


_HANDLERS: Mapping[type[Payload], Callable[[Course, Recorded[Any]], None]] = {
    SignalRaised: _raised,
    SignalCleared: _cleared,
    IncidentOpened: _opened,
    SignalLinked: _linked,
    IncidentClosed: _closed,
    PlanProposed: _says("plans", lambda said: f"{said.remedy}: {said.summary}"),
    NoPlanFound: _says("plans", lambda said: said.reason),
    PlanAuthorized: _says("decisions", _rules),
    ApprovalRequested: _says("decisions", _rules),
    PlanDenied: _says("decisions", lambda said: said.reason),
    StepAuthorized: _says("decisions", _rules),
    AuthorizationRevoked: _says("decisions", lambda said: said.reason),
    StepRequested: _says("actions", _action),
    StepSucceeded: _says("actions", lambda said: f"{said.phase}: {'changed' if said.changed else 'no state changed'}"),
    ExecutionFailed: _says("outcomes", lambda said: said.reason),
    ExecutionRolledBack: _says("outcomes", lambda said: said.reason),
    OutcomeVerified: _says("outcomes", _outcome),
    OutcomeRejected: _says("outcomes", _outcome),
    OutcomeInconclusive: _says("outcomes", _outcome),
}
