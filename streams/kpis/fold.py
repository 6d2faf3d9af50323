"""The KPIs of one domain as a pure fold: a row, an event of the log and its place give the next row.

A domain's events stand in one partition, so one row holds all that its figures depend on: which incidents are under
way and what has been counted in windows that have not ended. The row knows the next offset that it expects: a record
before that was applied already and changes nothing, however often it is delivered.

Time is the record timestamp, and it never goes back: a record that bears an earlier one than the row has seen counts
at the later time. A window has therefore ended for good once any record of its partition bears its end or a later
time, and a window that has ended is never opened again.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from autopilot.schemas.contract import Contract, Payload, optional
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.kpis import NO_DURATIONS, Durations, Figures
from autopilot.schemas.events.observer import BaselineSummarised, TelemetryQualityChanged
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.streams.repetition import Heard

WINDOWS_MS = (60_000, 300_000)
"""Lengths of the windows: one minute and five, tumbling, aligned to the epoch."""
KEPT_MS = 3_600_000
"""How long a closed incident is remembered, for verdicts that come late; later ones count under no policy."""

NO_FIGURES = Figures(
    authorized=0,
    denied=0,
    decision_latency=NO_DURATIONS,
    approval_wait=NO_DURATIONS,
    step_wait=NO_DURATIONS,
    verified=0,
    rejected=0,
    inconclusive=0,
    rollbacks=0,
    quality_reports=0,
    quality_sum_bp=0,
    quality_min_bp=10_000,
)


class Policy(Contract):
    """Which policy figures are counted for."""

    bundle: str = optional("As the decision names it.", "")
    digest: str = optional("Its digest.", "")


NO_POLICY = Policy()


class StepNote(Contract):
    """A held step that waits for people."""

    step_id: str = optional("The step.", "")
    asked_at_ms: int = optional("Record time of the request.", 0)
    asked_by: Policy = optional("The policy that asked.", NO_POLICY)


class PlanNote(Contract):
    """What is known of a plan."""

    held_at_ms: int | None = optional("Record time of the first request for approval.", None)
    allowed_by: Policy = optional("Who decided it.", NO_POLICY)
    step: StepNote | None = optional("The held step that waits, if one does.", None)


class Course(Contract):
    """An incident that is under way, or closed not long ago."""

    opened_at_ms: int | None = optional("Record time of its opening; unknown when the log begins later.", None)
    is_decided: bool = optional("Whether there was a decision about it.", False)
    closed_at_ms: int | None = optional("Record time of its closing.", None)
    plans: dict[str, PlanNote] = optional("Its plans.", {})


class Window(Contract):
    """A window that counts for one policy."""

    start_ms: int = optional("When it began.", 0)
    length_ms: int = optional("How long it is.", 0)
    policy: Policy = optional("The policy.", NO_POLICY)
    figures: Figures = optional("What was counted so far.", NO_FIGURES)

    @property
    def end_ms(self) -> int:
        """When it ends, exclusive."""
        return self.start_ms + self.length_ms


class DomainRow(Contract):
    """All that is kept of a domain.

    Bounded by its open incidents, by the policies of the last five minutes, and by what is remembered of signed words:
    the last one of each process, and a day's that nothing in the log has caused.
    """

    next_offset: int = optional("Records before this one are applied.", 0)
    now_ms: int = optional("The latest record time that changed anything.", 0)
    courses: dict[str, Course] = optional("Incidents.", {})
    windows: list[Window] = optional("Windows that have not ended.", [])
    heard: Heard = optional("Signed words, each of which counts once.", Heard())

    @property
    def due_ms(self) -> int | None:
        """When the next window ends; None when none is open."""
        return min((window.end_ms for window in self.windows), default=None)


NO_ROW = DomainRow()


class Counted(NamedTuple):
    """What an event adds to the windows of its time."""

    policy: Policy
    figures: Figures


class Told(NamedTuple):
    """What an event tells: the incident's course from now on, and what is to be counted, where there is any."""

    incident_id: str = ""
    course: Course | None = None
    counted: Counted | None = None


def apply(row: DomainRow, recorded: Recorded[Payload]) -> tuple[DomainRow, list[Window]]:
    """The row after an event of its domain, and the windows that ended before it. A known offset changes nothing."""
    if recorded.position.offset < row.next_offset:
        return row, []
    at_ms = max(row.now_ms, recorded.recorded_at_ms)
    ended, going_on = _split(row.windows, at_ms)
    told = HANDLERS[type(recorded.payload)](row.courses, recorded.payload, at_ms)
    courses = {name: course for name, course in row.courses.items() if not _is_past(course, at_ms)}
    if told.course is not None:
        courses[told.incident_id] = told.course
    if told.counted is not None:
        going_on = _counted(going_on, told.counted, at_ms)
    changes = {"next_offset": recorded.position.offset + 1, "now_ms": at_ms, "courses": courses, "windows": going_on}
    return row.model_copy(update=changes), ended


def pass_time(row: DomainRow, offset: int, at_ms: int) -> tuple[DomainRow, list[Window]]:
    """The row after a record that is not its own, and the windows that ended by its time; without any, the same row."""
    due_ms = row.due_ms
    if offset < row.next_offset or due_ms is None or at_ms < due_ms:
        return row, []
    ended, going_on = _split(row.windows, at_ms)
    return row.model_copy(update={"next_offset": offset + 1, "now_ms": at_ms, "windows": going_on}), ended


def _split(windows: list[Window], at_ms: int) -> tuple[list[Window], list[Window]]:
    ended = [window for window in windows if window.end_ms <= at_ms]
    return ended, [window for window in windows if window.end_ms > at_ms]


def _is_past(course: Course, at_ms: int) -> bool:
    return course.closed_at_ms is not None and course.closed_at_ms + KEPT_MS <= at_ms


def _counted(windows: list[Window], counted: Counted, at_ms: int) -> list[Window]:
    found = list(windows)
    for length_ms in WINDOWS_MS:
        start_ms = at_ms - at_ms % length_ms
        same = [w for w in found if (w.start_ms, w.length_ms, w.policy) == (start_ms, length_ms, counted.policy)]
        window = same[0] if same else Window(start_ms=start_ms, length_ms=length_ms, policy=counted.policy)
        grown = window.model_copy(update={"figures": plus(window.figures, counted.figures)})
        found = [grown if w is window else w for w in found] if same else [*found, grown]
    return found


# -- figures -----------------------------------------------------------------------------------------------------------


def took(duration_ms: int) -> Durations:
    """One duration. Clocks may step back: less than 0 counts as 0."""
    took_ms = max(duration_ms, 0)
    return Durations(count=1, sum_ms=took_ms, max_ms=took_ms, below_ms={str(1 << took_ms.bit_length()): 1})


def both(one: Durations, other: Durations) -> Durations:
    """All durations of both."""
    below = dict(one.below_ms)
    for bound, count in other.below_ms.items():
        below[bound] = below.get(bound, 0) + count
    return Durations(
        count=one.count + other.count,
        sum_ms=one.sum_ms + other.sum_ms,
        max_ms=max(one.max_ms, other.max_ms),
        below_ms=below,
    )


def plus(one: Figures, other: Figures) -> Figures:
    """All that is in both: windows of the same length add up to a longer time in any order."""
    return Figures(
        authorized=one.authorized + other.authorized,
        denied=one.denied + other.denied,
        decision_latency=both(one.decision_latency, other.decision_latency),
        approval_wait=both(one.approval_wait, other.approval_wait),
        step_wait=both(one.step_wait, other.step_wait),
        verified=one.verified + other.verified,
        rejected=one.rejected + other.rejected,
        inconclusive=one.inconclusive + other.inconclusive,
        rollbacks=one.rollbacks + other.rollbacks,
        quality_reports=one.quality_reports + other.quality_reports,
        quality_sum_bp=one.quality_sum_bp + other.quality_sum_bp,
        quality_min_bp=min(one.quality_min_bp, other.quality_min_bp),
    )


def _figures(**some: Any) -> Figures:
    return NO_FIGURES.model_copy(update=some)


# -- what each event tells ---------------------------------------------------------------------------------------------

Courses = Mapping[str, Course]
NEW = Course()


def _opened(_courses: Courses, payload: Any, at_ms: int) -> Told:
    return Told(payload.incident_id, Course(opened_at_ms=at_ms))


def _closed(courses: Courses, payload: Any, at_ms: int) -> Told:
    course = courses.get(payload.incident_id)
    if course is None:
        return Told()
    return Told(payload.incident_id, course.model_copy(update={"closed_at_ms": at_ms}))


def _asked(courses: Courses, payload: ApprovalRequested, at_ms: int) -> Told:
    decision = payload.decision
    course = courses.get(decision.incident_id, NEW)
    known = course.plans.get(decision.plan_id)
    if payload.execution_id:
        step = StepNote(step_id=payload.step_id, asked_at_ms=at_ms, asked_by=_policy_of(decision))
        note = (known or PlanNote()).model_copy(update={"step": step})
        return Told(decision.incident_id, _noting(course, decision.plan_id, note))
    if known is not None:
        return Told()
    return Told(decision.incident_id, _noting(course, decision.plan_id, PlanNote(held_at_ms=at_ms)))


def _step_authorized(courses: Courses, payload: StepAuthorized, at_ms: int) -> Told:
    decision = payload.decision
    return _step_decided(courses, decision.incident_id, decision.plan_id, payload.step_id, at_ms)


def _revoked(courses: Courses, payload: AuthorizationRevoked, at_ms: int) -> Told:
    return _step_decided(courses, payload.incident_id, payload.plan_id, payload.step_id, at_ms)


def _step_decided(courses: Courses, incident_id: str, plan_id: str, step_id: str, at_ms: int) -> Told:
    """The end of a wait, whatever was decided; what nobody was asked about has not waited."""
    course = courses.get(incident_id, NEW)
    note = course.plans.get(plan_id, PlanNote())
    step = note.step
    if step is None or step.step_id != step_id:
        return Told()
    left = _noting(course, plan_id, note.model_copy(update={"step": None}))
    return Told(incident_id, left, Counted(step.asked_by, _figures(step_wait=took(at_ms - step.asked_at_ms))))


def _decided(courses: Courses, payload: Any, at_ms: int) -> Told:
    decision: Decision = payload.decision
    course = courses.get(decision.incident_id, NEW)
    policy = _policy_of(decision)
    figures = _figures(**{"authorized" if isinstance(payload, PlanAuthorized) else "denied": 1})
    if course.opened_at_ms is not None and not course.is_decided:
        figures = figures.model_copy(update={"decision_latency": took(at_ms - course.opened_at_ms)})
    held_at_ms = course.plans.get(decision.plan_id, PlanNote()).held_at_ms
    if held_at_ms is not None:
        figures = figures.model_copy(update={"approval_wait": took(at_ms - held_at_ms)})
    noted = _noting(course, decision.plan_id, PlanNote(allowed_by=policy))
    return Told(decision.incident_id, noted.model_copy(update={"is_decided": True}), Counted(policy, figures))


def _policy_of(decision: Decision) -> Policy:
    return Policy(bundle=decision.bundle, digest=decision.bundle_digest)


def _noting(course: Course, plan_id: str, note: PlanNote) -> Course:
    return course.model_copy(update={"plans": {**course.plans, plan_id: note}})


_VERDICTS: Mapping[type[Payload], str] = {
    OutcomeVerified: "verified",
    OutcomeRejected: "rejected",
    OutcomeInconclusive: "inconclusive",
}


def _judged(courses: Courses, payload: Any, _at_ms: int) -> Told:
    outcome = payload.outcome
    if outcome.phase == "stage":
        return Told()  # the whole is judged once more, or its rollback is
    note = courses.get(outcome.incident_id, NEW).plans.get(outcome.plan_id, PlanNote())
    counter = "rollbacks" if outcome.phase == "rollback" else _VERDICTS[type(payload)]
    return Told(counted=Counted(note.allowed_by, _figures(**{counter: 1})))


def _reported(_courses: Courses, payload: Any, _at_ms: int) -> Told:
    worst_bp = payload.quality.worst_bp
    return Told(
        counted=Counted(NO_POLICY, _figures(quality_reports=1, quality_sum_bp=worst_bp, quality_min_bp=worst_bp))
    )


HANDLERS: Mapping[type[Payload], Callable[[Courses, Any, int], Told]] = {
    IncidentOpened: _opened,
    IncidentClosed: _closed,
    ApprovalRequested: _asked,
    StepAuthorized: _step_authorized,
    AuthorizationRevoked: _revoked,
    PlanAuthorized: _decided,
    PlanDenied: _decided,
    **dict.fromkeys(_VERDICTS, _judged),
    TelemetryQualityChanged: _reported,
    BaselineSummarised: _reported,
}
"""Event type -> what it tells. Other events of the log only let time pass."""
