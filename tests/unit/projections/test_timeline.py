"""Timelines and the list of incidents, folded from whole incidents that all five agents made."""

import random
from dataclasses import replace

import pytest
from decided import authorized, decision, granted, rejected, requested
from loop import Loop
from scenario import Said, recorded

from autopilot.projections.approvals import pending_approvals
from autopilot.projections.incidents import incidents
from autopilot.projections.timeline import Event, timeline
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.observer import SignalRaised
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    PlanAuthorized,
    StepAuthorized,
)


@pytest.fixture(scope="module")
def log() -> list[Event]:
    """The log of two incidents, one after another; record times are the virtual clock's."""
    loop = Loop(services=2, partitions=2)
    loop.run(8)
    loop.break_("svc-000")
    loop.run(30)
    loop.break_("svc-001")
    loop.run(30)
    runner = loop.runner
    return [
        Recorded(record.position, runner.codec.decode(record.value), None, record.timestamp_ms)
        for partition in runner.topics[str(Topic.LOG)]
        for record in partition
    ]


def test_a_timeline_goes_from_the_first_signal_to_the_end(log: list[Event]) -> None:
    first, second = incidents(log)
    course = timeline(log, first.incident_id)
    assert course is not None
    names = [line.event for line in course.lines]
    assert names[0] == "SignalRaised"
    assert names[-1] == "IncidentClosed"
    wanted = ["IncidentOpened", "PlanProposed", "PlanAuthorized", "StepStarted", "StepSucceeded", "OutcomeVerified"]
    assert [name for name in names if name in wanted] == wanted
    assert course.resolution == "remediated"
    assert (course.domain, course.service) == (first.domain, first.service) != (second.domain, second.service)


def test_every_line_says_who_and_why_and_bears_its_ids(log: list[Event]) -> None:
    course = timeline(log, incidents(log)[0].incident_id)
    assert course is not None
    for line in course.lines:
        assert line.producer
        assert line.why not in ("", line.event)
        assert line.after_ms >= 0
    step = next(line for line in course.lines if line.event == "StepRequested")
    assert step.ids.keys() == {"plan_id", "decision_id", "execution_id", "step_id"}
    assert "switch_release svc-000(release=good)" in step.why


def test_the_stages_add_up_by_record_times(log: list[Event]) -> None:
    course = timeline(log, incidents(log)[0].incident_id)
    assert course is not None
    took = {stage.name: stage.took_ms for stage in course.stages}
    assert took["verification"] >= 4_000
    assert took["signal to end"] == course.lines[-1].at_ms - course.lines[0].at_ms
    assert "waiting for approval" not in took


def test_the_order_in_which_events_are_read_does_not_matter(log: list[Event]) -> None:
    incident = incidents(log)[0].incident_id
    shuffled = list(log)
    random.Random(7).shuffle(shuffled)
    assert timeline(shuffled, incident) == timeline(log, incident)


def test_an_unknown_incident_has_no_timeline(log: list[Event]) -> None:
    assert timeline(log, "inc-0") is None


def test_an_incident_is_listed_with_the_stage_that_it_has_reached(log: list[Event]) -> None:
    first, second = incidents(log)
    assert (first.stage, second.stage) == ("remediated", "remediated")
    assert first.closed
    mine = [event for event in log if event.envelope.correlation_id == first.incident_id]
    until = next(i for i, event in enumerate(mine) if event.event.type == "ExecutionCompleted")
    (half_way,) = incidents(mine[: until + 1])
    assert (half_way.stage, half_way.closed) == ("verifying", False)


# -- approvals ---------------------------------------------------------------------------------------------------------

DECISION = decision()
REQUEST = requested(DECISION, needed=2)
GRANTED = granted(REQUEST, "ada")
REJECTED = rejected(REQUEST, "ada")
AUTHORIZED = authorized(DECISION)
CLOSED = IncidentClosed(incident_id="inc-1", resolution="recovered", reason="by itself")


def said(*payloads: Payload) -> list[Event]:
    at = {"domain": "shop", "service": "checkout", "topic": str(Topic.LOG)}
    return [recorded(Said(p, correlation_id="inc-1"), i, now_us=1_000 * i, **at) for i, p in enumerate(payloads)]


def test_a_request_waits_with_those_who_have_approved() -> None:
    (waiting,) = pending_approvals(said(REQUEST, GRANTED))
    assert (waiting.approval_id, waiting.approvers, waiting.position.offset) == ("apr-1", ("ada",), 0)


@pytest.mark.parametrize("end", [AUTHORIZED, REJECTED, CLOSED])
def test_a_request_that_is_answered_or_overtaken_waits_no_more(end: Payload) -> None:
    assert pending_approvals(said(REQUEST, end)) == []


OPENED = IncidentOpened(incident_id="inc-1", signal_ids=[], severity="page", title="slow", started_at_us=0)
REFUSED = ApprovalRefused(approval_id="apr-1", incident_id="inc-1", event_id="e", given_by="carl", reason="no approver")
STEP = StepAuthorized(
    decision=DECISION,
    plan_decision_id="dec-1",
    execution_id="exec-1",
    step_id="1",
    obligations=[],
    approvals=[],
    not_after_us=9,
)


@pytest.mark.parametrize(
    ("course", "waiting"),
    [
        ([OPENED, REQUEST, GRANTED, AUTHORIZED], 1),
        ([OPENED, REQUEST, GRANTED, REFUSED, GRANTED, AUTHORIZED], 3),
        ([OPENED, REQUEST, GRANTED, GRANTED, AUTHORIZED], 2),
        ([OPENED, REQUEST, GRANTED, REFUSED], None),
        ([OPENED, AUTHORIZED, REQUEST, GRANTED, STEP], 1),
        ([OPENED, REQUEST, GRANTED, AUTHORIZED, REQUEST, GRANTED, GRANTED, STEP], 1),
    ],
    ids=["one", "one refused before", "two needed", "one refused", "a step", "a plan and then a step"],
)
def test_waiting_for_approval_ends_with_the_answer_that_settled_it(course: list[Payload], waiting: int | None) -> None:
    told = timeline(said(*course), "inc-1")
    assert told is not None
    took = {stage.name: stage.took_ms for stage in told.stages}
    assert took.get("waiting for approval") == waiting
    assert took.get("approval to decision") == (None if waiting is None else 1)


def test_an_incident_without_an_end_is_open() -> None:
    course = timeline(said(OPENED), "inc-1")
    assert course is not None
    assert (course.title, course.resolution, course.stages) == ("slow", "", [])


def test_a_copy_of_what_nobody_signs_is_no_line_of_its_own(log: list[Event]) -> None:
    incident_id = incidents(log)[0].incident_id
    raised = next(one for one in log if isinstance(one.payload, SignalRaised))
    last = max(one.position.offset for one in log if one.position.partition == raised.position.partition)
    copy = replace(raised, position=raised.position._replace(offset=last + 1), recorded_at_ms=log[-1].recorded_at_ms)
    assert timeline([*log, copy], incident_id) == timeline(log, incident_id)


def test_what_nobody_signs_hides_no_signed_line_by_its_id(log: list[Event]) -> None:
    incident_id = incidents(log)[0].incident_id
    signed = next(one for one in log if isinstance(one.payload, PlanAuthorized))
    raised = next(one for one in log if isinstance(one.payload, SignalRaised))
    stolen = raised.envelope.model_copy(update={"event_id": signed.envelope.event_id})
    forged = replace(raised, event=replace(raised.event, envelope=stolen))
    found = timeline([forged, *log], incident_id)
    assert found is not None
    assert [line.event for line in found.lines].count("PlanAuthorized") == 1
