"""The course of one incident as people read it: time, who, what, why, with ids and the latencies between its stages.

A projection that keeps one row for each incident and one for each line. Times are Kafka's record timestamps; an
incident's control events are all in one partition, so that its order is the partition's. A signal's events come before
the incident that it opens: they wait under the signal's own note until an incident takes it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection, folded
from autopilot.projections.rows import NOTE, Row, Rows, is_shown
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import (
    EVENT_TYPES,
    effector,
    executor,
    governance,
    notifications,
    observer,
    people,
    planner,
    policy,
    runtime,
    telemetry,
    verifier,
)

Event = Recorded[Payload]

_SIGNAL_EVENTS = (observer.SignalRaised, observer.SignalUpdated, observer.SignalCleared)
_NO_PART = (observer.BaselineSummarised, runtime.AgentUpgraded)
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


class Line(BaseModel):
    """One event of an incident. `at_ms` is when Kafka recorded it, milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    at_ms: int
    after_ms: int = Field(default=0, description="since the incident's first event")
    producer: str
    event: str
    why: str
    event_id: str
    position: str = Field(description="`topic[partition]@offset`")
    ids: dict[str, str]


class Stage(BaseModel):
    """The time from the first event of one kind to the first of a later kind, by Kafka's record timestamps."""

    model_config = ConfigDict(frozen=True)

    name: str
    took_ms: int


class Timeline(BaseModel):
    """An incident, whole."""

    model_config = ConfigDict(frozen=True)

    incident_id: str
    domain: str
    service: str
    title: str
    resolution: str = Field(description="empty while it is open")
    lines: list[Line]
    stages: list[Stage]


# -- fold --------------------------------------------------------------------------------------------------------------


def _noted(rows: Rows, recorded: Event) -> None:
    """Puts the event's line to its incident, if it has one."""
    incident_id = recorded.envelope.correlation_id
    if incident_id:
        _put(rows, incident_id, _line(recorded))


def _put(rows: Rows, incident_id: str, line: Row) -> None:
    rows.put(f"{incident_id}/{line['place']}", line)


def _signalled(rows: Rows, recorded: Recorded[Any]) -> None:
    """Puts a signal's line to its incident, or to its signal until an incident takes that."""
    incident_id = recorded.envelope.correlation_id or _of_signal(rows, recorded, recorded.payload.signal_id)
    if incident_id:
        _put(rows, incident_id, _line(recorded))


def _linked(rows: Rows, recorded: Recorded[planner.SignalLinked]) -> None:
    _take(rows, recorded.payload.incident_id, recorded.payload.signal_id)
    _noted(rows, recorded)


def _opened(rows: Rows, recorded: Recorded[planner.IncidentOpened]) -> None:
    opened = recorded.payload
    row = {
        "incident_id": opened.incident_id,
        "domain": recorded.envelope.domain,
        "service": recorded.envelope.service,
        "title": opened.title,
        "resolution": "",
    }
    rows.put(opened.incident_id, row)
    for signal_id in opened.signal_ids:
        _take(rows, opened.incident_id, signal_id)
    _noted(rows, recorded)


def _closed(rows: Rows, recorded: Recorded[planner.IncidentClosed]) -> None:
    closed = recorded.payload
    row = rows.get(closed.incident_id)
    if row is not None:
        rows.put(closed.incident_id, {**row, "resolution": closed.resolution})
    _noted(rows, recorded)


def _take(rows: Rows, incident_id: str, signal_id: str) -> None:
    """Gives a signal to an incident, with the lines that have waited. A signal belongs to the last that took it."""
    note = rows.get(_signal_key(signal_id)) or {"incident_id": "", "waiting": {}}
    for key, line in note["waiting"].items():
        rows.put(f"{incident_id}/{key}", line)
    if note["incident_id"] != incident_id or note["waiting"]:
        rows.put(_signal_key(signal_id), {"incident_id": incident_id, "waiting": {}})


def _of_signal(rows: Rows, recorded: Event, signal_id: str) -> str:
    note = rows.get(_signal_key(signal_id)) or {"incident_id": "", "waiting": {}}
    incident_id: str = note["incident_id"]
    if not incident_id:
        line = _line(recorded)
        waiting = {**note["waiting"], line["place"]: line}
        rows.put(_signal_key(signal_id), {"incident_id": "", "waiting": waiting})
    return incident_id


def _signal_key(signal_id: str) -> str:
    return f"{NOTE}signal/{signal_id}"


_HANDLERS: Mapping[type[Payload], Handler] = {
    **{
        model: _noted
        for model in EVENT_TYPES.values()
        if model.topic is Topic.LOG and not model.broadcast and not issubclass(model, _NO_PART)
    },
    **dict.fromkeys(_SIGNAL_EVENTS, _signalled),
    planner.SignalLinked: _linked,
    planner.IncidentOpened: _opened,
    planner.IncidentClosed: _closed,
}
TIMELINES = Projection("timelines", 1, _HANDLERS)


# -- reading -----------------------------------------------------------------------------------------------------------


def lines_prefix(incident_id: str) -> str:
    """What the keys of an incident's lines begin with."""
    return f"{incident_id}/"


def timeline_of(header: Row, lines: Iterable[Row]) -> Timeline:
    """The timeline of an incident's row and its lines' rows, which need no order."""
    ordered = sorted(lines, key=lambda line: (line["at_ms"], line["place"]))
    start_ms = ordered[0]["at_ms"] if ordered else 0
    course = [Line.model_validate({**line, "after_ms": line["at_ms"] - start_ms}) for line in ordered]
    return Timeline(**header, lines=course, stages=stages(course))


def timeline(events: Iterable[Event], incident_id: str) -> Timeline | None:
    """The incident's course, or None when no event opened it. `events` are in order within each partition."""
    rows = folded(TIMELINES, events).rows
    header = rows.get(incident_id)
    if header is None or not is_shown(incident_id):
        return None
    return timeline_of(header, [row for key, row in rows.items() if key.startswith(lines_prefix(incident_id))])


def why(payload: Payload) -> str:
    """One line that says what an event means, made of its own content."""
    return _WHY.get(type(payload), _type_name)(payload)


def stages(course: Sequence[Line]) -> list[Stage]:
    """The latencies between the stages that `course`, in order of time, went through."""
    found = []
    for name, begins, ends in _STAGES:
        begin = next((line for line in course if line.event in begins), None)
        if begin is None:
            continue
        end = next((line for line in course if line.event in ends and line.at_ms >= begin.at_ms), None)
        if end is not None:
            found.append(Stage(name=name, took_ms=end.at_ms - begin.at_ms))
    return found


def _names(*models: type[Payload]) -> frozenset[str]:
    return frozenset(model.event_type() for model in models)


_DECIDED = _names(policy.PlanAuthorized, policy.PlanDenied)
_ANSWERED = _names(people.ApprovalGranted, people.ApprovalRejected)
_JUDGED = _names(verifier.OutcomeVerified, verifier.OutcomeRejected, verifier.OutcomeInconclusive)
_RAISED, _OPENED = _names(observer.SignalRaised), _names(planner.IncidentOpened)
_PROPOSED, _ASKED = _names(planner.PlanProposed), _names(policy.ApprovalRequested)
_BEGUN, _DONE = _names(effector.StepStarted), _names(executor.ExecutionCompleted)
_STAGES: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("signal to incident", _RAISED, _OPENED),
    ("incident to plan", _OPENED, _PROPOSED | _names(planner.NoPlanFound)),
    ("plan to verdict", _PROPOSED, _DECIDED | _ASKED),
    ("waiting for approval", _ASKED, _ANSWERED),
    ("approval to decision", _ANSWERED, _DECIDED),
    ("decision to first step", _names(policy.PlanAuthorized), _BEGUN),
    ("signal to first step", _RAISED, _BEGUN),
    ("execution", _names(executor.ExecutionStarted), _DONE | _names(executor.ExecutionFailed)),
    ("verification", _DONE, _JUDGED),
    (
        "rollback",
        _names(executor.RollbackStarted),
        _names(executor.ExecutionRolledBack, executor.ExecutionFailed),
    ),
    ("signal to end", _RAISED, _names(planner.IncidentClosed)),
)


def _line(event: Event) -> Row:
    at, envelope, payload = event.position, event.envelope, event.payload
    return {
        "place": f"{at.partition:04}/{at.offset:015}",
        "at_ms": event.recorded_at_ms,
        "producer": envelope.producer,
        "event": type(payload).event_type(),
        "why": why(payload),
        "event_id": envelope.event_id,
        "position": str(at),
        "ids": _ids(payload),
    }


def _ids(payload: Payload) -> dict[str, str]:
    return {
        name: value
        for holder, name in _ID_PLACES[type(payload)]
        if (value := getattr(getattr(payload, holder) if holder else payload, name))
    }


def _id_places(model: type[Payload]) -> list[tuple[str, str]]:
    """Where a type's events keep ids: the part that holds one (empty for the event itself) and its name."""
    places = [("", name) for name in _ID_FIELDS if name in model.model_fields]
    for holder, part in (("decision", policy.Decision), ("outcome", verifier.Outcome)):
        if holder in model.model_fields:
            places += [(holder, name) for name in _ID_FIELDS if name in part.model_fields]
    return sorted(places, key=lambda place: _ID_FIELDS.index(place[1]))


_ID_PLACES = {model: _id_places(model) for model in EVENT_TYPES.values()}


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


def _decided(p: policy.PlanAuthorized | policy.StepAuthorized) -> str:
    rules = ", ".join(rule.rule for rule in p.decision.rules)
    approved = ", ".join(use.approver for use in p.approvals)
    what = f"{p.step_id} " if isinstance(p, policy.StepAuthorized) else ""
    return f"{what}permitted by {p.decision.bundle}: {rules}" + (f"; approved by {approved}" if approved else "")


def _requested(p: executor.StepRequested) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in sorted(p.action.parameters.items()))
    return f"{p.phase} {p.step_id}: {p.action.verb} {p.action.target}({parameters}), try {p.attempt}"


def _succeeded(p: effector.StepSucceeded) -> str:
    done = "changed" if p.changed else "was so already"
    return f"{p.phase} {p.step_id} {done}, took {p.took_ms} ms"


def _checked(p: verifier.OutcomeVerified | verifier.OutcomeRejected | verifier.OutcomeInconclusive) -> str:
    checks = "; ".join(f"{check.name} {check.verdict}" for check in p.outcome.checks)
    judged = f"stage {p.outcome.step_id}" if p.outcome.step_id else p.outcome.phase
    return f"{judged}: {p.outcome.reason}" + (f" ({checks})" if checks else "")


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
    governance.BreakGlass: _text("{p.invoked_by}: {p.reason}"),
    governance.GovernanceRefused: _text("{p.refused_type} of {p.given_by} about {p.subject}: {p.reason}"),
    governance.NoticeGiven: _text("{p.to}: {p.text}"),
    governance.RemedyAutonomyChanged: _text("{p.remedy} on {p.service} is now {p.autonomy}: {p.reason}"),
    governance.RemedyAutonomyLowered: _text("{p.remedy} on {p.service}: {p.before} -> {p.autonomy}; {p.reason}"),
    governance.RemedyPromotionProposed: _text("{p.remedy} on {p.service} could be {p.proposed}: {p.reason}"),
    planner.PlanProposed: _planned,
    planner.PlanWithdrawn: _text("{p.reason}"),
    planner.NoPlanFound: _no_plan,
    planner.TargetsLocked: _text("{p.targets}"),
    planner.TargetsReleased: _text("{p.targets}: {p.reason}"),
    planner.IncidentHeld: _text("waits for {p.waits_for}: {p.reason}"),
    policy.PreviewRequested: _text("what would plan {p.plan_id} change?"),
    policy.ApprovalRequested: _text("{p.needed} of {p.group} must approve: {p.summary}"),
    policy.PlanAuthorized: _decided,
    policy.StepAuthorized: _decided,
    policy.PlanDenied: _text("{p.reason}"),
    policy.AuthorizationRevoked: _text("{p.reason}"),
    policy.ApprovalRefused: _text("{p.given_by}: {p.reason}"),
    executor.ExecutionStarted: _text("{p.steps} steps under decision {p.decision_id}"),
    executor.StepRequested: _requested,
    executor.StageReached: _text("{p.step_id} waits for its verdict"),
    executor.StepHeld: _text("{p.step_id} waits for an authorisation of its own"),
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
    notifications.NotificationRequested: _text("{p.reason} ({p.urgency}): {p.title}"),
    notifications.NotificationDelivered: _text("by {p.channel}"),
    notifications.NotificationFailed: _text("by {p.channel}: {p.reason}"),
    runtime.AgentFaulted: _text("{p.agent} parked {p.parked}: {p.error}"),
}
