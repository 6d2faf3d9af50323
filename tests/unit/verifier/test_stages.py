"""Stages are judged one by one: against the time before, or a canary against its control."""

from itertools import pairwise
from typing import Any

import pytest
from sagas import step_authorization
from scenario import START_US, Scenario, given
from verifier.measured import COMPLETED, FAILED, NAMES, ROLLED_BACK, STARTED, documents, plan, samples, taken

from autopilot.agents.verifier import Verifier
from autopilot.schemas.configuration import Domain, Fleet, Service, TelemetryContract, document
from autopilot.schemas.events.executor import RollbackStarted, StageReached, StepHeld
from autopilot.schemas.events.observer import MeasurementTaken, Quality
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import PlanProposed, StageGate
from autopilot.schemas.events.policy import ApprovalRequested
from autopilot.schemas.events.telemetry import Group, MeasurementRequested, history_width_us
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

REACHED = StageReached(**NAMES, step_id="1")
GROUPS = [
    Group(name="canary", attributes={"service.instance.id": "canary-*"}),
    Group(name="control", attributes={"service.instance.id": "stable-*"}),
]
Buckets = list[tuple[float, float]]
"""Values and weights, a bucket each second."""


def staged(*, groups: list[Group] | None = None, steps: tuple[str, ...] = ("1", "2"), **changes: Any) -> PlanProposed:
    wanted: dict[str, Any] = {
        "slo_names": [],
        "guard_metrics": ["memory", "queue"],
        "settle_ms": 5_000,
        "after_ms": 30_000,
        "deadline_ms": 100_000,
        "groups": groups or [],
    }
    gate = StageGate(**{**wanted, **changes})
    return plan(dict.fromkeys(steps, gate))


def at_a_stage(of: PlanProposed, before: float = 0.0) -> Scenario:
    """The first stage is reached, with the window before already measured."""
    scenario = given(Verifier(), documents(), of, service="cart").when(STARTED)
    answer = taken(scenario.only(MeasurementRequested), before, buckets=30)
    queue = samples("metric:queue", [3.0] * 30)
    return scenario.events(answer.model_copy(update={"samples": [*answer.samples, queue]})).when(REACHED)


def answered(scenario: Scenario, bad: float, *, buckets: int = 10, queue: float = 3.0) -> MeasurementTaken:
    answer = taken(scenario.only(MeasurementRequested), bad, buckets=buckets)
    return answer.model_copy(update={"samples": [*answer.samples, samples("metric:queue", [queue] * buckets)]})


def compared(scenario: Scenario, canary: Buckets | None, control: Buckets | None, **levels: float) -> MeasurementTaken:
    """An answer whose groups have these buckets of the SLO, and a constant level of the guards."""
    request = scenario.only(MeasurementRequested)
    answer = taken(request, 0.0)
    columns = []
    for group, buckets in (("canary", canary), ("control", control)):
        starts = [request.from_us + n * 1_000_000 for n in range(len(buckets or []))]
        bad = samples(f"slo:cart-errors@{group}", [value for value, _ in buckets or []])
        weights = [weight for _, weight in buckets or []]
        columns.append(bad.model_copy(update={"weights": weights, "bucket_starts_us": starts}))
        for metric in ("memory", "queue"):
            level = levels.get(f"{metric}_{group}", 100.0)
            column = samples(f"metric:{metric}@{group}", [level] * len(starts))
            columns.append(column.model_copy(update={"bucket_starts_us": starts}))
    return answer.model_copy(update={"samples": [*answer.samples, *columns]})


# -- against the time before -------------------------------------------------------------------------------------------


def test_whatever_a_gate_compares_is_measured_before_too() -> None:
    scenario = given(Verifier(), documents(), staged(slo_names=["other"]), service="cart").when(STARTED)
    asked = scenario.only(MeasurementRequested)
    assert (asked.slo_names, asked.guard_metrics) == (["cart-errors", "other"], ["memory", "queue"])
    assert (asked.purpose, asked.groups) == ("before", [])


def test_a_stage_is_measured_by_its_own_window() -> None:
    scenario = at_a_stage(staged()).then(MeasurementRequested)
    asked = scenario.only(MeasurementRequested)
    assert (asked.purpose, asked.slo_names, asked.guard_metrics) == ("stage", ["cart-errors"], ["memory", "queue"])
    assert (asked.from_us, asked.until_us) == (START_US + 5_000_000, START_US + 15_000_000)


def test_a_stage_within_its_objective_is_verified_and_so_is_the_next_and_the_whole() -> None:
    scenario = at_a_stage(staged())
    scenario.when(answered(scenario, 0.0, buckets=30)).then(OutcomeVerified)
    first = scenario.only(OutcomeVerified).outcome
    assert (first.phase, first.step_id, first.execution_id) == ("stage", "1", "exe")
    scenario.when(REACHED.model_copy(update={"step_id": "2"}))
    scenario.when(answered(scenario, 0.0, buckets=30)).then(OutcomeVerified)
    second = scenario.only(OutcomeVerified).outcome
    assert (second.step_id, second.outcome_id != first.outcome_id) == ("2", True)
    scenario.when(COMPLETED)
    scenario.when(taken(scenario.only(MeasurementRequested), 0.0, buckets=40)).then(OutcomeVerified)
    whole = scenario.only(OutcomeVerified).outcome
    assert (whole.phase, whole.step_id) == ("remedy", "")


def test_a_stage_need_not_recover_what_was_bad_before_but_is_seen_whole() -> None:
    scenario = at_a_stage(staged(), before=0.4)
    for _ in range(2):
        scenario.when(answered(scenario, 0.4)).then(MeasurementRequested)
    scenario.when(answered(scenario, 0.4)).then(OutcomeVerified)


def test_a_stage_that_is_worse_than_before_is_rejected_and_its_rollback_judged() -> None:
    scenario = at_a_stage(staged())
    scenario.when(answered(scenario, 0.2)).then(OutcomeRejected)
    assert scenario.only(OutcomeRejected).outcome.phase == "stage"
    scenario.when(RollbackStarted(**NAMES, reason="r", step_ids=["1"])).then_nothing()
    scenario.when(ROLLED_BACK)
    scenario.when(answered(scenario, 0.0)).then(OutcomeVerified)
    outcome = scenario.only(OutcomeVerified).outcome
    assert (outcome.phase, outcome.step_id) == ("rollback", "")


def test_a_guard_that_got_worse_rejects_the_stage() -> None:
    scenario = at_a_stage(staged())
    scenario.when(answered(scenario, 0.0, buckets=30, queue=9.0)).then(OutcomeRejected)
    assert "metric:queue not worse than before: fail" in scenario.only(OutcomeRejected).outcome.reason


def test_a_stage_that_nobody_can_judge_is_inconclusive_by_its_deadline() -> None:
    scenario = at_a_stage(staged()).after(seconds=99, step_seconds=1).then_nothing()
    scenario.after(seconds=1).then(OutcomeInconclusive)
    assert scenario.only(OutcomeInconclusive).outcome.phase == "stage"
    scenario.when(ROLLED_BACK).then(MeasurementRequested)


def test_a_stage_that_is_left_for_another_reason_gets_no_verdict() -> None:
    scenario = at_a_stage(staged())
    answer = answered(scenario, 0.9)
    scenario.when(RollbackStarted(**NAMES, reason="r", step_ids=["1"]), answer).then_nothing()
    scenario.after(seconds=200).then_nothing()
    scenario.when(ROLLED_BACK).then(MeasurementRequested)


def test_a_stage_without_a_gate_in_the_plan_or_of_an_unknown_execution_is_not_measured() -> None:
    scenario = given(Verifier(), documents(), staged(), service="cart").events(STARTED)
    scenario.when(REACHED.model_copy(update={"step_id": "9"})).then_nothing()
    scenario.when(REACHED.model_copy(update={"execution_id": "other"})).then_nothing()


DAY_S = 86_400


def verified(scenario: Scenario) -> Scenario:
    """The stage is verified, after as many slices as it takes."""
    while any(isinstance(draft.payload, MeasurementRequested) for draft in scenario.drafts()):
        scenario.when(answered(scenario, 0.0))
    return scenario.then(OutcomeVerified)


def held(scenario: Scenario, seconds: int) -> list[StepHeld | ApprovalRequested]:
    """The execution waits before its second step, about which people are asked; they have that long."""
    decision = step_authorization(staged()).decision
    request = ApprovalRequested(
        approval_id="apr",
        decision=decision,
        group="approver",
        needed=1,
        summary="s",
        expires_at_us=scenario.now_us + seconds * 1_000_000,
        step_id="2",
        execution_id=NAMES["execution_id"],
    )
    return [StepHeld(**NAMES, decision_id="dec", step_id="2"), request]


def test_an_execution_is_not_forgotten_while_people_may_answer_and_its_next_stage_is_measured_from_then() -> None:
    scenario = verified(at_a_stage(staged()))
    scenario.when(*held(scenario, 3 * DAY_S)).then_nothing()
    scenario.after(seconds=3 * DAY_S, step_seconds=3_600).then_nothing()
    go_on = step_authorization(staged(), "2").model_copy(update={"execution_id": NAMES["execution_id"]})
    scenario.when(go_on).then_nothing().after(seconds=60).then_nothing()
    reached = scenario.when(REACHED.model_copy(update={"step_id": "2"})).only(MeasurementRequested)
    assert reached.from_us == scenario.now_us + 5_000_000
    verified(scenario)


def test_an_execution_that_a_halt_holds_before_a_step_is_still_judged() -> None:
    """Nobody is asked in a halt."""
    scenario = verified(at_a_stage(staged())).events(StepHeld(**NAMES, decision_id="dec", step_id="2"))
    scenario.after(seconds=30 * DAY_S, step_seconds=3_600).then_nothing()
    go_on = step_authorization(staged(), "2").model_copy(update={"execution_id": NAMES["execution_id"]})
    scenario.events(go_on).when(COMPLETED).then(MeasurementRequested)


def test_an_execution_that_was_held_and_turned_back_is_judged_and_forgotten_when_nothing_is_heard_of_it() -> None:
    turned = RollbackStarted(**NAMES, reason="nobody answered", step_ids=["1"])
    for seconds, watched in ((7 * DAY_S - 60, True), (7 * DAY_S, False)):
        scenario = verified(at_a_stage(staged()))
        scenario.events(*held(scenario, DAY_S))
        scenario.after(seconds=9 * DAY_S, step_seconds=3_600).then_nothing()
        scenario.events(turned).after(seconds=seconds).then_nothing()
        assert bool(scenario.state.watches) is watched
        scenario.when(ROLLED_BACK)
        scenario.then(*[MeasurementRequested] * watched)


def test_an_execution_that_fails_at_a_stage_is_forgotten() -> None:
    scenario = at_a_stage(staged()).when(FAILED).then_nothing()
    assert scenario.state.watches == scenario.state.awaited == {}


# -- a canary against its control --------------------------------------------------------------------------------------


def canary(**changes: Any) -> Scenario:
    return at_a_stage(staged(groups=GROUPS, **changes))


def test_a_canarys_gate_has_both_groups_measured() -> None:
    assert canary().only(MeasurementRequested).groups == GROUPS


def test_a_canary_like_its_control_is_verified() -> None:
    scenario = canary()
    scenario.when(compared(scenario, [(0.0, 50.0)] * 10, [(0.0, 950.0)] * 10)).then(OutcomeVerified)
    outcome = scenario.only(OutcomeVerified).outcome
    assert [check.name for check in outcome.checks] == [
        "slo:cart-errors of the canary not worse than of the control",
        "metric:memory of the canary not worse than of the control",
        "metric:queue of the canary not worse than of the control",
    ]
    assert outcome.confidence_bp > 8_000


def test_a_canary_that_fails_is_rejected_though_the_whole_hardly_shows_it() -> None:
    scenario = canary()
    scenario.when(compared(scenario, [(0.4, 5.0)] * 10, [(0.0, 95.0)] * 10)).then(OutcomeRejected)
    (check, *_) = scenario.only(OutcomeRejected).outcome.checks
    assert (check.before_mean, check.after_mean, check.effect_size) == (0.0, 0.4, 0.4)
    assert check.confidence_bp is not None
    assert check.confidence_bp > 9_500


def test_a_canary_as_bad_as_its_control_is_not_to_blame() -> None:
    scenario = canary()
    both: Buckets = [(0.4, 100.0)] * 10
    asked = 0
    while not isinstance(scenario.drafts()[0].payload, OutcomeVerified):
        scenario.when(compared(scenario, both, [(0.4, 1_000.0)] * 10))
        asked += 1
    assert asked <= 8


def test_a_canary_whose_guard_is_worse_than_the_controls_is_rejected() -> None:
    scenario = canary()
    good: Buckets = [(0.0, 100.0)] * 10
    scenario.when(compared(scenario, good, good, memory_canary=130.0)).then(OutcomeRejected)
    assert "metric:memory of the canary" in scenario.only(OutcomeRejected).outcome.reason


@pytest.mark.parametrize("level", [0.0, 105.0])
def test_a_guard_that_is_hardly_off_or_at_rest_does_not_reject(level: float) -> None:
    scenario = canary()
    good: Buckets = [(0.0, 100.0)] * 10
    control = 100.0 if level else 0.0
    scenario.when(compared(scenario, good, good, memory_canary=level, memory_control=control)).then(OutcomeVerified)


@pytest.mark.parametrize(
    ("canary_buckets", "control_buckets", "why"),
    [
        (None, [(0.0, 100.0)] * 10, "no events of the canary"),
        ([(0.0, 100.0)] * 10, None, "no events of the control"),
        ([(0.0, 1.0)] * 10, [(0.0, 100.0)] * 10, "too few events"),
        ([(1.0, 1.0)] * 10, [(0.0, 100.0)] * 10, "too few events"),
    ],
)
def test_too_little_of_either_group_is_never_verified(
    canary_buckets: Buckets | None, control_buckets: Buckets | None, why: str
) -> None:
    scenario = canary()
    scenario.when(compared(scenario, canary_buckets, control_buckets)).then(MeasurementRequested)
    scenario.after(seconds=100).then(OutcomeInconclusive)
    assert why in scenario.only(OutcomeInconclusive).outcome.reason


def test_a_gate_whose_groups_have_other_names_is_inconclusive() -> None:
    scenario = at_a_stage(staged(groups=[Group(name="blue", attributes={})]))
    scenario.when(answered(scenario, 0.0)).then(MeasurementRequested)
    scenario.after(seconds=100).then(OutcomeInconclusive)


def sending_every(interval_ms: int) -> list[Document]:
    """The objective, and a fleet whose `cart` sends its telemetry this often."""
    contract = TelemetryContract(interval_ms=interval_ms)
    service = Service(name="cart", domain="shop", tier=1, owner="o", telemetry=contract)
    fleet = Fleet(name="f", domains=[Domain(name="shop")], services=[service])
    return [*documents(), document(fleet.model_dump(mode="json"))]


def test_buckets_that_are_paired_are_as_wide_as_two_samples_and_others_as_before() -> None:
    widths = []
    for groups in (GROUPS, []):
        scenario = given(Verifier(), sending_every(5_000), staged(groups=groups), service="cart")
        scenario.events(STARTED).when(REACHED)
        widths.append(scenario.only(MeasurementRequested).bucket_ms)
    assert widths == [10_000, 1_000]


@pytest.mark.parametrize("interval_ms", [200, 1_000, 7_000, 60_000])
def test_every_bucket_of_the_history_is_in_one_slice_and_every_slice_has_a_sample(interval_ms: int) -> None:
    """Whatever moment the stage was reached at: a service that sends once in an interval is seen in each slice."""
    width_us = history_width_us(interval_ms)
    for late_us in (0, 1, 356_566, width_us - 1):
        scenario = given(Verifier(), sending_every(interval_ms), staged(deadline_ms=600_000), service="cart")
        scenario.when(STARTED)
        scenario.events(taken(scenario.only(MeasurementRequested), 0.0, buckets=30))
        scenario.now_us += late_us
        scenario.when(REACHED)
        asked = [scenario.only(MeasurementRequested)]
        for _ in range(4):
            scenario.when(taken(asked[-1], None, None))
            asked.append(scenario.only(MeasurementRequested))
        assert 0 <= asked[0].from_us - (scenario.now_us + 5_000_000) < width_us
        assert all(before.until_us == after.from_us for before, after in pairwise(asked))
        for one in asked:
            whole = -(-one.from_us // width_us), one.until_us // width_us
            assert one.from_us == whole[0] * width_us
            assert one.until_us == whole[1] * width_us
            assert one.until_us - one.from_us >= interval_ms * 1_000


def test_a_group_that_falls_silent_is_not_verified_on_what_it_had_shown() -> None:
    scenario = canary()
    good: Buckets = [(0.0, 50.0)] * 10
    poor = Quality(freshness_bp=0, completeness_bp=10_000, validity_bp=10_000, order_bp=10_000)
    first = compared(scenario, good, good).model_copy(update={"quality": poor})
    scenario.when(first).then(MeasurementRequested)
    scenario.when(compared(scenario, None, good)).then(MeasurementRequested)
    again = Scenario(scenario.agent, "shop", "cart")
    again.state, again.now_us = scenario.agent.load_state(scenario.agent.dump_state(scenario.state)), scenario.now_us
    again.after(seconds=100).then(OutcomeInconclusive)
    reason = again.only(OutcomeInconclusive).outcome.reason
    assert "of slo:cart-errors@canary nothing came lately" in reason
    scenario.when(compared(scenario, good, good)).then(OutcomeVerified)
