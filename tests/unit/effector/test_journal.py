"""The effector's order of work, and what becomes of an act when its process dies at each point of it."""

import pytest
from effector_bench import RESULTS, TWO, Bench, asked, authorised, only_result, undo
from sagas import ADA, POLICY, SECOND_US, act, plan, request, step
from scenario import START_US

from autopilot.infra.effector.port import DeniedError, TargetTimeoutError, TransientError
from autopilot.schemas.events.effector import (
    FailureClass,
    PreviewCompleted,
    StepFailed,
    StepIndeterminate,
    StepStarted,
    StepSucceeded,
    TargetObserved,
)
from autopilot.schemas.events.people import Halt
from autopilot.schemas.events.policy import AuthorizationRevoked, PreviewRequested


def test_an_act_is_recorded_before_and_after_with_what_was_seen() -> None:
    bench = asked()
    bench.run()
    (intent,) = bench.recorded(StepStarted)
    (result,) = bench.recorded(StepSucceeded)
    assert (intent.payload.before, intent.payload.crash_class) == ({"n": "0", "revision": "0"}, "convergent")
    assert (result.payload.changed, result.payload.after["n"], bench.driver.effects["t1"]) == (True, "1", 1)
    assert result.envelope.causation_id == intent.envelope.event_id
    assert result.envelope.cause == intent.position
    assert (result.envelope.domain, result.envelope.service, result.envelope.correlation_id) == (
        "shop",
        "cart",
        "inc-1",
    )


def test_a_refused_step_touches_nothing_and_says_why() -> None:
    bench = asked()
    bench.say(AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r"), key=POLICY)
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert (result.failure, result.reason) == (FailureClass.REFUSED, "the authorisation was revoked")
    assert (bench.said(StepStarted), bench.driver.effects.total()) == ([], 0)


def test_a_target_that_has_moved_since_the_plan_is_left_alone_and_told_as_it_is() -> None:
    planned_on = step(1).model_copy(update={"expected": {"n": "7"}})
    bench = asked(plan(planned_on))
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert (result.failure, result.reason) == (FailureClass.STALE, "`n` is `0`, planned on `7`")
    (seen, end) = bench.recorded(TargetObserved, StepFailed)
    assert isinstance(seen.payload, TargetObserved)
    assert (seen.payload.state["n"], seen.position < end.position) == ("0", True)
    assert bench.driver.effects.total() == 0


def test_what_was_recorded_while_it_looked_is_seen_before_it_acts() -> None:
    bench = asked()
    bench.read()
    bench.journal.look()
    bench.say(AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r"), key=POLICY)
    bench.run()
    assert bench.driver.effects.total() == 0


def test_errors_of_a_target_are_told_by_their_class() -> None:
    for error, failure in (
        (TransientError("busy"), FailureClass.TRANSIENT),
        (DeniedError("no"), FailureClass.DENIED),
        (TargetTimeoutError("slow"), FailureClass.TIMEOUT),
    ):
        bench = asked()
        bench.driver.error = error
        bench.run()
        result = only_result(bench)
        assert isinstance(result, StepFailed)
        assert result.failure == failure


def test_a_blind_act_that_timed_out_is_unknown() -> None:
    bench = asked(plan(step(1, verb="blast")))
    bench.driver.error = TargetTimeoutError("slow")
    bench.run()
    assert isinstance(only_result(bench), StepIndeterminate)


@pytest.mark.parametrize(("verb", "told"), [("set", StepFailed), ("bump", StepFailed), ("blast", StepIndeterminate)])
def test_a_fault_of_the_driver_in_an_act_leaves_open_what_it_has_done(
    verb: str, told: type[StepFailed | StepIndeterminate]
) -> None:
    bench = asked(plan(step(1).model_copy(update={"action": act(verb, "t1")})))  # the driver counts on a parameter
    bench.run()
    result = only_result(bench)
    assert isinstance(result, (StepFailed, StepIndeterminate))
    assert type(result) is told
    assert result.reason == "the driver failed: KeyError: 'n'"
    assert getattr(result, "failure", FailureClass.TIMEOUT) is FailureClass.TIMEOUT


def test_an_unknown_driver_or_verb_fails_for_good() -> None:
    of = plan(step(1, verb="dance"))
    bench = asked(of)
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert "no verb `dance`" in result.reason


@pytest.mark.parametrize("point", ["before_intent", "after_intent", "before", "after", "before_result"])
@pytest.mark.parametrize("verb", ["set", "bump", "send", "blast"])
def test_an_act_happens_once_or_is_said_to_be_unknown_wherever_the_process_dies(verb: str, point: str) -> None:
    bench = asked(plan(step(1, verb=verb)))
    if point in ("before", "after"):
        bench.driver.dies = point
    else:
        bench.crash = point
    bench.run()
    result = only_result(bench)
    assert len(bench.said(StepStarted)) == 1
    if verb == "blast" and point != "before_intent":
        assert isinstance(result, StepIndeterminate)
        assert bench.driver.effects["t1"] == (0 if point in ("after_intent", "before") else 1)
    else:
        assert isinstance(result, StepSucceeded)
        assert bench.driver.effects["t1"] == 1


def test_the_result_after_a_crash_has_the_identity_that_it_would_have_had() -> None:
    ids = []
    for crash in ("", "before_result"):
        bench = asked()
        bench.crash = crash
        bench.run()
        ids += [r.envelope.event_id for r in bench.recorded(*RESULTS)]
    assert ids[0] == ids[1]


def test_a_witnessed_act_that_nothing_shows_is_unknown() -> None:
    bench = asked(plan(step(1, verb="bump")))
    bench.driver.blinded = True
    bench.crash = "after_intent"
    bench.run()
    assert isinstance(only_result(bench), StepIndeterminate)


def test_an_act_that_was_cut_short_is_not_taken_up_again_during_a_halt() -> None:
    bench = asked()
    bench.crash = "after_intent"
    bench.run(turns=1)
    bench.say(Halt(scope="shop", ordered_by="ada", reason="r"), key=ADA)
    bench.start()
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert (result.failure, bench.driver.effects.total()) == (FailureClass.TIMEOUT, 0)
    assert "halted" in result.reason


def test_a_session_that_is_lost_in_the_middle_of_an_act_does_not_repeat_it() -> None:
    bench = asked(plan(step(1, verb="blast")))
    bench.run(turns=1)
    bench.read()
    jobs = bench.jobs
    bench.start()
    bench.journal._jobs = jobs
    bench.run()
    assert isinstance(only_result(bench), StepSucceeded)
    assert bench.driver.effects["t1"] == 1


def test_a_later_attempt_of_what_succeeded_changes_nothing() -> None:
    bench = asked()
    bench.run()
    bench.say(request(TWO, attempt=2))
    bench.run()
    results = bench.said(*RESULTS)
    assert [(type(r), r.attempt, r.changed) for r in results] == [(StepSucceeded, 1, True), (StepSucceeded, 2, False)]
    assert (len(bench.said(StepStarted)), bench.driver.effects["t1"]) == (1, 1)


@pytest.mark.parametrize("crash", ["", "after_intent"])
def test_a_later_attempt_is_told_what_the_target_was_like_before_the_first_one(crash: str) -> None:
    bench = asked(of := plan(step(1, verb="bump")))
    bench.driver.error = TargetTimeoutError("slow")
    bench.run()
    bench.driver.numbers["t1"] = "half way"
    bench.say(request(of, attempt=2))
    bench.crash = crash
    bench.run()
    assert [state["n"] for state in bench.driver.given] == ["0", "0"]
    assert [started.before["n"] for started in bench.said(StepStarted)] == ["0", "half way"]


def test_a_convergent_act_that_was_cut_short_is_applied_again_although_nothing_seems_to_be_missing() -> None:
    bench = asked()
    bench.crash = "before_result"
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepSucceeded)
    assert (len(bench.driver.given), bench.driver.effects["t1"], result.changed) == (2, 1, True)


def test_what_fails_when_it_is_taken_up_again_may_be_there_in_part() -> None:
    bench = asked()
    bench.crash = "after_intent"
    bench.driver.error = DeniedError("no")
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert (result.failure, result.reason) == (FailureClass.TIMEOUT, "it was cut short, and then: no")


def test_a_later_attempt_of_what_is_unknown_is_unknown() -> None:
    bench = asked(of := plan(step(1, verb="blast")))
    bench.crash = "after_intent"
    bench.run()
    bench.say(request(of, attempt=2))
    bench.run()
    assert [type(r) for r in bench.said(*RESULTS)] == [StepIndeterminate, StepIndeterminate]
    assert bench.driver.effects["t1"] == 0


def test_an_attempt_that_a_later_one_overtook_is_refused() -> None:
    bench = asked()
    bench.say(request(TWO, attempt=2))
    bench.run()
    assert [(type(r), r.attempt) for r in bench.said(*RESULTS)] == [(StepFailed, 1), (StepSucceeded, 2)]
    assert bench.driver.effects["t1"] == 1


def test_the_same_attempt_asked_for_twice_is_a_dead_letter() -> None:
    bench = asked()
    bench.say(request(TWO))
    bench.run()
    assert (len(bench.said(*RESULTS)), len(bench.dead)) == (1, 1)


def test_a_step_that_was_never_begun_is_not_undone() -> None:
    bench = authorised()
    undo(bench)
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepSucceeded)
    assert (result.changed, bench.said(StepStarted), bench.driver.effects.total()) == (False, [], 0)


def test_a_look_that_takes_too_long_has_changed_nothing() -> None:
    bench = asked()
    bench.driver.unseen = TargetTimeoutError("slow")
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert (result.failure, result.reason, bench.said(StepStarted)) == (FailureClass.TRANSIENT, "slow", [])


def test_a_step_that_was_never_begun_needs_no_undoing_at_a_target_that_cannot_be_looked_at() -> None:
    bench = authorised()
    bench.driver.unseen = TargetTimeoutError("slow")
    undo(bench)
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepSucceeded)
    assert (result.changed, bench.said(StepStarted)) == (False, [])


def test_what_succeeded_stays_so_when_the_target_can_no_longer_be_looked_at() -> None:
    bench = asked()
    bench.run()
    bench.driver.unseen = DeniedError("no")
    bench.say(request(TWO, attempt=2))
    bench.run()
    assert [(type(r), r.attempt) for r in bench.said(*RESULTS)] == [(StepSucceeded, 1), (StepSucceeded, 2)]


def test_a_compensation_undoes_the_step() -> None:
    bench = asked()
    bench.run()
    undo(bench)
    bench.run()
    assert bench.driver.numbers["t1"] == "0"


def test_a_preview_tells_the_differences_and_changes_nothing() -> None:
    bench = authorised()
    bench.say(PreviewRequested(plan_id="plan-1", incident_id="inc-1", plan_hash=TWO.plan_hash), key=POLICY)
    bench.run()
    (shown,) = bench.said(PreviewCompleted)
    assert [(c.step_id, c.field, c.before, c.after) for c in shown.changes] == [
        ("s1", "n", "0", "1"),
        ("s2", "n", "0", "1"),
    ]
    assert (shown.ok, bench.driver.effects.total()) == (True, 0)


def test_a_preview_of_what_cannot_be_previewed_says_why() -> None:
    for of, why in ((plan(step(1, verb="dance")), "no verb"), (None, "not known")):
        bench = authorised(of) if of else Bench()
        asks = PreviewRequested(plan_id="plan-1", incident_id="inc-1", plan_hash=of.plan_hash if of else "")
        bench.say(asks, key=POLICY)
        bench.run()
        (shown,) = bench.said(PreviewCompleted)
        assert not shown.ok
        assert why in shown.reason


def test_a_request_that_waited_too_long_is_refused() -> None:
    bench = asked()
    bench.now_us = START_US + 601 * SECOND_US
    bench.run()
    result = only_result(bench)
    assert isinstance(result, StepFailed)
    assert result.reason == "the request's time is over"


def test_acts_at_one_target_are_done_one_after_another() -> None:
    both = plan(step(1), step(2).model_copy(update={"action": act("set", "t1", n="2")}))
    bench = asked(both)
    bench.say(request(both, "s2"))
    bench.read()
    assert [name.split("/")[1] for name, _ in bench.journal._next()] == ["s1"]
    bench.run()
    assert (bench.driver.numbers["t1"], bench.driver.effects["t1"]) == ("2", 2)
