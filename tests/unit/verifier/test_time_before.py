"""What is compared with is the trouble as it was, as far as that can be judged: not the time when all was well."""

from typing import Any

import pytest
from scenario import START_US, Scenario, given
from verifier.measured import COMPLETED, GUARD, NAMES, ROLLED_BACK, SLO, STARTED, documents, plan, taken

from autopilot.agents.verifier import Verifier
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.executor import StageReached
from autopilot.schemas.events.observer import MeasurementTaken, Samples
from autopilot.schemas.events.planner import PlanProposed, StageGate
from autopilot.schemas.events.telemetry import Group, MeasurementRequested
from autopilot.schemas.events.verifier import Check, Outcome, OutcomeRejected, OutcomeVerified

REACHED = StageReached(**NAMES, step_id="1")
HEALTHY, BURNING = [0.0] * 25, [0.4] * 5
"""The window before, 60 s in buckets of 2 s: all was well until 10 s before the execution."""
TROUBLE_US = START_US - 10_000_000


def column(request: MeasurementRequested, name: str, values: list[float], weight: float) -> Samples:
    starts = [request.from_us + n * request.bucket_ms * 1000 for n in range(len(values))]
    return Samples(name=name, unit="1", bucket_starts_us=starts, values=values, weights=[weight] * len(values))


def before(
    request: MeasurementRequested, bad: list[float], memory: list[float] | None = None, weight: float = 50.0
) -> MeasurementTaken:
    """The answer to the request for the time before: a share of bad events in each bucket, and a level of memory."""
    columns = [
        column(request, SLO, bad, weight),
        column(request, GUARD, [100.0] * len(bad) if memory is None else memory, 1.0),
    ]
    return taken(request, None).model_copy(update={"samples": columns})


def started(of: PlanProposed, bad: list[float], memory: list[float] | None = None, weight: float = 50.0) -> Scenario:
    """The execution has begun, and the time before it was measured."""
    scenario = given(Verifier(), documents(), of, service="cart").when(STARTED)
    return scenario.events(before(scenario.only(MeasurementRequested), bad, memory, weight))


def answered(scenario: Scenario, kind: type[OutcomeVerified | OutcomeRejected], bad: float, **how: Any) -> Outcome:
    """The outcome once the first slice was measured."""
    return scenario.when(taken(scenario.only(MeasurementRequested), bad, **how)).then(kind).only(kind).outcome


def of_slo(outcome: Outcome) -> Check:
    return next(check for check in outcome.checks if check.name.startswith(SLO))


def of_guard(outcome: Outcome) -> Check:
    return next(check for check in outcome.checks if check.name.startswith(GUARD))


def seen(check: Check) -> tuple[int, int]:
    """How long before the execution that was compared with began, seconds, and the samples in it."""
    return (START_US - check.before_from_us) // 1_000_000 if check.before_from_us else 0, check.before_samples


def test_the_whole_window_is_asked_for_whenever_the_trouble_began() -> None:
    scenario = given(Verifier(), documents(), plan(trouble_since_us=TROUBLE_US), service="cart").when(STARTED)
    asked = scenario.only(MeasurementRequested)
    assert (asked.from_us, asked.until_us) == (START_US - 60_000_000, START_US)


def test_a_rollback_to_the_trouble_as_it_was_is_verified() -> None:
    scenario = started(plan(trouble_since_us=TROUBLE_US), HEALTHY + BURNING).when(ROLLED_BACK)
    outcome = answered(scenario, OutcomeVerified, 0.4)
    assert outcome.phase == "rollback"
    assert (of_slo(outcome).before_mean, seen(of_slo(outcome))) == (0.4, (10, 5))


def test_without_knowing_when_it_began_the_time_when_all_was_well_counts_too() -> None:
    scenario = started(plan(), HEALTHY + BURNING).when(ROLLED_BACK)
    outcome = answered(scenario, OutcomeRejected, 0.4)
    assert seen(of_slo(outcome)) == (60, 30)


def test_a_rollback_after_which_it_is_worse_than_the_trouble_was_is_rejected() -> None:
    scenario = started(plan(trouble_since_us=TROUBLE_US), HEALTHY + BURNING).when(ROLLED_BACK)
    assert answered(scenario, OutcomeRejected, 0.8).phase == "rollback"


@pytest.mark.parametrize(("trouble_since_us", "then"), [(TROUBLE_US, OutcomeVerified), (0, MeasurementRequested)])
def test_a_gain_of_few_events_is_seen_against_the_trouble(trouble_since_us: int, then: type[Payload]) -> None:
    of = plan(trouble_since_us=trouble_since_us, guard_metrics=[])
    scenario = started(of, HEALTHY + BURNING, weight=4.0).when(COMPLETED)
    scenario.when(taken(scenario.only(MeasurementRequested), 0.0, weight=6.0)).then(then)


def test_a_trouble_that_began_before_the_window_makes_it_no_longer() -> None:
    scenario = started(plan(trouble_since_us=START_US - 3_600_000_000), BURNING * 6).when(ROLLED_BACK)
    outcome = answered(scenario, OutcomeVerified, 0.4)
    assert [seen(check) for check in outcome.checks] == [(60, 30), (60, 30)]


@pytest.mark.parametrize("late_us", [-1_000_000, 0, 3_600_000_000])
def test_each_check_reaches_back_for_what_it_takes_to_judge(late_us: int) -> None:
    """The trouble is shorter than a bucket, or begins after the execution by the service's clock."""
    of = plan(trouble_since_us=START_US + late_us)
    scenario = started(of, HEALTHY + BURNING, weight=7.0).when(ROLLED_BACK)
    outcome = answered(scenario, OutcomeVerified, 0.4)
    assert (seen(of_slo(outcome)), seen(of_guard(outcome))) == ((6, 3), (12, 6))


def test_buckets_without_events_are_passed_over_on_the_way_back() -> None:
    of = plan(trouble_since_us=START_US)
    scenario = given(Verifier(), documents(), of, service="cart").when(STARTED)
    answer = before(scenario.only(MeasurementRequested), HEALTHY + BURNING)
    slo = answer.samples[0].model_copy(update={"weights": [50.0] * 25 + [0.0] * 5})
    scenario.events(answer.model_copy(update={"samples": [slo, answer.samples[1]]})).when(ROLLED_BACK)
    assert seen(of_slo(answered(scenario, OutcomeVerified, 0.0))) == (12, 6)


def test_what_is_missing_or_scarce_says_so_and_shortens_or_lengthens_nothing_else() -> None:
    for memory, expected in (([], (0, 0)), ([100.0] * 5, (60, 5))):
        scenario = started(plan(trouble_since_us=TROUBLE_US), HEALTHY + BURNING, memory).when(ROLLED_BACK)
        scenario.when(taken(scenario.only(MeasurementRequested), 0.8)).then(OutcomeRejected)
        outcome = scenario.only(OutcomeRejected).outcome
        assert (seen(of_slo(outcome)), seen(of_guard(outcome))) == ((10, 5), expected)


def test_a_guard_is_compared_with_the_trouble_too() -> None:
    high = [100.0] * 20 + [200.0] * 10
    scenario = started(plan(trouble_since_us=START_US - 20_000_000), BURNING * 6, high).when(ROLLED_BACK)
    outcome = answered(scenario, OutcomeVerified, 0.4, memory=200.0)
    assert (of_guard(outcome).before_mean, seen(of_guard(outcome))) == (200.0, (20, 10))


def gated(groups: list[Group]) -> PlanProposed:
    gate = StageGate(slo_names=[], guard_metrics=[], settle_ms=0, after_ms=60_000, deadline_ms=300_000, groups=groups)
    return plan({"1": gate}, trouble_since_us=TROUBLE_US)


def test_a_stage_is_compared_with_the_trouble_too() -> None:
    scenario = started(gated([]), HEALTHY + BURNING).when(REACHED)
    outcome = answered(scenario, OutcomeRejected, 0.9)
    assert (outcome.phase, of_slo(outcome).before_mean, seen(of_slo(outcome))) == ("stage", 0.4, (10, 5))


def test_a_canary_is_compared_with_its_control_and_with_no_time_before() -> None:
    groups = [Group(name=name, attributes={"group": name}) for name in ("canary", "control")]
    scenario = started(gated(groups), HEALTHY + BURNING).when(REACHED)
    asked = scenario.only(MeasurementRequested)
    both = [column(asked, f"{SLO}@{name}", [bad] * 10, 50.0) for name, bad in (("canary", 0.9), ("control", 0.4))]
    scenario.when(taken(asked, 0.4).model_copy(update={"samples": both})).then(OutcomeRejected)
    assert of_slo(scenario.only(OutcomeRejected).outcome).before_from_us == 0
