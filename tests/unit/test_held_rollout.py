"""A rollout whose every stage a person approves as it is reached: observer, policy, executor and verifier together."""

import json
from typing import Any

import pytest
import rollout as world
from held_rollout import AT, BEA, DAN, EXPIRES_S, OLI, Approved, asking, proposed, second_stage
from loop import ADMINISTRATOR
from restarting import said_then, said_with_restarts
from sagas import step_authorization

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.policy import PolicyAgent
from autopilot.agents.verifier import Verifier
from autopilot.policies.bundle import Rule
from autopilot.policies.engine import policy_set
from autopilot.projections.approvals import pending_approvals
from autopilot.projections.incidents import incidents
from autopilot.projections.timeline import timeline
from autopilot.schemas.configuration import (
    document,
)
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionRolledBack,
    RollbackStarted,
    StepHeld,
)
from autopilot.schemas.events.people import ApprovalGranted, Halt, Resume
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.findings import Kind
from autopilot.streams.what_if import what_if


def test_each_stage_is_approved_as_it_is_reached_and_the_whole_is_verified() -> None:
    rollout = second_stage()
    assert rollout.history == [0, 5]
    rollout.approve(DAN)
    rollout.run(60)
    assert rollout.history == [0, 5, 25]
    rollout.approve()
    rollout.run(120)
    assert rollout.history == [0, 5, 25, 100]
    assert rollout.verdicts()[-1] == ("verified", "remedy", "")
    assert [one.step_id for one in rollout.said(ApprovalRequested)] == ["share-5", "share-25", "share-100"]
    authorized = rollout.said(StepAuthorized)
    assert [(one.step_id, one.approvals[0].approver) for one in authorized] == [
        ("share-25", "dan"),
        ("share-100", "bea"),
    ]
    assert rollout.findings() == []


def test_people_see_the_verdict_on_the_stage_before() -> None:
    request = second_stage().asked()
    assert "step share-5 before it: succeeded, its stage verified with" in request.summary
    assert "slo:web-errors of the canary" in request.summary
    assert "evidence: outcome" in request.summary


def test_people_may_take_longer_than_the_authorisation_of_the_first_stage_lasts() -> None:
    rollout = second_stage()
    (whole,) = rollout.said(PlanAuthorized)
    rollout.run(700)
    assert rollout.runner.now_us > whole.not_after_us
    rollout.approve()
    rollout.run(60)
    rollout.approve()
    rollout.run(150)
    assert len(rollout.said(ExecutionCompleted)) == 1
    assert rollout.verdicts()[-1] == ("verified", "remedy", "")
    assert rollout.findings() == []


def turned_back(rollout: Approved) -> str:
    """Why the rollout was undone; it was, whole, and nothing waits any more."""
    rollout.run(150)
    assert rollout.history[-1] == 0
    (turned,) = rollout.said(RollbackStarted)
    assert len(rollout.said(ExecutionRolledBack)) == 1
    assert rollout.verdicts()[-1][1:] == ("rollback", "")
    assert pending_approvals(rollout.runner.read(Topic.LOG)) == []
    assert rollout.findings() == []
    return str(turned.reason)


def test_a_refusal_at_the_second_stage_undoes_the_first() -> None:
    rollout = second_stage()
    rollout.reject("the canary looks odd")
    assert turned_back(rollout) == (
        "the authorisation was revoked: step `share-25`: bea refused it: the canary looks odd"
    )
    assert rollout.history == [0, 5, 0]


def test_a_refusal_at_the_third_stage_undoes_both() -> None:
    rollout = second_stage()
    rollout.approve()
    rollout.run(60)
    rollout.reject("")
    assert "refused" in turned_back(rollout)
    assert rollout.history == [0, 5, 25, 5, 0]


def test_a_refusal_of_the_first_stage_denies_the_plan() -> None:
    rollout = Approved()
    rollout.reject("no")
    rollout.run(60)
    assert len(rollout.said(PlanDenied)) == 1
    assert rollout.history == [0]


def test_a_request_that_nobody_answers_undoes_what_was_done() -> None:
    rollout = second_stage()
    rollout.run(EXPIRES_S)
    assert "the request expired with 0 of 1 approvals" in turned_back(rollout)


def test_facts_that_deny_by_the_time_of_the_approval_undo_what_was_done() -> None:
    rollout = second_stage()
    moved = [doc for doc in world.documents() if doc.kind == "Fleet"]
    content = moved[0].content.replace('"tier":1', '"tier":0')
    assert content != moved[0].content
    fleet = document(json.loads(content))
    rollout.runner.configure([fleet], ADMINISTRATOR)
    rollout.approve()
    assert "calm: calm" in turned_back(rollout)
    (revoked,) = rollout.said(AuthorizationRevoked)
    assert revoked.verdict is not None


def test_facts_that_stray_undo_what_was_done() -> None:
    rollout = second_stage(tolerances="incident_age_ms:60000")
    rollout.run(61)
    rollout.approve()
    assert "`incident_age_ms` was" in turned_back(rollout)


def test_a_halt_while_people_are_asked_holds_what_they_approve_until_the_resume() -> None:
    rollout = second_stage()
    order = {"scope": "shop", "reason": "r"}
    rollout.runner.pipe(Halt(ordered_by="oli", **order), producer="oli", key=OLI)
    rollout.approve()
    rollout.run(30)
    assert rollout.history == [0, 5]
    assert rollout.said(StepAuthorized) == []
    rollout.runner.pipe(Resume(ordered_by="ada", **order), producer="ada", key=ADMINISTRATOR)
    rollout.run(60)
    assert rollout.history == [0, 5, 25]


def test_a_forged_authorisation_of_a_step_lets_nothing_begin_and_is_found() -> None:
    rollout = second_stage()
    (whole,) = rollout.said(PlanAuthorized)
    forged = step_authorization(
        proposed(),
        "share-25",
        plan_decision_id=whole.decision.decision_id,
        execution_id=rollout.asked().execution_id,
        not_after_us=rollout.runner.now_us + 10**9,
    )
    for key in (None, BEA, SigningKey.generate("policy")):
        rollout.runner.pipe(forged, producer="policy", key=key, **AT)
    rollout.run(30)
    assert rollout.history == [0, 5]
    assert [kind for kind, _ in rollout.findings()].count(Kind.SIGNATURE) == 2


@pytest.mark.parametrize("days", [-1, 9_999])
def test_a_forged_request_neither_turns_back_nor_keeps_waiting_and_is_found(days: int) -> None:
    rollout = second_stage()
    asked = rollout.asked()
    for key in (None, BEA, SigningKey.generate("policy")):
        until_us = rollout.runner.now_us + days * 86_400_000_000
        forged = asked.model_copy(update={"approval_id": "apr-forged", "expires_at_us": until_us})
        rollout.runner.pipe(forged, producer="policy", key=key, **AT)
    rollout.run(30)
    assert rollout.said(RollbackStarted) == []
    assert [one.request for one in pending_approvals(rollout.runner.read(Topic.LOG)) if one.request == asked] == [asked]
    assert [kind for kind, _ in rollout.findings()] == [Kind.SIGNATURE] * 3
    rollout.run(EXPIRES_S)
    assert len(rollout.said(RollbackStarted)) == 1


def test_a_held_step_without_its_authorisation_is_found_by_the_audit() -> None:
    rollout = second_stage()
    rollout.approve()
    rollout.run(30)
    (authorized,) = rollout.said(StepAuthorized)
    left = [one for one in rollout.records() if rollout.runner.codec.decode(one.value).type != "StepAuthorized"]
    found = rollout.findings(left)
    assert {kind for kind, _ in found} == {Kind.NOT_AUTHORISED}
    assert {detail for _, detail in found} == {
        f"step `{authorized.step_id}` is held, and nothing before this authorised it"
    }


def test_an_authorisation_of_a_step_without_its_approval_is_found_by_the_audit() -> None:
    rollout = second_stage()
    rollout.approve()
    granted = [one.position for one in rollout.runner.read(Topic.LOG, ApprovalGranted)][-1]
    left = [one for one in rollout.records() if one.position != granted]
    assert [detail for _, detail in rollout.findings(left)] == [
        "rests on an approval of `bea` that is not before it with their signature"
    ]


def test_the_views_say_what_waits_and_for_whom() -> None:
    rollout = second_stage()
    events = rollout.runner.read(Topic.LOG)
    (pending,) = pending_approvals(events)
    assert (pending.request.step_id, pending.group) == ("share-25", "approver")
    (row,) = incidents(events)
    assert row.stage == "waits for approval"
    course = timeline(events, "inc-1")
    assert course is not None
    (held,) = [line for line in course.lines if line.event == "StepHeld"]
    assert (held.why, held.ids["step_id"]) == ("share-25 waits for an authorisation of its own", "share-25")
    rollout.approve()
    events = rollout.runner.read(Topic.LOG)
    assert pending_approvals(events) == []
    course = timeline(events, "inc-1")
    assert course is not None
    (authorized,) = [line for line in course.lines if line.event == "StepAuthorized"]
    assert authorized.why == "share-25 permitted by mine@1: permit, each; approved by bea"
    assert incidents(events)[0].stage == "verifying a stage"


@pytest.mark.parametrize("agent", [PolicyAgent(), Executor(), Verifier()], ids=lambda agent: agent.name)
def test_an_agent_that_restarts_before_every_record_says_the_same(agent: Agent[Any]) -> None:
    rollout = second_stage()
    rollout.approve()
    rollout.run(60)
    rollout.reject("")
    rollout.run(150)
    said = said_with_restarts(agent, rollout.runner)
    assert said
    assert sorted(said, key=repr) == sorted(said_then(agent, rollout.runner), key=repr)


def test_asked_before_the_start_nothing_is_held() -> None:
    rollout = Approved(ask="before_start")
    for request in rollout.said(ApprovalRequested):
        rollout.answer(request, BEA)
    rollout.run(300)
    assert rollout.said(StepHeld, StepAuthorized) == []
    assert rollout.history == [0, 5, 25, 100]
    assert rollout.findings() == []


# -- backtests -------------------------------------------------------------------------------------------------------


def flips(rollout: Approved, *more: Rule, **parameters: Any) -> list[tuple[str, str, str]]:
    """How the plan would have fared under another bundle: then, now, and what is said about it."""
    candidate = policy_set([asking(*more, **parameters).source])
    backtest = what_if(candidate, rollout.runner.codec, [[rollout.records()]])
    return [(flip.before, flip.after, flip.note) for flip in backtest.flips]


def test_the_same_bundle_flips_nothing_whatever_became_of_the_steps() -> None:
    rollout = second_stage()
    assert flips(rollout) == []
    rollout.approve()
    rollout.run(60)
    rollout.reject("no")
    rollout.run(150)
    assert flips(rollout) == []


def test_a_bundle_under_which_the_facts_had_strayed_by_the_second_step_turns_back_there() -> None:
    rollout = second_stage()
    rollout.run(60)
    rollout.approve()
    rollout.run(60)
    (flip,) = flips(rollout, tolerances="incident_age_ms:30000")
    assert flip[:2] == ("authorised step by step", "turned back at a held step")
    assert flip[2].endswith("events that followed are left out")


def test_a_bundle_that_asks_at_other_times_is_told_from_one_that_lets_through() -> None:
    rollout = second_stage()
    rollout.approve()
    (before,) = flips(rollout, ask="before_start")
    assert before[:2] == ("authorised step by step", "undecided")
    assert "at other times: no answer to that is recorded" in before[2]
    (whole,) = flips(rollout, per="plan")
    assert whole[:2] == ("authorised step by step", "undecided")
    at_once = Approved(ask="before_start")
    for request in at_once.said(ApprovalRequested):
        at_once.answer(request, BEA)
    at_once.run(200)
    (held,) = flips(at_once)
    assert held[:2] == ("authorised", "authorised step by step")
    assert held[2].startswith("its steps begin at other times: what came of it is not recorded")
