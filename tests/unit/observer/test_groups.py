"""A group of series measured apart: a canary's and its control's, told apart by attributes."""

from typing import Any

from observer.watched import SECOND_US, batch, payloads, series, watching
from scenario import START_US, Said, Scenario

from autopilot.agents.observer.measurement import GROUP_KEPT_US, MAX_GROUP_METRICS, MAX_GROUPS
from autopilot.schemas.events.observer import MeasurementTaken
from autopilot.schemas.events.telemetry import Group, MeasurementRequested, SeriesKind, TelemetryBatch

CANARY = Group(name="canary", attributes={"instance": "canary-*"})
CONTROL = Group(name="control", attributes={"instance": "stable-*", "zone": "a"})


def request(from_s: float, until_s: float, **more: Any) -> MeasurementRequested:
    content: dict[str, Any] = {
        "measurement_id": "m",
        "purpose": "stage",
        "slo_names": [],
        "guard_metrics": ["memory", "requests"],
        "bucket_ms": 1_000,
        "groups": [CANARY, CONTROL],
    }
    from_us, until_us = START_US + round(from_s * SECOND_US), START_US + round(until_s * SECOND_US)
    return MeasurementRequested(from_us=from_us, until_us=until_us, **{**content, **more})


def second(at_s: float) -> TelemetryBatch:
    """One canary that fails half the time, two good ones in zone a, and one in zone b that always fails."""
    sent = []
    for instance, zone, errors in (
        ("canary-1", "a", 5.0),
        ("stable-1", "a", 0.0),
        ("stable-2", "a", 1.0),
        ("stable-3", "b", 50.0),
    ):
        requests = 10.0 if instance == "canary-1" else 50.0
        where = {"instance": instance, "zone": zone}
        sent += [series("requests", [requests], at_s, **where), series("errors", [errors], at_s, **where)]
        sent.append(series("memory", [requests + 1], at_s, kind=SeriesKind.GAUGE, unit="By", **where))
    return batch(*sent)


def busy(scenario: Scenario, first_s: int, last_s: int) -> list[MeasurementTaken]:
    said = []
    for at in range(first_s, last_s + 1):
        said += scenario.when(second(at)).outputs
        said += scenario.after(seconds=1).outputs
    return payloads(said, MeasurementTaken)


def test_groups_are_measured_apart_besides_the_whole() -> None:
    scenario = watching()
    busy(scenario, 1, 5)
    scenario.when(request(7, 12)).then_nothing()
    (taken,) = busy(scenario, 6, 14)
    columns = {one.name: one for one in taken.samples}
    assert list(columns) == [
        "slo:few-errors", "metric:memory", "metric:requests",
        "slo:few-errors@canary", "metric:memory@canary", "metric:requests@canary",
        "slo:few-errors@control", "metric:memory@control", "metric:requests@control",
    ]  # fmt: skip
    assert columns["slo:few-errors"].values == [56 / 160] * 5
    assert columns["slo:few-errors@canary"].values == [0.5] * 5
    assert columns["slo:few-errors@canary"].weights == [10.0] * 5
    assert columns["slo:few-errors@control"].values == [0.01] * 5
    assert columns["slo:few-errors@control"].weights == [100.0] * 5
    starts = [START_US + at * SECOND_US for at in range(7, 12)]
    assert columns["slo:few-errors@canary"].bucket_starts_us == starts


def test_a_groups_levels_and_counts_are_means_of_its_samples() -> None:
    scenario = watching().when(request(3, 6))
    (taken,) = busy(scenario, 1, 8)
    columns = {one.name: one.values for one in taken.samples}
    assert columns["metric:memory@control"] == [51.0] * 3
    assert columns["metric:requests@control"] == [50.0] * 3
    assert columns["metric:requests@canary"] == [10.0] * 3
    assert columns["metric:requests"] == [160.0] * 3


def test_what_came_before_the_request_is_not_known_apart() -> None:
    scenario = watching()
    busy(scenario, 1, 10)
    scenario.when(request(3, 8))
    columns = {one.name: one.values for one in scenario.only(MeasurementTaken).samples}
    assert columns["slo:few-errors"] == [56 / 160] * 5
    assert columns["slo:few-errors@canary"] == columns["slo:few-errors@control"] == []


def test_a_canary_that_starts_after_the_request_is_measured_too() -> None:
    scenario = watching().when(request(3, 6, groups=[Group(name="canary", attributes={"instance": "new"})]))
    for at in range(1, 9):
        scenario.when(second(at))
        if at >= 3:
            scenario.when(batch(series("requests", [4.0], at, instance="new")))
        scenario.after(seconds=1)
    # the answer was given on the way: what is looked at is that it had the new series
    scenario.when(request(3, 6, measurement_id="n", groups=[Group(name="c", attributes={"instance": "new"})]))
    columns = {one.name: one for one in scenario.only(MeasurementTaken).samples}
    assert columns["slo:few-errors@c"].weights == [4.0] * 3


def test_a_group_that_nobody_asks_for_any_more_is_closed_and_its_rings_go() -> None:
    scenario = watching()
    before = set(scenario.state.services["cart"].cells.rings)
    scenario.when(request(3, 6))
    busy(scenario, 1, 8)
    service = scenario.state.services["cart"]
    assert len(service.memory.groups) == 2
    assert sum(key.startswith("group:") for key in service.cells.rings) == 6
    scenario.after(seconds=GROUP_KEPT_US / SECOND_US - 10, step_seconds=10)
    assert len(scenario.state.services["cart"].memory.groups) == 2
    scenario.after(seconds=20, step_seconds=10)
    service = scenario.state.services["cart"]
    assert service.memory.groups == []
    assert not any(key.startswith("group:") for key in service.cells.rings)
    assert before <= set(service.cells.rings)


def test_the_same_group_under_another_name_shares_what_is_kept_and_adds_to_it() -> None:
    scenario = watching().events(request(3, 6, guard_metrics=[]))
    again = Group(name="blue", attributes=CANARY.attributes)
    scenario.when(request(3, 9, measurement_id="n", groups=[again])).then_nothing()
    assert [group.metrics for group in scenario.state.services["cart"].memory.groups] == [["memory", "requests"], []]
    answers = busy(scenario, 1, 11)
    assert [len(one.samples) for one in answers] == [3, 6]


def test_there_are_bounds_on_groups_and_their_metrics() -> None:
    many = [Group(name=f"g{n}", attributes={"instance": str(n)}) for n in range(MAX_GROUPS + 1)]
    watching().when(request(3, 6, groups=many)).then_rejected("groups")
    wanted = [f"m{n}" for n in range(MAX_GROUP_METRICS + 1)]
    watching().when(request(3, 6, guard_metrics=wanted)).then_rejected("guard_metrics")
    scenario = watching().when(request(3, 6, groups=many[:-1])).then_nothing()
    scenario.when(request(3, 6, measurement_id="n", groups=many[-1:])).then_rejected("groups")
    scenario.when(request(3, 6, measurement_id="o", groups=many[:2])).then_nothing()


def test_signals_and_the_whole_are_not_touched_by_groups() -> None:
    stories = []
    for groups in ([], [CANARY, CONTROL]):
        scenario = watching().events(Said(request(3, 6, groups=groups)))
        said = []
        for at in range(1, 20):
            said += [draft.payload for draft in scenario.when(second(at)).drafts()]
            said += [draft.payload for draft in scenario.after(seconds=1).drafts()]
        stories.append([one for one in said if not isinstance(one, MeasurementTaken)])
    assert stories[0] == stories[1]
    assert stories[0]
