"""A rollout of two stages with two steps each, of which a person approves each stage as it is reached."""

from typing import Any

import rollout as world
from held_rollout import AT, BEA, DAN, Approved, asking
from loop import POLICY
from restarting import said_then, said_with_restarts

from autopilot.agents.policy import PolicyAgent
from autopilot.policies.engine import policy_set
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionRolledBack, StepHeld
from autopilot.schemas.events.planner import Step
from autopilot.schemas.events.policy import ApprovalRequested, StepAuthorized
from autopilot.streams.what_if import what_if

SHARES = (5, 25, 50, 100)
FIRST, SECOND = ["share-5", "share-25"], ["share-50", "share-100"]


def steps() -> list[Step]:
    """A gate after the second step alone."""
    return [
        step if step.step_id == FIRST[-1] else step.model_copy(update={"gate": None}) for step in world.steps(SHARES)
    ]


def staged(**parameters: Any) -> Approved:
    """The rollout, about whose first stage people are asked."""
    return Approved(steps(), **{"per": "stage", **parameters})


def second_stage(**parameters: Any) -> Approved:
    """The first stage is approved, done and verified; people are asked about the second one."""
    rollout = staged(**parameters)
    rollout.approve()
    rollout.run(60)
    return rollout


def asked(rollout: Approved) -> list[list[str]]:
    return [request.step_ids for request in rollout.said(ApprovalRequested)]


def flips(rollout: Approved, **parameters: Any) -> list[tuple[str, str, str]]:
    """How the plan would have fared under another bundle: then, now, and what is said about it."""
    candidate = policy_set([asking(**parameters).source])
    backtest = what_if(candidate, rollout.runner.codec, [[rollout.records()]])
    return [(flip.before, flip.after, flip.note) for flip in backtest.flips]


def test_the_execution_waits_between_the_stages_and_not_within_them() -> None:
    rollout = second_stage()
    assert rollout.history == [0, 5, 25]
    assert [one.step_id for one in rollout.said(StepHeld)] == ["share-50"]
    assert asked(rollout) == [FIRST, SECOND]
    rollout.approve(DAN)
    rollout.run(150)
    assert rollout.history == [0, 5, 25, 50, 100]
    (authorized,) = rollout.said(StepAuthorized)
    assert (authorized.step_id, authorized.approvals[0].approver) == ("share-50", "dan")
    assert len(rollout.said(ExecutionCompleted)) == 1
    assert asked(rollout) == [FIRST, SECOND]
    assert rollout.findings() == []


def test_people_are_shown_the_verdict_on_the_stage_before_and_all_that_they_approve() -> None:
    summary = second_stage().asked().summary
    assert summary.splitlines()[0].startswith("steps `share-50`, `share-100` of: ")
    assert "step share-25 before it: succeeded, its stage verified with" in summary


def test_a_refusal_of_the_second_stage_undoes_the_first() -> None:
    rollout = second_stage()
    rollout.reject("odd")
    rollout.run(150)
    assert rollout.history == [0, 5, 25, 5, 0]
    assert len(rollout.said(ExecutionRolledBack)) == 1
    assert rollout.findings() == []


def test_an_authorisation_of_more_than_people_were_asked_about_is_found_by_the_audit() -> None:
    rollout = second_stage()
    less = rollout.asked().model_copy(update={"step_ids": ["share-50"]})
    rollout.runner.pipe(less, producer="policy", key=POLICY, **AT)
    rollout.approve()
    rollout.run(10)
    assert [detail for _, detail in rollout.findings()] == [
        "lets step `share-100` begin, which nobody approved and which is not held"
    ]


def test_the_policy_says_the_same_when_it_restarts_before_every_record() -> None:
    rollout = second_stage()
    rollout.approve()
    rollout.run(150)
    said = said_with_restarts(PolicyAgent(), rollout.runner)
    assert said
    assert sorted(said, key=repr) == sorted(said_then(PolicyAgent(), rollout.runner), key=repr)


# -- backtests -------------------------------------------------------------------------------------------------------

BY_STAGE = "authorised, held before share-50"


def test_the_same_bundle_flips_nothing() -> None:
    rollout = second_stage()
    assert flips(rollout, per="stage") == []
    rollout.approve()
    rollout.run(150)
    assert flips(rollout, per="stage") == []


def test_each_step_instead_of_each_stage_is_another_question_to_which_no_answer_is_recorded() -> None:
    rollout = second_stage()
    rollout.approve()
    rollout.run(150)
    ((before, after, note),) = flips(rollout, per="step")
    assert (before, after) == (BY_STAGE, "undecided")
    assert "people are asked about other steps" in note


def test_stages_that_are_held_where_the_plan_was_approved_as_a_whole_have_no_recorded_outcome() -> None:
    rollout = staged(per="plan")
    rollout.approve()
    rollout.run(200)
    assert rollout.history == [0, 5, 25, 50, 100]
    ((before, after, note),) = flips(rollout, per="stage")
    assert (before, after) == ("authorised", "undecided")
    assert "people are asked about other steps" in note


def test_stages_that_are_held_where_they_were_approved_beforehand_begin_at_other_times() -> None:
    rollout = staged(ask="before_start")
    assert asked(rollout) == [FIRST, SECOND]
    for request in rollout.said(ApprovalRequested):
        rollout.answer(request, BEA)
    rollout.run(200)
    assert rollout.history == [0, 5, 25, 50, 100]
    ((before, after, note),) = flips(rollout, per="stage")
    assert (before, after) == ("authorised", BY_STAGE)
    assert note.startswith("its steps begin at other times: what came of it is not recorded")
