"""Executions and their rollbacks are judged by what was measured, and by nothing else."""

import pytest
from scenario import START_US, Scenario, given
from verifier.measured import (
    COMPLETED,
    FAILED,
    ROLLED_BACK,
    STARTED,
    documents,
    plan,
    taken,
)

from autopilot.agents.verifier import Verifier
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.telemetry import MeasurementRequested
from autopilot.schemas.events.verifier import (
    CheckVerdict,
    OutcomeInconclusive,
    OutcomeRejected,
    OutcomeVerified,
)


def started(proposed: PlanProposed | None = None) -> Scenario:
    return given(Verifier(), documents(), proposed or plan(), service="cart").when(STARTED)


def request(scenario: Scenario) -> MeasurementRequested:
    return scenario.only(MeasurementRequested)


def completed(before: float | None = 0.4, memory: float | None = 100.0) -> Scenario:
    """Executed, with a before-window already measured: `outputs` holds the first request after."""
    scenario = started()
    return scenario.events(taken(request(scenario), before, memory, buckets=30)).when(COMPLETED)


def rejected() -> Scenario:
    scenario = completed()
    return scenario.when(taken(request(scenario), 0.4)).then(OutcomeRejected)


def test_a_started_execution_has_the_window_before_it_measured() -> None:
    scenario = started().then(MeasurementRequested)
    asked, (draft,) = request(scenario), scenario.drafts()
    assert (asked.purpose, asked.until_us - asked.from_us, asked.until_us) == ("before", 60_000_000, START_US)
    assert (asked.slo_names, asked.guard_metrics, asked.bucket_ms) == (["cart-errors"], ["memory"], 2_000)
    assert (draft.domain, draft.service, draft.correlation_id) == ("shop", "cart", "inc")
    assert draft.payload.topic == Topic.TELEMETRY


def test_a_completed_execution_has_the_first_third_of_the_window_after_settling_measured() -> None:
    scenario = completed()
    asked = request(scenario)
    assert (asked.purpose, asked.from_us) == ("after", START_US + 10_000_000)
    assert asked.until_us - asked.from_us == 20_000_000


def test_a_clear_recovery_is_verified_early() -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), 0.0)).then(OutcomeVerified)
    outcome = scenario.only(OutcomeVerified).outcome
    assert (outcome.phase, outcome.remedy, outcome.context) == ("remedy", "restart", "cart/errors")
    assert (outcome.execution_id, outcome.plan_id, outcome.incident_id) == ("exe", "plan", "inc")
    assert outcome.measured_until_us - outcome.measured_from_us == 20_000_000
    assert outcome.confidence_bp > 9_500
    assert [(c.name, c.verdict) for c in outcome.checks] == [
        ("slo:cart-errors within its objective", CheckVerdict.PASS),
        ("slo:cart-errors better than before", CheckVerdict.PASS),
        ("metric:memory not worse than before", CheckVerdict.PASS),
    ]
    assert (outcome.evidence[0].first_offset, outcome.evidence[0].last_offset) == (5, 9)


def test_a_remedy_that_changed_nothing_is_rejected() -> None:
    outcome = rejected().only(OutcomeRejected).outcome
    assert outcome.reason.startswith("slo:cart-errors within its objective: fail, 40.00 % of 500 events were bad")
    assert outcome.checks[0].threshold == 0.01


def test_a_guard_that_got_worse_rejects_in_spite_of_recovery() -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), 0.0, memory=150.0)).then(OutcomeRejected)
    assert "metric:memory not worse than before: fail" in scenario.only(OutcomeRejected).outcome.reason


def test_a_guard_that_got_better_or_hardly_changed_does_not_reject() -> None:
    for memory in (10.0, 105.0):
        scenario = completed()
        scenario.when(taken(request(scenario), 0.0, memory=memory)).then(OutcomeVerified)


def test_a_guard_against_less_rejects_less_and_is_asked_for_by_its_metric() -> None:
    scenario = started(plan(guard_metrics=["memory decrease", "memory increase"]))
    asked = request(scenario)
    assert asked.guard_metrics == ["memory"]
    scenario.events(taken(asked, 0.4, buckets=30)).when(COMPLETED)
    scenario.when(taken(request(scenario), 0.0, memory=50.0)).then(OutcomeRejected)
    checks = scenario.only(OutcomeRejected).outcome.checks
    assert [check.verdict for check in checks[2:]] == [CheckVerdict.FAIL, CheckVerdict.PASS]


def test_each_check_says_by_how_much_and_how_sure() -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), 0.0, memory=150.0)).then(OutcomeRejected)
    recovered, improved, guard = scenario.only(OutcomeRejected).outcome.checks
    assert recovered.effect_size == improved.effect_size == -0.4
    assert guard.effect_size == 50.0
    assert guard.confidence_bp == 9_990


def test_nothing_measured_has_no_effect_and_no_confidence() -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), None, memory=None)).after(seconds=300).then(OutcomeInconclusive)
    checks = scenario.only(OutcomeInconclusive).outcome.checks
    assert {(check.effect_size, check.confidence_bp) for check in checks} == {(None, None)}


def test_an_unclear_case_is_measured_on_slice_by_slice() -> None:
    scenario = completed()
    first = request(scenario)
    scenario.when(taken(first, 0.015)).then(MeasurementRequested)
    second = request(scenario)
    assert second.from_us == first.until_us
    assert second.measurement_id != first.measurement_id
    scenario.when(taken(second, 0.0, buckets=40)).then(OutcomeVerified)


def test_what_stays_unclear_is_inconclusive_before_the_deadline() -> None:
    scenario = completed()
    slices = 0
    while scenario.outputs and isinstance(scenario.drafts()[0].payload, MeasurementRequested):
        scenario.when(taken(request(scenario), 0.011, buckets=5))
        slices += 1
    scenario.then(OutcomeInconclusive)
    assert slices == 14
    assert "it could be either" in scenario.only(OutcomeInconclusive).outcome.reason


@pytest.mark.parametrize(
    ("bad", "memory", "quality_bp", "why"),
    [
        (None, 100.0, 10_000, "no events after it"),
        (0.0, None, 10_000, "no samples after it"),
        (0.0, 100.0, 6_999, "telemetry quality is 69.99 %"),
        (0.9, 100.0, 6_999, "telemetry quality is 69.99 %"),
        (float("nan"), 100.0, 10_000, "no events after it"),
        (0.0, float("inf"), 10_000, "no samples after it"),
    ],
)
def test_what_was_not_measured_well_is_neither_success_nor_failure(
    bad: float | None, memory: float | None, quality_bp: int, why: str
) -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), bad, memory, quality_bp=quality_bp)).then(MeasurementRequested)
    scenario.after(seconds=299, step_seconds=1).then_nothing()
    scenario.after(seconds=1).then(OutcomeInconclusive)
    outcome = scenario.only(OutcomeInconclusive).outcome
    assert outcome.reason.startswith("the deadline has passed; ")
    assert why in outcome.reason
    assert outcome.confidence_bp == 0


@pytest.mark.parametrize(("bad", "memory"), [(None, 100.0), (0.4, None)])
def test_nothing_is_verified_without_a_before(bad: float | None, memory: float | None) -> None:
    scenario = completed(bad, memory)
    scenario.when(taken(request(scenario), 0.0)).then(MeasurementRequested)


def test_an_answer_that_never_comes_is_inconclusive_at_the_deadline() -> None:
    completed().after(seconds=300).then(OutcomeInconclusive)


def test_the_before_window_is_waited_for() -> None:
    scenario = started()
    before = request(scenario)
    after = request(scenario.when(COMPLETED))
    scenario.when(taken(after, 0.0)).then_nothing()
    scenario.when(taken(before, 0.4)).then(OutcomeVerified)


def test_too_few_events_are_unclear() -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), 0.0, buckets=6, weight=3.0)).then(MeasurementRequested)


def test_a_service_that_had_recovered_before_is_judged_by_its_objective_alone() -> None:
    scenario = completed(before=0.0)
    scenario.when(taken(request(scenario), 0.0, buckets=40)).then(OutcomeVerified)


def test_worse_than_before_but_within_the_objective_is_no_failure() -> None:
    scenario = completed(before=0.0)
    scenario.when(taken(request(scenario), 0.009, buckets=30, weight=10_000.0)).then(OutcomeVerified)
    assert scenario.only(OutcomeVerified).outcome.checks[1].verdict == CheckVerdict.FAIL


def test_a_plan_without_an_slo_or_with_an_unknown_one_is_inconclusive() -> None:
    for slos in ([], ["other"]):
        scenario = started(plan(slo_names=slos))
        scenario.events(taken(request(scenario), 0.4)).when(COMPLETED)
        scenario.when(taken(request(scenario), 0.0)).then(MeasurementRequested)
        scenario.after(seconds=300).then(OutcomeInconclusive)


def test_a_deadline_shorter_than_the_window_bounds_it() -> None:
    scenario = started(plan(deadline_ms=35_000))
    scenario.events(taken(request(scenario), 0.4)).when(COMPLETED)
    scenario.when(taken(request(scenario), 0.011)).then(OutcomeInconclusive)


def test_a_rollback_that_restored_what_was_is_verified() -> None:
    scenario = rejected().when(ROLLED_BACK).then(MeasurementRequested)
    scenario.when(taken(request(scenario), 0.4)).then(OutcomeVerified)
    outcome = scenario.only(OutcomeVerified).outcome
    assert outcome.phase == "rollback"
    assert outcome.checks[0].name == "slo:cart-errors not worse than before"


def test_a_rollback_after_which_it_is_worse_is_rejected() -> None:
    scenario = rejected().when(ROLLED_BACK)
    scenario.when(taken(request(scenario), 0.8)).then(OutcomeRejected)
    assert scenario.only(OutcomeRejected).outcome.phase == "rollback"


def test_an_execution_that_was_rolled_back_without_a_verdict_is_judged_as_a_rollback() -> None:
    scenario = started()
    scenario.events(taken(request(scenario), 0.4)).when(ROLLED_BACK).then(MeasurementRequested)
    scenario.when(taken(request(scenario), 0.4)).then(OutcomeVerified)
    assert scenario.only(OutcomeVerified).outcome.phase == "rollback"


def test_a_rollback_cannot_be_judged_once_another_execution_began_there() -> None:
    scenario = rejected().events(ROLLED_BACK)
    following = plan().model_copy(update={"plan_id": "plan-2"})
    second = STARTED.model_copy(update={"plan_id": "plan-2", "execution_id": "exe-2"})
    scenario.events(following).when(second).then(OutcomeInconclusive, MeasurementRequested)
    assert scenario.only(OutcomeInconclusive).outcome.reason.startswith("another execution began meanwhile")


def test_a_failed_execution_is_not_judged_and_forgotten() -> None:
    scenario = started()
    asked = request(scenario)
    scenario.when(FAILED, COMPLETED, taken(asked, 0.4)).then_nothing()
    assert scenario.state.watches == scenario.state.plans == scenario.state.awaited == {}


def test_a_rejected_execution_whose_rollback_failed_is_forgotten() -> None:
    scenario = rejected().when(FAILED).then_nothing()
    assert scenario.state.watches == scenario.state.awaited == {}


def test_each_verdict_is_given_once() -> None:
    scenario = completed()
    answer = taken(request(scenario), 0.0)
    scenario.when(answer).then(OutcomeVerified)
    scenario.when(answer, COMPLETED, ROLLED_BACK, STARTED).then_nothing()
    assert scenario.state.watches == {}
    scenario.after(seconds=3_600).then_nothing()


def test_plans_that_are_not_executed_are_forgotten() -> None:
    scenario = given(Verifier(), documents(), plan()).after(seconds=600 + 86_399)
    assert list(scenario.state.plans) == ["plan"]
    assert scenario.after(seconds=1).state.plans == {}


def test_a_plan_is_judged_as_it_was_proposed_first_whatever_is_said_in_its_name_later() -> None:
    scenario = given(Verifier(), documents(), plan(), service="cart")
    scenario.when(plan(slo_names=[], guard_metrics=[])).then_rejected("plan_id")
    asked = request(scenario.when(STARTED))
    assert (asked.slo_names, asked.guard_metrics) == (["cart-errors"], ["memory"])


def test_a_plan_that_was_proposed_anew_is_not_taken_for_the_one_that_is_carried_out() -> None:
    scenario = given(Verifier(), documents(), plan(), service="cart")
    scenario.events(plan(slo_names=[]))
    begun = STARTED.model_copy(update={"plan_hash": plan(slo_names=[]).plan_hash})
    scenario.when(begun).then_rejected("plan_hash")
    assert scenario.state.watches == {}


def test_a_plan_whose_hash_is_that_of_another_content_is_not_judged() -> None:
    lax = plan(slo_names=[]).model_copy(update={"plan_hash": plan().plan_hash})
    given(Verifier(), documents(), service="cart").when(lax).then_rejected("plan_hash").when(STARTED).then_nothing()


def test_an_execution_of_an_unknown_plan_is_not_watched() -> None:
    given(Verifier(), documents()).when(STARTED, COMPLETED).then_nothing()


def test_an_execution_of_which_nothing_more_is_heard_is_forgotten() -> None:
    scenario = started().after(seconds=7 * 86_400 - 1).then_nothing()
    assert scenario.state.watches
    assert scenario.after(seconds=1).then_nothing().state.watches == {}


def test_a_guard_that_falls_silent_is_not_verified_on_what_it_had_shown() -> None:
    scenario = completed()
    scenario.when(taken(request(scenario), 0.015)).then(MeasurementRequested)
    scenario.when(taken(request(scenario), 0.0, memory=None, buckets=40)).then(MeasurementRequested)
    scenario.when(taken(request(scenario), 0.0, buckets=40)).then(OutcomeVerified)
