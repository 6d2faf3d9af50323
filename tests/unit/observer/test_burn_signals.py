"""Multi-window multi-burn-rate signals."""

import pytest
from observer.watched import (
    ERRORS,
    FAST,
    PAGE,
    ROOM,
    SECOND_US,
    batch,
    documents,
    objective,
    payloads,
    seconds_of,
    series,
    traffic,
    watching,
)
from scenario import START_US

from autopilot.agents.observer.burn_rate import AlertView, Counted, confidence_bp
from autopilot.schemas.configuration import BurnAlert, RatioIndicator, Selector
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.observer import (
    EvidenceRange,
    Severity,
    SignalCleared,
    SignalKind,
    SignalRaised,
    SignalUpdated,
    SliKind,
)
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.telemetry import SeriesKind

WIDE = BurnAlert(
    long_window_ms=60_000, short_window_ms=4_000, burn_rate_milli=2_000, severity=Severity.TICKET, min_events=10
)
"""An alert whose long window still holds what was bad in the minute before."""


def test_a_healthy_service_raises_nothing() -> None:
    assert payloads(seconds_of(watching(), 1, 60, errors=0.5), SignalRaised) == []


def test_a_burn_is_raised_upon_the_record_that_proves_it() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 20)
    scenario.when(traffic(21, errors=20)).then_nothing()
    scenario.after(seconds=1).then_nothing()
    scenario.when(traffic(22, errors=60))
    raised = scenario.only(SignalRaised)
    assert (raised.kind, raised.severity, raised.slo, raised.sli) == (
        SignalKind.SLO_BURN, Severity.TICKET, "few-errors", "errors",
    )  # fmt: skip
    scenario.after(seconds=1)
    scenario.when(traffic(23, errors=90))
    updated = scenario.only(SignalUpdated)
    assert (updated.signal_id, updated.severity) == (raised.signal_id, Severity.PAGE)
    assert updated.windows[0].threshold_milli == 10_000


def test_a_signal_says_what_was_seen_since_when_and_on_which_records() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 20)
    scenario.when(traffic(21, errors=100))
    draft = scenario.drafts()[0]
    raised = scenario.only(SignalRaised)
    assert (draft.domain, draft.service) == ("shop", "cart")
    assert (raised.windows[0].short_burn_milli, raised.windows[0].long_burn_milli) == (16_666, 4_761)
    assert START_US + 20 * SECOND_US < raised.started_at_us <= START_US + 21 * SECOND_US
    (evidence,) = raised.evidence
    assert isinstance(evidence, EvidenceRange)
    assert (evidence.topic, evidence.last_offset) == ("autopilot.telemetry", scenario.offset - 1)
    assert 0 < evidence.first_offset < evidence.last_offset
    assert raised.quality.worst_bp == 10_000
    assert raised.confidence_bp == 10_000
    assert "few-errors" in raised.summary


def test_a_bad_second_long_before_is_not_when_it_began() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 11)
    assert payloads(seconds_of(scenario, 12, 12, errors=8), SignalRaised) == []
    seconds_of(scenario, 13, 20)
    scenario.when(traffic(21, errors=100))
    assert START_US + 20 * SECOND_US < scenario.only(SignalRaised).started_at_us <= START_US + 21 * SECOND_US


def test_what_pauses_for_a_moment_began_with_its_first_bad_second() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 14)
    said = [one for second in range(15, 25) for one in seconds_of(scenario, second, second, errors=second % 2 * 10)]
    (raised,) = payloads(said, SignalRaised)
    assert START_US + 14 * SECOND_US < raised.started_at_us <= START_US + 15 * SECOND_US


def test_what_comes_back_began_after_it_had_cleared_however_bad_it_was_before() -> None:
    scenario = watching(documents([objective("few-errors", ERRORS, SliKind.ERRORS, [WIDE])]))
    seconds_of(scenario, 1, 20)
    assert payloads(seconds_of(scenario, 21, 40, errors=90), SignalRaised) != []
    cleared = payloads(seconds_of(scenario, 41, 50), SignalCleared)
    again = payloads(seconds_of(scenario, 51, 54, errors=90), SignalRaised)
    assert len(cleared) == len(again) == 1
    assert START_US + 50 * SECOND_US < again[0].started_at_us <= START_US + 51 * SECOND_US


def test_a_raised_signal_is_not_repeated_and_cleared_once_by_fresh_good_events() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 12)
    burning = payloads(seconds_of(scenario, 13, 30, errors=50), SignalRaised, SignalUpdated, SignalCleared)
    assert [type(p) for p in burning].count(SignalRaised) == 1
    assert len(burning) <= 4
    ended = payloads(seconds_of(scenario, 31, 60), SignalRaised, SignalUpdated, SignalCleared)
    assert isinstance(ended[-1], SignalCleared)
    assert [type(p) for p in ended].count(SignalCleared) == 1
    assert ended[-1].signal_id == burning[0].signal_id


def test_missing_data_neither_clears_nor_raises() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 12)
    seconds_of(scenario, 13, 16, errors=80)
    said = [out for _ in range(7) for out in scenario.after(seconds=1).outputs]
    said += [out for _ in range(30) for out in scenario.after(seconds=1).outputs]
    assert payloads(said, SignalCleared) == []
    assert [p.kind for p in payloads(said, SignalRaised)] == [SignalKind.TELEMETRY_LOST]


def test_few_events_fire_nothing() -> None:
    scenario = watching()
    assert payloads(seconds_of(scenario, 1, 10, requests=1, errors=1), SignalRaised) == []


def test_good_events_of_latency_and_several_instances_are_added_up() -> None:
    scenario = watching(documents([objective("fast", FAST, SliKind.LATENCY)]))

    def second(at: int, fast: float) -> None:
        some = []
        for instance in ("a", "b"):
            some.append(series("requests", [50.0], at, instance=instance))
            some.append(series("bucket", [fast], at, instance=instance, le="250"))
            some.append(series("bucket", [50.0], at, instance=instance, le="1000"))
        scenario.when(batch(*some))

    for at in range(1, 15):
        second(at, 50.0)
        scenario.then_nothing() if at > 1 else None
        assert payloads(scenario.after(seconds=1).outputs, SignalRaised) == []
    second(15, 0.0)
    raised = scenario.only(SignalRaised)
    assert (raised.sli, raised.windows[0].short_burn_milli) == ("latency", 16_666)


def test_good_events_that_are_on_their_way_do_not_pass_for_bad_ones() -> None:
    scenario = watching(documents([objective("fast", FAST, SliKind.LATENCY)]))
    for at in range(1, 20):
        scenario.when(batch(series("requests", [100.0], at))).then_nothing()
        assert payloads(scenario.after(seconds=1).outputs, SignalRaised) == []
        scenario.when(batch(series("bucket", [100.0], at, le="250"))).then_nothing()
    for at in range(20, 26):
        scenario.when(batch(series("requests", [100.0], at)))
        scenario.after(seconds=1)
    assert "fast" in scenario.state.services["cart"].memory.signals


def test_each_sample_of_a_threshold_indicator_is_an_event() -> None:
    alert = BurnAlert(long_window_ms=12_000, short_window_ms=3_000, burn_rate_milli=10_000, min_events=2)
    scenario = watching(documents([objective("room", ROOM, SliKind.SATURATION, [alert])]))
    gauge = SeriesKind.GAUGE
    scenario.when(batch(series("requests", [1.0], 1), series("memory", [100.0, 99.0], 0.2, 0.4, kind=gauge)))
    scenario.then_nothing()
    scenario.when(batch(series("memory", [100.5], 0.6, kind=gauge)))
    assert scenario.only(SignalRaised).windows[0].short_burn_milli == 33_333


def test_a_subset_of_attributes_selects_bad_events() -> None:
    failed = RatioIndicator(bad=Selector(metric="requests", attributes={"status": "500"}),
                            total=Selector(metric="requests"))  # fmt: skip
    scenario = watching(documents([objective("up", failed, SliKind.AVAILABILITY)]))
    scenario.when(batch(series("requests", [95.0], 1, status="200"), series("requests", [5.0], 1, status="500")))
    assert scenario.only(SignalRaised).windows[0].short_burn_milli == 5_000


def test_poor_telemetry_and_few_events_lower_confidence() -> None:
    def seen(bad: int, total: int) -> AlertView:
        short = Counted(bad * 1000, total * 1000)
        return AlertView(PAGE, short, short, short.burn_milli(9_900), short.burn_milli(9_900))

    assert confidence_bp(seen(50, 100), 9_900, 10_000) == 10_000
    assert confidence_bp(seen(50, 100), 9_900, 6_000) == 6_000
    assert 0 < confidence_bp(seen(2, 20), 9_900, 10_000) < confidence_bp(seen(20, 200), 9_900, 10_000) < 10_000
    assert confidence_bp(seen(0, 0), 9_900, 10_000) == 0


@pytest.mark.parametrize(
    ("bad", "total", "milli"), [(0, 0, 0), (1_000, 100_000, 1_000), (144, 1_000, 14_400), (1, 1, 100_000)]
)
def test_the_burn_rate_is_the_bad_share_over_the_allowed_share(bad: int, total: int, milli: int) -> None:
    assert Counted(bad, total).burn_milli(9_900) == milli


def test_windows_of_days_keep_memory_bounded_and_fire() -> None:
    days = [
        BurnAlert(long_window_ms=259_200_000, short_window_ms=21_600_000, burn_rate_milli=1_000),
        BurnAlert(long_window_ms=259_200_000, short_window_ms=60_000, burn_rate_milli=1_000),
    ]
    scenario = watching(documents([objective("few-errors", ERRORS, SliKind.ERRORS, days)]))
    scenario.when(traffic(1, errors=2))
    assert scenario.only(SignalRaised).windows[0].short_burn_milli == 2_000
    rings = scenario.state.services["cart"].cells.rings
    assert max(ring.size for ring in rings.values() if "slo" in ring.key and "history" not in ring.key) < 300


def test_signals_of_a_changed_objective_and_of_a_moved_service_are_cleared() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 2, errors=90)
    (raised,) = scenario.state.services["cart"].memory.signals.values()
    same = ConfigurationActivated(revision="r", documents=documents(), author="a", comment="")
    scenario.when(same).then_nothing()
    moved = ConfigurationActivated(revision="r", documents=documents(domain="depot"), author="a", comment="")
    scenario.when(moved).then(SignalCleared)
    (draft,) = scenario.outputs
    assert isinstance(draft, Draft)
    assert draft.domain == "shop"
    assert scenario.only(SignalCleared).signal_id == raised.signal_id
    seconds_of(scenario, 3, 4, errors=90)
    gone = ConfigurationActivated(revision="r", documents=documents([], domain="depot"), author="a", comment="")
    scenario.when(gone).then(SignalCleared)


def test_data_survives_an_activation_that_changes_only_a_threshold() -> None:
    stricter = PAGE.model_copy(update={"burn_rate_milli": 500})
    scenario = watching(documents([objective("few-errors", ERRORS, SliKind.ERRORS, [PAGE])]))
    seconds_of(scenario, 1, 3, errors=1)
    docs = documents([objective("few-errors", ERRORS, SliKind.ERRORS, [stricter])])
    scenario.events(ConfigurationActivated(revision="r", documents=docs, author="a", comment=""))
    scenario.after(seconds=1)
    assert scenario.only(SignalRaised).windows[0].long_burn_milli == 1_000


def test_a_running_count_is_differenced_and_its_reset_noticed() -> None:
    scenario = watching()
    running = SeriesKind.CUMULATIVE
    scenario.when(batch(series("requests", [1_000.0, 1_100.0, 30.0], 0.2, 0.4, 0.6, kind=running),
                        series("errors", [7.0, 7.0, 13.0], 0.2, 0.4, 0.6, kind=running)))  # fmt: skip
    assert scenario.only(SignalRaised).windows[0].short_burn_milli == 6 * 100_000 // 130
