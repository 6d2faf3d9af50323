"""A rollout in three stages through observer, executor and verifier: passed, stopped at a stage, or not seen well."""

from typing import Any

import pytest
from loop import ADMINISTRATOR
from restarting import said_then, said_with_restarts
from rollout import OUTCOMES, Rollout, plan, steps

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.observer import Observer
from autopilot.agents.verifier import Verifier
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionRolledBack,
    RollbackStarted,
    StageReached,
    StepRequested,
)
from autopilot.schemas.events.observer import MeasurementTaken
from autopilot.schemas.events.people import Halt
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected

LONG = 300
"""Seconds in which every rollout here has ended, whichever way."""


def rolled_out(rollout: Rollout) -> Rollout:
    rollout.begin()
    rollout.run(LONG)
    return rollout


def test_a_good_release_goes_through_all_stages_and_is_verified_as_a_whole() -> None:
    rollout = rolled_out(Rollout())
    assert rollout.history == [0, 5, 25, 100]
    assert rollout.stages() == ["share-5", "share-25"]
    assert rollout.verdicts() == [
        ("verified", "stage", "share-5"),
        ("verified", "stage", "share-25"),
        ("verified", "remedy", ""),
    ]
    assert len(rollout.said(ExecutionCompleted)) == 1
    assert rollout.said(RollbackStarted) == []


def test_a_bad_release_is_stopped_at_its_first_stage() -> None:
    rollout = rolled_out(Rollout({5: 0.3, 25: 0.3, 100: 0.3}))
    assert rollout.history == [0, 5, 0]
    assert rollout.verdicts() == [("rejected", "stage", "share-5"), ("verified", "rollback", "")]
    (turned,) = rollout.said(RollbackStarted)
    assert turned.reason.startswith("stage `share-5` was not verified: rejected: slo:web-errors of the canary")
    assert len(rollout.said(ExecutionRolledBack)) == 1


def test_a_release_that_fails_under_more_load_is_taken_back_from_its_second_stage_in_reverse() -> None:
    rollout = rolled_out(Rollout({25: 0.1, 100: 0.1}))
    assert rollout.history == [0, 5, 25, 5, 0]
    assert rollout.verdicts() == [
        ("verified", "stage", "share-5"),
        ("rejected", "stage", "share-25"),
        ("verified", "rollback", ""),
    ]
    assert [one.action.verb for one in rollout.said(StepRequested)] == ["share", "share", "revert", "revert"]
    (rejected,) = rollout.said(OutcomeRejected)
    (check, *_) = rejected.outcome.checks
    assert check.after_mean == pytest.approx(0.1)
    assert check.before_mean == 0.0
    assert rejected.outcome.evidence


def test_a_canary_of_too_few_requests_is_inconclusive_and_taken_back() -> None:
    rollout = rolled_out(Rollout(requests=20))
    assert rollout.history == [0, 5, 0]
    assert rollout.verdicts()[0] == ("inconclusive", "stage", "share-5")
    (outcome,) = [one.outcome for one in rollout.said(OutcomeInconclusive) if one.outcome.phase == "stage"]
    assert outcome.confidence_bp == 0


def test_a_canary_whose_telemetry_does_not_arrive_is_never_verified() -> None:
    rollout = rolled_out(Rollout(silent=25))
    assert rollout.history == [0, 5, 25, 5, 0]
    assert rollout.verdicts()[:2] == [("verified", "stage", "share-5"), ("inconclusive", "stage", "share-25")]


def test_a_halt_at_a_stage_holds_the_rollout_there() -> None:
    rollout = Rollout()
    rollout.begin()
    order = Halt(scope="shop", ordered_by=ADMINISTRATOR.principal, reason="r")
    rollout.runner.pipe(order, producer=ADMINISTRATOR.principal, key=ADMINISTRATOR)
    rollout.run(60)
    assert rollout.history == [0, 5]
    assert rollout.verdicts() == [("verified", "stage", "share-5")]


def test_nothing_is_requested_past_a_gate_before_its_verdict() -> None:
    rollout = rolled_out(Rollout())
    course = rollout.said(StepRequested, StageReached, *OUTCOMES)
    kinds = [(type(one).__name__, getattr(one, "step_id", "")) for one in course]
    assert kinds == [
        ("StepRequested", "share-5"),
        ("StageReached", "share-5"),
        ("OutcomeVerified", ""),
        ("StepRequested", "share-25"),
        ("StageReached", "share-25"),
        ("OutcomeVerified", ""),
        ("StepRequested", "share-100"),
        ("OutcomeVerified", ""),
    ]


@pytest.mark.parametrize("fails", [{}, {25: 0.1, 100: 0.1}], ids=["good", "bad"])
@pytest.mark.parametrize("agent", [Observer(1), Executor(), Verifier()], ids=lambda agent: agent.name)
def test_an_agent_that_restarts_before_every_record_says_the_same(agent: Agent[Any], fails: dict[int, float]) -> None:
    rollout = rolled_out(Rollout(fails))
    said = said_with_restarts(agent, rollout.runner)
    assert said
    assert sorted(said, key=repr) == sorted(said_then(agent, rollout.runner), key=repr)


def test_a_gate_without_groups_compares_with_the_time_before() -> None:
    rollout = Rollout({5: 0.9, 25: 0.9, 100: 0.9})
    taken = [
        step.model_copy(update={"gate": step.gate.model_copy(update={"groups": []})} if step.gate else {})
        for step in steps()
    ]
    rollout.begin(plan(taken))
    rollout.run(LONG)
    assert rollout.history == [0, 5, 0]
    assert not any("@" in one.name for answer in rollout.said(MeasurementTaken) for one in answer.samples)
