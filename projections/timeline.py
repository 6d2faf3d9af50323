"""The course of one incident as people read it: time, who, what, why, with ids and the latencies between its stages.

A projection that keeps one row for each incident and one for each line. Times are Kafka's record timestamps; an
incident's control events are all in one partition, so that its order is the partition's. A signal's events come before
the incident that it opens: they wait under the signal's own note until an incident takes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection, folded
from autopilot.projections.rows import NOTE, Row, Rows, is_shown
from autopilot.projections.wording import why
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import (
    EVENT_TYPES,
    effector,
    executor,
    observer,
    people,
    planner,
    policy,
    runtime,
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
TIMELINES = Projection("timelines", 2, _HANDLERS)


# -- reading -----------------------------------------------------------------------------------------------------------


def lines_prefix(incident_id: str) -> str:
    """What the keys of an incident's lines begin with."""
    return f"{incident_id}/"


def timeline_of(header: Row, lines: Iterable[Row]) -> Timeline:
    """The timeline of an incident's row and its lines' rows, which need no order.

    A copy of an event has its id and type, and is no line of its own: it stands where it was recorded first. By the id
    alone, whoever forges what nobody signs could hide what is signed.
    """
    found: dict[tuple[str, str], Row] = {}
    for line in sorted(lines, key=lambda line: (line["at_ms"], line["place"])):
        found.setdefault((line["event_id"], line["event"]), line)
    ordered = list(found.values())
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


def stages(course: Sequence[Line]) -> list[Stage]:
    """The latencies between the stages that `course`, in order of time, went through."""
    found = []
    told = _without_answers_that_settled_nothing(course)
    for name, begins, ends in _STAGES:
        begin = next((line for line in told if line.event in begins), None)
        if begin is None:
            continue
        end = next((line for line in told if line.event in ends and line.at_ms >= begin.at_ms), None)
        if end is not None:
            found.append(Stage(name=name, took_ms=end.at_ms - begin.at_ms))
    return found


def _without_answers_that_settled_nothing(course: Sequence[Line]) -> list[Line]:
    """`course` with, of the answers to a request, that one alone which the decision followed.

    One that was refused, or the first of two that were needed, leaves the request waiting.
    """
    kept: list[Line] = []
    settled_later = False
    for line in reversed(course):
        if line.event in _ANSWERED:
            if not settled_later:
                continue
            settled_later = False
        elif line.event in _SETTLED:
            settled_later = True
        kept.append(line)
    return kept[::-1]


def _names(*models: type[Payload]) -> frozenset[str]:
    return frozenset(model.event_type() for model in models)


_DECIDED = _names(policy.PlanAuthorized, policy.PlanDenied)
_ANSWERED = _names(people.ApprovalGranted, people.ApprovalRejected)
_SETTLED = _DECIDED | _names(policy.StepAuthorized, policy.AuthorizationRevoked)
"""What an answer leads to: the plan, or the held step, goes on or ends."""
_JUDGED = _names(verifier.OutcomeVerified, verifier.OutcomeRejected, verifier.OutcomeInconclusive)
_RAISED, _OPENED = _names(observer.SignalRaised), _names(planner.IncidentOpened)
_PROPOSED, _ASKED = _names(planner.PlanProposed), _names(policy.ApprovalRequested)
_BEGUN, _DONE = _names(effector.StepStarted), _names(executor.ExecutionCompleted)
_STAGES: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("signal to incident", _RAISED, _OPENED),
    ("incident to plan", _OPENED, _PROPOSED | _names(planner.NoPlanFound)),
    ("plan to verdict", _PROPOSED, _DECIDED | _ASKED),
    ("waiting for approval", _ASKED, _ANSWERED),
    ("approval to decision", _ANSWERED, _SETTLED),
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
