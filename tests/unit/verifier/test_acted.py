"""The time before an execution is no time in which another one acted on the service."""

import pytest
from scenario import START_US, Said, Scenario, given
from verifier.measured import COMPLETED, FAILED, GUARD, NAMES, ROLLED_BACK, STARTED, documents, plan, taken

from autopilot.agents.verifier import Verifier
from autopilot.agents.verifier.acted import Acted, undisturbed
from autopilot.schemas.events.executor import ExecutionStarted, RollbackStarted, StepHeld
from autopilot.schemas.events.telemetry import MeasurementRequested
from autopilot.schemas.events.verifier import CheckVerdict, OutcomeInconclusive

AT = {"domain": "shop", "service": "cart", "settle_us": 10}
SECOND = plan().model_copy(update={"plan_id": "plan-2"})
SECOND_STARTED = ExecutionStarted(execution_id="exe-2", plan_id="plan-2", incident_id="inc", decision_id="d", steps=1)
SECOND_US = 1_000_000


@pytest.mark.parametrize(
    ("acted", "expected"),
    [
        ([], (900, 1_000)),
        ([Acted(**AT, from_us=500, until_us=700)], (900, 1_000)),
        ([Acted(**AT, from_us=800, until_us=930)], (940, 1_000)),
        ([Acted(**AT, from_us=800, until_us=950)], (700, 800)),
        ([Acted(**AT, from_us=970)], (870, 970)),
        ([Acted(**AT, from_us=800, until_us=980), Acted(**AT, from_us=700, until_us=760)], (600, 700)),
        ([Acted(**AT, from_us=800, until_us=980), Acted(**AT, from_us=600, until_us=720)], (730, 800)),
        ([Acted(**AT, from_us=800, until_us=980, stays=True)], (990, 1_000)),
        ([Acted(**AT, from_us=800, until_us=995, stays=True)], (1_000, 1_000)),
        ([Acted(**AT, from_us=900, until_us=980), Acted(**AT, from_us=800, until_us=870, stays=True)], (880, 900)),
    ],
    ids=[
        "alone", "long ago", "settled", "too little since", "still acting", "one after another", "between two",
        "left in place", "left in place and not settled", "after what is in place",
    ],
)  # fmt: skip
def test_the_time_before_lies_where_nothing_acted(acted: list[Acted], expected: tuple[int, int]) -> None:
    assert undisturbed(acted, 1_000, 100) == expected


def judged_first() -> Scenario:
    """A first execution that has acted for five seconds."""
    return given(Verifier(), documents(), plan(), SECOND, service="cart").events(STARTED).after(seconds=5)


def said(scenario: Scenario) -> list[MeasurementRequested]:
    return [one.payload for one in scenario.drafts() if isinstance(one.payload, MeasurementRequested)]


def asked(scenario: Scenario) -> tuple[int, int]:
    """Where the time before begins and ends, in seconds since the first execution began."""
    (request,) = (one for one in said(scenario) if one.purpose == "before")
    return (request.from_us - START_US) // SECOND_US, (request.until_us - START_US) // SECOND_US


def test_the_time_before_a_second_plan_ends_where_the_first_began_to_act() -> None:
    scenario = judged_first().events(COMPLETED).after(seconds=10)
    scenario.events(RollbackStarted(**NAMES, reason="r", step_ids=["1"])).after(seconds=5)
    scenario.events(ROLLED_BACK).after(seconds=2)
    assert asked(scenario.when(SECOND_STARTED)) == (-60, 0)


def test_the_time_before_a_second_plan_begins_after_the_first_where_that_is_long_ago_enough() -> None:
    scenario = judged_first().events(FAILED).after(seconds=50)
    assert asked(scenario.when(SECOND_STARTED)) == (15, 55)


def test_on_another_service_nothing_is_in_the_way() -> None:
    elsewhere = Said(plan(), service="stock")
    scenario = given(Verifier(), documents(), elsewhere, SECOND, service="cart").events(STARTED).after(seconds=5)
    assert asked(scenario.events(FAILED).when(SECOND_STARTED)) == (-55, 5)


def test_where_nothing_is_left_to_compare_with_the_checks_say_so() -> None:
    scenario = judged_first().events(COMPLETED).after(seconds=1)
    scenario.when(SECOND_STARTED)
    assert [one for one in said(scenario) if one.purpose == "before"] == []
    second = COMPLETED.model_copy(update={"execution_id": "exe-2", "plan_id": "plan-2"})
    (after,) = said(scenario.after(seconds=5).when(second))
    scenario.events(taken(after, 0.0)).after(seconds=400)
    told = [one.payload.outcome for one in scenario.drafts() if isinstance(one.payload, OutcomeInconclusive)]
    (checks,) = (outcome.checks for outcome in told if outcome.execution_id == "exe-2")
    assert {one.verdict for one in checks if one.name.startswith(GUARD)} == {CheckVerdict.NO_DATA}


def test_an_execution_is_not_in_the_way_of_another_one_days_later() -> None:
    scenario = judged_first().events(FAILED).after(seconds=86_400)
    assert scenario.state.acted == {}


def test_the_time_after_what_was_left_in_place_counts_from_its_end_not_from_when_a_person_was_called() -> None:
    scenario = judged_first().events(COMPLETED).after(seconds=70)
    left = FAILED.model_copy(update={"needs_person": True})
    scenario.events(left).after(seconds=2)
    assert asked(scenario.when(SECOND_STARTED)) == (17, 77)


def test_an_execution_that_is_watched_for_days_is_in_the_way_all_that_time() -> None:
    held = StepHeld(execution_id="exe", plan_id="plan", incident_id="inc", decision_id="d", step_id="1")
    scenario = judged_first().events(held).after(seconds=2 * 86_400)
    assert list(scenario.state.acted) == ["exe"]
