"""The course of one incident as people read it: time, who, what, why, with ids and the latencies between its stages.

Pure: events with their positions in, lines out. Times are Kafka's record timestamps; an incident's control events are
all in one partition, so that its order is the partition's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import effector, executor, observer, people, planner, policy, runtime, telemetry, verifier

Event = Recorded[Payload]

_SIGNAL_EVENTS = (observer.SignalRaised, observer.SignalUpdated, observer.SignalCleared)
_ID_FIELDS = (
    "signal_id",
    "plan_id",
    "decision_id",
    "approval_id",
    "execution_id",
    "step_id",
    "outcome_id",
    "measurement_id",
)


@dataclass(frozen=True)
class Line:
    """One event of an incident. `at_ms` is when Kafka recorded it, milliseconds since the epoch."""

    at_ms: int
    after_ms: int
    """Since the incident's first event."""
    producer: str
    event: str
    why: str
    event_id: str
    position: str
    ids: dict[str, str]


@dataclass(frozen=True)
class Stage:
    """The time from the first event of one kind to the first of a later kind, by Kafka's record timestamps."""

    name: str
    took_ms: int


@dataclass(frozen=True)
class Timeline:
    """An incident, whole."""

    incident_id: str
    domain: str
    service: str
    title: str
    resolution: str
    """Empty while it is open."""
    lines: list[Line]
    stages: list[Stage]


def timeline(events: Iterable[Event], incident_id: str) -> Timeline | None:
    """The incident's course, or None when no event opened it. `events` may hold other incidents', in any order."""
    everything = sorted(events, key=lambda event: event.position)
    mine = [event for event in everything if event.envelope.correlation_id == incident_id]
    opened = next((event for event in mine if isinstance(event.payload, planner.IncidentOpened)), None)
    if opened is None or not isinstance(opened.payload, planner.IncidentOpened):
        return None
    signals = _signals_of(mine)
    course = [event for event in everything if event in mine or _signal_id(event) in signals]
    course = _unique(course)
    course.sort(key=lambda event: (event.recorded_at_ms, event.position))
    closed = next((event.payload for event in mine if isinstance(event.payload, planner.IncidentClosed)), None)
    start_ms = course[0].recorded_at_ms
    return Timeline(
        incident_id=incident_id,
        domain=opened.envelope.domain,
        service=opened.envelope.service,
        title=opened.payload.title,
        resolution=closed.resolution if closed else "",
        lines=[_line(event, start_ms) for event in course],
        stages=stages(course),
    )


def why(payload: Payload) -> str:
    """One line that says what an event means, made of its own content."""
    return _WHY.get(type(payload), _type_name)(payload)


def stages(course: Sequence[Event]) -> list[Stage]:
    """The latencies between the stages that `course`, in order of time, went through."""
    found = []
    for name, begins, ends in _STAGES:
        begin = next((event for event in course if isinstance(event.payload, begins)), None)
        if begin is None:
            continue
        end = next(
            (e for e in course if isinstance(e.payload, ends) and e.recorded_at_ms >= begin.recorded_at_ms), None
        )
        if end is not None:
            found.append(Stage(name, end.recorded_at_ms - begin.recorded_at_ms))
    return found


_DECIDED = (policy.PlanAuthorized, policy.PlanDenied)
_JUDGED = (verifier.OutcomeVerified, verifier.OutcomeRejected, verifier.OutcomeInconclusive)
_STAGES: tuple[tuple[str, tuple[type[Payload], ...], tuple[type[Payload], ...]], ...] = (
    ("signal to incident", (observer.SignalRaised,), (planner.IncidentOpened,)),
    ("incident to plan", (planner.IncidentOpened,), (planner.PlanProposed, planner.NoPlanFound)),
    ("plan to verdict", (planner.PlanProposed,), (*_DECIDED, policy.ApprovalRequested)),
    ("waiting for approval", (policy.ApprovalRequested,), (people.ApprovalGranted, people.ApprovalRejected)),
    ("approval to decision", (people.ApprovalGranted, people.ApprovalRejected), _DECIDED),
    ("decision to first step", (policy.PlanAuthorized,), (effector.StepStarted,)),
    ("signal to first step", (observer.SignalRaised,), (effector.StepStarted,)),
    ("execution", (executor.ExecutionStarted,), (executor.ExecutionCompleted, executor.ExecutionFailed)),
    ("verification", (executor.ExecutionCompleted,), _JUDGED),
    ("rollback", (executor.RollbackStarted,), (executor.ExecutionRolledBack, executor.ExecutionFailed)),
    ("signal to end", (observer.SignalRaised,), (planner.IncidentClosed,)),
)


def _signals_of(events: Iterable[Event]) -> set[str]:
    found: set[str] = set()
    for event in events:
        if isinstance(event.payload, planner.IncidentOpened):
            found.update(event.payload.signal_ids)
        if isinstance(event.payload, planner.SignalLinked):
            found.add(event.payload.signal_id)
    return found


def _signal_id(event: Event) -> str | None:
    return event.payload.signal_id if isinstance(event.payload, _SIGNAL_EVENTS) else None


def _unique(events: Iterable[Event]) -> list[Event]:
    """Each event once, though a broadcast stands in several partitions."""
    seen: dict[str, Event] = {}
    for event in events:
        seen.setdefault(event.envelope.event_id, event)
    return list(seen.values())


def _line(event: Event, start_ms: int) -> Line:
    return Line(
        at_ms=event.recorded_at_ms,
        after_ms=event.recorded_at_ms - start_ms,
        producer=event.envelope.producer,
        event=event.event.type,
        why=why(event.payload),
        event_id=event.envelope.event_id,
        position=str(event.position),
        ids=_ids(event.payload),
    )


def _ids(payload: Payload) -> dict[str, str]:
    content: Any = getattr(payload, "decision", None) or getattr(payload, "outcome", None) or payload
    found = {}
    for name in _ID_FIELDS:
        value = getattr(payload, name, "") or getattr(content, name, "")
        if value:
            found[name] = value
    return found


def percent(basis_points: int) -> str:
    """Basis points as a percentage: 8150 is `81.5 %`."""
    return f"{basis_points / 100:g} %"


def _type_name(payload: Payload) -> str:
    return payload.event_type()


def _text(pattern: str) -> Callable[[Any], str]:
    """A line that needs nothing but the payload's own fields."""
    return lambda payload: pattern.format(p=payload)


def _raised(p: observer.SignalRaised) -> str:
    return f"{p.summary} ({p.severity}, confidence {percent(p.confidence_bp)})"


def _planned(p: planner.PlanProposed) -> str:
    steps = ", ".join(f"{s.action.verb} {s.action.target}" for s in p.steps)
    basis = f"{p.basis.verified} verified, {p.basis.rejected} rejected"
    return f"{p.summary}: {steps} (confidence {percent(p.confidence_bp)} on {basis}; risk {p.risk_class})"


def _no_plan(p: planner.NoPlanFound) -> str:
    return f"{p.reason}; look at: {', '.join(p.look_at) or 'nothing known'}"


def _decided(p: policy.PlanAuthorized) -> str:
    rules = ", ".join(rule.rule for rule in p.decision.rules)
    approved = ", ".join(use.approver for use in p.approvals)
    return f"permitted by {p.decision.bundle}: {rules}" + (f"; approved by {approved}" if approved else "")


def _requested(p: executor.StepRequested) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in sorted(p.action.parameters.items()))
    return f"{p.phase} {p.step_id}: {p.action.verb} {p.action.target}({parameters}), try {p.attempt}"


def _succeeded(p: effector.StepSucceeded) -> str:
    done = "changed" if p.changed else "was so already"
    return f"{p.phase} {p.step_id} {done}, took {p.took_ms} ms"


def _checked(p: verifier.OutcomeVerified | verifier.OutcomeRejected | verifier.OutcomeInconclusive) -> str:
    checks = "; ".join(f"{check.name} {check.verdict}" for check in p.outcome.checks)
    return f"{p.outcome.phase}: {p.outcome.reason}" + (f" ({checks})" if checks else "")


def _previewed(p: effector.PreviewCompleted) -> str:
    changes = ", ".join(f"{c.field}: {c.before} -> {c.after}" for c in p.changes)
    return changes or p.reason or "nothing would change"


def _approval(p: people.ApprovalGranted | people.ApprovalRejected) -> str:
    verb = "approved" if isinstance(p, people.ApprovalGranted) else "refused"
    return f"{verb} by {p.approver}" + (f": {p.comment}" if p.comment else "")


def _measured(p: observer.MeasurementTaken) -> str:
    counts = ", ".join(f"{s.name} {len(s.values)} buckets" for s in p.samples)
    return f"{p.purpose}: {counts or 'no data'}"


_WHY: Mapping[type[Payload], Callable[[Any], str]] = {
    observer.SignalRaised: _raised,
    observer.SignalUpdated: _text("{p.summary} ({p.severity})"),
    observer.SignalCleared: _text("{p.reason}"),
    observer.TelemetryQualityChanged: _text("{p.reason}"),
    observer.MeasurementTaken: _measured,
    telemetry.MeasurementRequested: _text("samples {p.purpose} the execution"),
    planner.IncidentOpened: _text("{p.title} ({p.severity})"),
    planner.SignalLinked: _text("signal {p.change}: {p.reason}"),
    planner.IncidentClosed: _text("{p.resolution}: {p.reason}"),
    planner.PlanProposed: _planned,
    planner.PlanWithdrawn: _text("{p.reason}"),
    planner.NoPlanFound: _no_plan,
    policy.PreviewRequested: _text("what would plan {p.plan_id} change?"),
    policy.ApprovalRequested: _text("{p.needed} of {p.group} must approve: {p.summary}"),
    policy.PlanAuthorized: _decided,
    policy.PlanDenied: _text("{p.reason}"),
    policy.AuthorizationRevoked: _text("{p.reason}"),
    policy.ApprovalRefused: _text("{p.given_by}: {p.reason}"),
    executor.ExecutionStarted: _text("{p.steps} steps under decision {p.decision_id}"),
    executor.StepRequested: _requested,
    executor.RollbackStarted: _text("{p.reason}"),
    executor.ExecutionCompleted: _text("every step has succeeded"),
    executor.ExecutionFailed: _text("{p.reason}"),
    executor.ExecutionRolledBack: _text("{p.reason}"),
    executor.BreakerOpened: _text("{p.breaker} after {p.failures} failures: {p.reason}"),
    executor.BreakerClosed: _text("{p.breaker}: {p.reason}"),
    effector.TargetObserved: _text("{p.driver} {p.target}"),
    effector.PreviewCompleted: _previewed,
    effector.StepStarted: _text("{p.phase} {p.step_id}, try {p.attempt} ({p.crash_class})"),
    effector.StepSucceeded: _succeeded,
    effector.StepFailed: _text("{p.phase} {p.step_id}: {p.failure}, {p.reason}"),
    effector.StepIndeterminate: _text("{p.phase} {p.step_id}: {p.reason}"),
    verifier.OutcomeVerified: _checked,
    verifier.OutcomeRejected: _checked,
    verifier.OutcomeInconclusive: _checked,
    people.ApprovalGranted: _approval,
    people.ApprovalRejected: _approval,
    runtime.AgentFaulted: _text("{p.agent} parked {p.parked}: {p.error}"),
}
