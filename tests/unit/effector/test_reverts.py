"""Reverts: what a step found is put back once, by what the log tells of it."""

import pytest
from effector_bench import RESULTS, asked, authorised, only_result, undo
from sagas import plan, request, step

from autopilot.infra.effector.port import TransientError
from autopilot.schemas.events.effector import FailureClass, StepFailed, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import ExecutionFailed
from autopilot.schemas.events.planner import Action, PlanProposed


def reverting(verb: str = "set") -> PlanProposed:
    """A step whose compensation is to put back what was there, whatever that is."""
    back = Action(driver="fake", verb="revert", target="t1", parameters={"step": "s1"})
    return plan(step(1, verb=verb).model_copy(update={"compensation": back}))


@pytest.mark.parametrize("point", ["", "before_intent", "after_intent", "before", "after", "before_result"])
@pytest.mark.parametrize("verb", ["set", "bump"])
def test_a_revert_puts_back_what_the_forward_step_found_wherever_the_process_dies(verb: str, point: str) -> None:
    bench = authorised(of := reverting(verb))
    bench.driver.numbers["t1"] = "7"
    bench.say(request(of))
    bench.run()
    undo(bench, of)
    if point in ("before", "after"):
        bench.driver.dies = point
    else:
        bench.crash = point
    bench.run()
    results = bench.said(*RESULTS)
    assert [(type(r), r.phase, r.changed) for r in results] == [
        (StepSucceeded, "forward", True),
        (StepSucceeded, "compensation", True),
    ]
    assert (bench.driver.numbers["t1"], bench.driver.effects["t1"]) == ("7", 2)
    assert [s.crash_class for s in bench.said(StepStarted)][1] == "convergent"


def test_a_revert_puts_back_what_was_there_before_the_first_try() -> None:
    bench = authorised(of := reverting())
    bench.driver.numbers["t1"] = "7"
    bench.driver.error = TransientError("busy")
    bench.say(request(of))
    bench.run()
    bench.driver.numbers["t1"] = "0"
    bench.say(request(of, attempt=2))
    bench.run()
    undo(bench, of)
    bench.run()
    assert bench.driver.numbers["t1"] == "7"


def test_a_revert_of_a_step_that_was_never_begun_does_nothing() -> None:
    bench = authorised(of := reverting())
    undo(bench, of)
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepSucceeded)
    assert (result.changed, bench.said(StepStarted), bench.driver.effects.total()) == (False, [], 0)


def test_a_revert_that_the_driver_does_not_know_fails_for_good() -> None:
    bench = asked(of := reverting("send"))
    bench.run()
    undo(bench, of)
    bench.run()
    failed = bench.said(*RESULTS)[-1]
    assert isinstance(failed, StepFailed)
    assert (failed.failure, failed.reason) == (FailureClass.PERMANENT, "the driver `fake` cannot revert `send`")


def test_a_revert_that_was_cut_short_is_not_taken_up_once_the_rollback_is_over() -> None:
    bench = asked(of := reverting())
    bench.run()
    undo(bench, of)
    bench.crash = "after_intent"
    bench.run(turns=1)
    bench.read()
    names = {"execution_id": request(of).execution_id, "plan_id": "plan-1", "incident_id": "inc-1"}
    bench.say(ExecutionFailed(**names, reason="r", needs_person=True))
    bench.start()
    bench.run()
    failed = bench.said(*RESULTS)[-1]
    assert isinstance(failed, StepFailed)
    assert (failed.failure, bench.driver.numbers["t1"]) == (FailureClass.TIMEOUT, "1")


def test_a_revert_of_a_step_that_the_plan_does_not_have_is_refused_at_first_and_when_it_is_taken_up() -> None:
    bench = authorised(of := reverting())
    unknown = request(of, phase="compensation").model_copy(update={"step_id": "s9"})
    bench.say(unknown)
    bench.run()
    (refused,) = bench.said(*RESULTS)
    assert (refused.failure, bench.said(StepStarted)) == (FailureClass.REFUSED, [])
    bench.say(unknown.model_copy(update={"attempt": 2}))
    names = unknown.model_dump(exclude={"action", "timeout_ms", "not_after_us"}) | {"attempt": 2}
    bench.say(StepStarted(**names, crash_class="convergent", before={"n": "0"}))
    bench.start()
    bench.run()
    (_, failed) = bench.said(*RESULTS)
    assert isinstance(failed, StepFailed)
    assert (failed.failure, failed.attempt, bench.driver.effects.total()) == (FailureClass.TIMEOUT, 2, 0)
    assert "not taken up again" in failed.reason
