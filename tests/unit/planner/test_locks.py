"""What the log says of locks: who holds which targets, who waits for whom, and when they are let go of."""

from planner.shop import (
    SERVICES,
    Course,
    all_observed,
    authorized,
    cleared,
    denied,
    documents,
    execution,
    given,
    observed,
    outcome,
    raised,
    service,
    updated,
)

from autopilot.agents.planner import Planner
from autopilot.schemas.configuration import TargetRef
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.executor import ExecutionFailed
from autopilot.schemas.events.planner import IncidentHeld, PlanProposed, TargetsLocked, TargetsReleased
from autopilot.schemas.events.verifier import OutcomeVerified

SHARED = (*SERVICES[1:3], service("search", [], targets=[TargetRef(driver="supervisord", target="cart")]))


def shop() -> Course:
    course = given(Planner(), documents(SHARED), *all_observed())
    course.when(raised("cart"))
    return course


def plan_of(course: Course) -> PlanProposed:
    return course.only(PlanProposed)


def released(course: Course) -> str:
    (one,) = [lock for lock in course.locks() if isinstance(lock, TargetsReleased)]
    assert one.targets == ["supervisord/cart"]
    return one.reason


def test_a_plan_locks_its_targets_right_after_it_is_proposed() -> None:
    course = shop()
    plan = plan_of(course)
    said = [output.payload for output in course.outputs if isinstance(output, Draft)]
    assert [type(payload) for payload in said[-2:]] == [PlanProposed, TargetsLocked]
    expected = TargetsLocked(plan_id=plan.plan_id, incident_id=plan.incident_id, targets=["supervisord/cart"])
    assert course.locks() == [expected]


def test_they_are_released_when_it_is_denied_withdrawn_failed_or_verified() -> None:
    course = shop()
    course.when(denied(plan_of(course)))
    assert isinstance(course.locks()[0], TargetsReleased)
    assert course.locks()[0].reason == "it was denied"
    assert isinstance(course.locks()[1], TargetsLocked)
    course.when(cleared("cart"))
    assert released(course) == "it was withdrawn"
    course = shop()
    plan = plan_of(course)
    course.when(*execution(plan), OutcomeVerified(outcome=outcome(plan)))
    assert released(course) == "it was verified"
    course = shop()
    plan = plan_of(course)
    names = {"execution_id": "exe", "plan_id": plan.plan_id, "incident_id": plan.incident_id}
    course.when(authorized(plan), ExecutionFailed(**names, reason="r", needs_person=True))
    assert released(course) == "its execution failed"


def test_an_execution_that_is_never_heard_of_again_lets_go() -> None:
    course = shop()
    course.events(authorized(plan_of(course))).after(seconds=10_000)
    assert released(course) == "nothing was heard of it for too long"


def test_an_incident_that_waits_for_a_target_says_for_whom_and_only_once() -> None:
    course = shop()
    plan = plan_of(course)
    course.when(raised("search"))
    (held,) = course.locks()
    assert isinstance(held, IncidentHeld)
    assert (held.waits_for, held.targets) == (plan.incident_id, ["supervisord/cart"])
    assert held.reason == "a plan of the other incident holds supervisord/cart"
    course.when(updated("search"))
    assert course.locks() == []
    course.when(cleared("cart"))
    assert [type(lock) for lock in course.locks()] == [TargetsReleased, TargetsLocked]


def test_an_incident_that_waits_for_a_dependency_says_so() -> None:
    course = given(Planner(), documents(), *all_observed())
    course.events(raised("stock")).when(raised("cart", at=400))
    (held,) = course.locks()
    assert isinstance(held, IncidentHeld)
    assert held.targets == []
    assert held.reason == "`cart` depends on what the other incident acts on"


def test_a_plan_that_follows_its_target_locks_it_anew() -> None:
    course = shop()
    course.when(observed("cart", release="v3"))
    assert [type(lock) for lock in course.locks()] == [TargetsReleased, TargetsLocked]
