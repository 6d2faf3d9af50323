"""Approvals of single steps: the audit finds a plan that was authorised beyond what was approved or is held."""

import pytest
from sagas import authorization, plan, step, step_authorization

from autopilot.schemas.events.people import ApprovalGranted
from autopilot.schemas.events.policy import ApprovalRequested, ApprovalUse, PlanAuthorized
from autopilot.streams.audit.approvals import Approvals

THREE = plan(step(1), step(2), step(3))
STEPS = [each.step_id for each in THREE.steps]


def faults(approved: list[str], held: list[str], **changes: str) -> list[str]:
    """What the audit says of an authorisation that rests on bob's approvals of these steps, each one asked for."""
    approvals = Approvals()
    uses = [ApprovalUse(approver="bob", event_id=f"granted-{step_id}", step_id=step_id) for step_id in approved]
    authorized = authorization(THREE, approvals=uses, held_steps=held).model_copy(update=changes)
    for use in uses:
        approvals.requested(asked(authorized, use.step_id))
        approvals.granted(use.event_id, granted(authorized, use.step_id), "bob", [])
    return list(approvals.faults(authorized, [s for s in STEPS if not authorized.held_step_over(STEPS, s)]))


def asked(authorized: PlanAuthorized, step_id: str, *with_it: str) -> ApprovalRequested:
    return ApprovalRequested(
        approval_id=f"apr-{step_id}",
        decision=authorized.decision,
        group="approver",
        needed=1,
        summary="s",
        expires_at_us=authorized.not_after_us,
        step_id=step_id,
        step_ids=[step_id, *with_it] if step_id else [],
    )


def granted(authorized: PlanAuthorized, step_id: str) -> ApprovalGranted:
    decision = authorized.decision
    return ApprovalGranted(
        approval_id=f"apr-{step_id}",
        plan_id=decision.plan_id,
        plan_hash=decision.plan_hash,
        facts_digest=decision.facts_digest,
        approver="bob",
        comment="",
    )


@pytest.mark.parametrize(
    ("approved", "held"), [(["s1"], ["s2", "s3"]), (STEPS, []), (STEPS, ["s2", "s3"]), ([""], []), ([], [])]
)
def test_each_step_is_approved_or_held_or_the_plan_is_approved_as_a_whole(approved: list[str], held: list[str]) -> None:
    assert faults(approved, held) == []


@pytest.mark.parametrize(("held", "through"), [([], ["s2", "s3"]), (["s3"], ["s2"])])
def test_a_step_that_is_neither_is_found(held: list[str], through: list[str]) -> None:
    expected = [f"lets step `{step_id}` begin, which nobody approved and which is not held" for step_id in through]
    assert faults(["s1"], held) == expected


def stage(*covered: str, **changes: str) -> list[str]:
    """What the audit says of a stage of the last two steps that was authorised on an approval of these steps."""
    approvals, use = Approvals(), ApprovalUse(approver="bob", event_id="granted", step_id="s2")
    whole = authorization(THREE, held_steps=["s2"])
    approvals.requested(asked(whole, *covered))
    approvals.granted("granted", granted(whole, "s2"), "bob", [])
    authorized = step_authorization(THREE, "s2", approvals=[use]).model_copy(update=changes)
    return list(approvals.faults(authorized, ["s2", "s3"]))


def test_a_stage_is_approved_with_all_its_steps() -> None:
    assert stage("s2", "s3") == []
    assert stage("s2") == ["lets step `s3` begin, which nobody approved and which is not held"]
    assert stage("s2", overruled_by="event-9") == []


def test_a_broken_glass_lets_begin_what_nobody_approved() -> None:
    assert faults(["s1"], [], overruled_by="event-9") == []


def test_what_a_request_is_about_is_its_steps_alone() -> None:
    """`step_ids` is written with every request: nothing else says that it is less than the plan."""
    whole = asked(authorization(THREE), "s2")
    assert (whole.of_whole_plan, whole.subject) == (False, "step `s2`")
    assert asked(authorization(THREE), "s2", "s3").subject == "steps `s2`, `s3`"
    bare = whole.model_copy(update={"step_ids": []})
    assert (bare.of_whole_plan, bare.subject) == (True, "the plan")
    approvals = Approvals()
    approvals.requested(bare)
    assert approvals.steps == {bare.approval_id: []}
