"""The whole simulation in memory: what is noticed, done and judged, with and without declared effects."""

import json

import numpy as np
import pytest
from simulation.small import LATENCY, MINUTE_US, RESTART_HELPS, SLOW, START_US, documents, slow_for_an_hour

from autopilot.schemas.configuration import document
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.effector import StepStarted, StepSucceeded, TargetObserved
from autopilot.schemas.events.executor import StepHeld
from autopilot.schemas.events.observer import SignalKind, SignalRaised
from autopilot.schemas.events.people import ApprovalGranted, Document
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, StepAuthorized
from autopilot.schemas.events.telemetry import SeriesKind, TelemetryBatch
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.streams.simulation.course import course_of
from autopilot.streams.simulation.effects import RECORDED, EffectModel
from autopilot.streams.simulation.recording import Recording, SeriesId
from autopilot.streams.simulation.simulation import Options, Simulation, key_of


def simulated(
    model: EffectModel = RECORDED, recording: Recording | None = None, seed: int = 0, *, approval: bool = False
) -> Simulation:
    recording = recording or slow_for_an_hour()
    simulation = Simulation(recording, documents(approval=approval), Options("test", seed, model))
    simulation.run()
    return simulation


def seen_values(simulation: Simulation) -> list[float]:
    batches = simulation.runner.read(Topic.TELEMETRY, TelemetryBatch)
    return [value for batch in batches for one in batch.payload.series for value in one.values]


def test_a_slow_hour_is_noticed_within_three_minutes_of_virtual_time() -> None:
    opened = simulated().runner.read(Topic.LOG, IncidentOpened)
    assert len(opened) == 1
    delay_us = opened[0].envelope.occurred_at_us - (START_US + SLOW.start * MINUTE_US)
    assert MINUTE_US <= delay_us <= 3 * MINUTE_US


def test_without_effects_the_telemetry_that_the_agents_see_is_the_recording() -> None:
    simulation = simulated()
    assert seen_values(simulation) == slow_for_an_hour().series[0].values.tolist()
    assert len(simulation.runner.read(Topic.LOG, StepSucceeded)) == 1
    assert simulation.runner.read(Topic.LOG, OutcomeVerified) == []


def test_a_declared_effect_is_seen_from_its_delay_on_and_verified() -> None:
    simulation = simulated(RESTART_HELPS)
    started = simulation.runner.read(Topic.LOG, StepStarted)[0]
    values = seen_values(simulation)
    since = -(-(started.envelope.occurred_at_us + MINUTE_US - START_US) // MINUTE_US)
    assert set(values[SLOW.start : since]) == {2.0}
    assert set(values[since:]) == {0.1}
    assert len(simulation.runner.read(Topic.LOG, OutcomeVerified)) == 1
    assert [each.payload.resolution for each in simulation.runner.read(Topic.LOG, IncidentClosed)] == ["remediated"]


def test_an_effect_that_lasts_a_while_ends() -> None:
    effect = RESTART_HELPS.effects[0].model_copy(update={"lasts_ms": 600_000})
    values = seen_values(simulated(RESTART_HELPS.model_copy(update={"effects": (effect,)})))
    helped = [minute for minute in SLOW if values[minute] == 0.1]
    assert len(helped) >= 10
    assert helped[:10] == list(range(helped[0], helped[0] + 10))
    assert values[helped[0] + 10] == 2.0


def test_a_declared_state_is_what_the_target_is_seen_in() -> None:
    states = [each.payload.state for each in simulated(RESTART_HELPS).runner.read(Topic.LOG, TargetObserved)]
    assert states[0] == {"desired": "1", "running": "1", "max": "1"}
    assert states[-1]["note"] == "restarted"


def test_an_approval_comes_only_when_the_model_says_so_and_after_its_delay() -> None:
    waiting = simulated(approval=True)
    assert waiting.runner.read(Topic.LOG, PlanAuthorized) == []
    granting = RESTART_HELPS.model_copy(update={"approve_after_ms": 120_000})
    simulation = simulated(granting, approval=True)
    granted = simulation.runner.read(Topic.LOG, ApprovalGranted)
    opened = simulation.runner.read(Topic.LOG, IncidentOpened)[0]
    assert granted[0].envelope.occurred_at_us - opened.envelope.occurred_at_us == 120_000_000
    assert len(simulation.runner.read(Topic.LOG, PlanAuthorized)) == 1


def step_by_step(per: str = "step") -> list[Document]:
    """Two restarts without a gate between them, each of which is approved as it is reached."""
    found = []
    for doc in documents(approval=True):
        content = json.loads(doc.content)
        if doc.kind == "RemedyCatalogue":
            (first,) = content["remedies"][0]["steps"]
            content["remedies"][0]["steps"] = [first, {**first, "id": "again"}]
        if doc.kind == "PolicyBundle":
            content["rules"][1]["obligation"]["parameters"]["per"] = per
        found.append(document(content))
    return found


def test_steps_that_are_approved_as_they_are_reached_are_asked_for_and_granted_one_by_one() -> None:
    granting = RESTART_HELPS.model_copy(update={"approve_after_ms": 120_000})
    simulation = Simulation(slow_for_an_hour(), step_by_step(), Options("test", 0, granting))
    simulation.run()
    asked = simulation.runner.read(Topic.LOG, ApprovalRequested)
    granted = simulation.runner.read(Topic.LOG, ApprovalGranted)
    (held,) = simulation.runner.read(Topic.LOG, StepHeld)
    (authorized,) = simulation.runner.read(Topic.LOG, StepAuthorized)
    assert [one.payload.step_id for one in asked][1:] == [held.payload.step_id] == [authorized.payload.step_id]
    assert granted[1].envelope.occurred_at_us - asked[1].envelope.occurred_at_us == 120_000_000
    (incident,) = course_of(simulation.events()).incidents.values()
    said = [line.text for line in incident.decisions if line.what == "StepAuthorized"]
    assert said == [f"step {held.payload.step_id}: small@1.0.0: act, ask"]


def test_what_is_approved_stage_by_stage_waits_at_gates_alone() -> None:
    granting = RESTART_HELPS.model_copy(update={"approve_after_ms": 120_000})
    simulation = Simulation(slow_for_an_hour(), step_by_step("stage"), Options("test", 0, granting))
    simulation.run()
    assert [one.payload.step_ids for one in simulation.runner.read(Topic.LOG, ApprovalRequested)] == [[]]
    assert simulation.runner.read(Topic.LOG, StepHeld) == []
    assert len(simulation.runner.read(Topic.LOG, OutcomeVerified)) == 1


def test_the_same_seed_gives_the_same_records_and_another_one_other_keys() -> None:
    first, again, other = simulated(), simulated(), simulated(seed=1)
    assert first.runner.topics == again.runner.topics
    assert first.runner.states() == again.runner.states()
    assert key_of("policy", 0).public_key != key_of("policy", 1).public_key
    assert first.runner.topics != other.runner.topics


def test_every_event_bears_the_run() -> None:
    runs = {event.envelope.run for event in simulated().events()}
    assert runs == {"simulation:test"}


def test_a_gap_in_the_recording_is_not_taken_for_lost_telemetry_but_silence_is() -> None:
    whole = slow_for_an_hour().series[0]
    kept = np.r_[0:20, 60:80]
    gap = Recording.of({LATENCY: (whole.timestamps_us[kept], np.full(len(kept), 0.1))})
    assert simulated(recording=gap).runner.read(Topic.LOG, SignalRaised) == []
    other = SeriesId("other", "m", SeriesKind.GAUGE, "1", ())
    silent = Recording.of(
        {LATENCY: (whole.timestamps_us[kept], np.full(len(kept), 0.1)), other: (whole.timestamps_us, whole.values)}
    )
    simulation = Simulation(silent, documents(), Options("test", gap_us=10_000 * MINUTE_US))
    simulation.run()
    kinds = [each.payload.kind for each in simulation.runner.read(Topic.LOG, SignalRaised)]
    assert kinds == [SignalKind.TELEMETRY_LOST]
    assert simulation.ignored == ["other"]


def test_a_recording_of_services_that_nobody_declared_is_refused() -> None:
    other = SeriesId("other", "m", SeriesKind.GAUGE, "1", ())
    with pytest.raises(ValueError, match="no service of the recording is in the fleet map"):
        Simulation(Recording.of({other: (np.array([START_US]), np.array([1.0]))}), documents(), Options("test"))


def test_the_course_tells_what_was_decided_done_and_found() -> None:
    simulation = simulated(RESTART_HELPS)
    course = course_of(simulation.events())
    incident = next(iter(course.incidents.values()))
    assert [said.text for said in incident.actions] == ["forward: restart cart()", "forward: changed"]
    assert [said.what for said in incident.decisions] == ["PlanAuthorized"]
    assert incident.outcomes[-1].what == "OutcomeVerified"
    assert incident.resolution == "remediated"
    assert all(alarm.cleared_us for alarm in course.alarms.values())
