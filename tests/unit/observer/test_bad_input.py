"""What breaks the contract is rejected whole; what is merely wrong is left out and lowers quality."""

from math import inf, nan

import pytest
from observer.watched import SECOND_US, batch, documents, payloads, seconds_of, series, traffic, watching
from scenario import START_US, Said, Scenario, given

from autopilot.agents.observer import Observer
from autopilot.agents.observer.series import MAX_SERIES
from autopilot.schemas.configuration import Principal, Role, Signers, document
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Rejection
from autopilot.schemas.events.observer import Quality, SignalRaised, TelemetryQualityChanged
from autopilot.schemas.events.runtime import AgentFaulted, DeadLettered
from autopilot.schemas.events.telemetry import MeasurementRequested, SeriesKind, TelemetryBatch
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess


def quality_after(scenario: Scenario) -> Quality:
    """The quality that is reported at the next tick."""
    scenario.after(seconds=1)
    quality: Quality = scenario.only(TelemetryQualityChanged).quality
    return quality


def counted(scenario: Scenario) -> tuple[int, int]:
    """Bad and all events, in thousandths, that the objective has seen."""
    service = scenario.state.services["cart"]
    ring = service.plan.objectives[0].summary
    period = START_US // ring.width_us
    sums: tuple[int, int] = service.cells.sums(ring, period, period)
    return sums


def test_a_service_that_the_fleet_map_does_not_know_is_rejected() -> None:
    scenario = watching().when(Said(traffic(1), service="warehouse")).then_rejected("service")
    (rejection,) = scenario.outputs
    assert isinstance(rejection, Rejection)
    assert (rejection.value, rejection.expected) == ("`warehouse`", "a service of the fleet map")


def test_before_any_fleet_map_every_service_is_unknown() -> None:
    given(Observer(), service="cart").when(traffic(1)).then_rejected("service")


def test_a_service_of_another_partition_is_rejected() -> None:
    names = ("cart", "checkout", "stock", "mail", "search")
    scenario = given(Observer(partitions=2), documents(services=names))
    here = set(scenario.state.services)
    assert 0 < len(here) < len(names)
    elsewhere = next(name for name in names if name not in here)
    scenario.when(Said(traffic(1), service=elsewhere)).then_rejected("service")


def test_an_observer_that_is_told_too_few_partitions_faults_at_once() -> None:
    runner = InProcess([Observer()], start_us=START_US, partitions=2)
    configure(runner)
    (fault,) = runner.read(Topic.LOG, AgentFaulted)
    assert "1 partitions was given partition 1" in fault.payload.error


def test_columns_of_unequal_length_are_rejected() -> None:
    broken = series("requests", [1.0], 1).model_copy(update={"values": [1.0, 2.0]})
    watching().when(batch(series("errors", [0.0], 1), broken)).then_rejected("series[1].values")


@pytest.mark.parametrize("empty", [batch(), batch(series("requests", []))])
def test_an_empty_batch_is_rejected(empty: TelemetryBatch) -> None:
    watching().when(empty).then_rejected("series")


def test_an_oversized_batch_is_rejected_and_changes_nothing() -> None:
    times = [at / 5_000 for at in range(10_001)]
    scenario = watching()
    before = scenario.agent.dump_state(scenario.state)
    scenario.when(batch(series("requests", [1.0] * 10_001, *times))).then_rejected("series")
    assert scenario.agent.dump_state(scenario.state) == before
    scenario.when(batch(series("requests", [1.0] * 10_000, *times[:-1]))).then_nothing()


@pytest.mark.parametrize("bad", [nan, inf, -inf, -1.0, 1e13])
def test_values_that_are_no_counts_are_left_out_and_lower_validity(bad: float) -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [10.0, bad, 10.0, 10.0], 0.7, 0.8, 0.9, 1.0))).then_nothing()
    assert counted(scenario) == (0, 30_000)
    quality = quality_after(scenario)
    assert (quality.validity_bp, quality.order_bp) == (7_500, 10_000)


def test_a_level_may_be_negative_but_not_infinite() -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [-5.0, inf], 0.5, 1.0, kind=SeriesKind.GAUGE)))
    assert quality_after(scenario).validity_bp == 5_000


@pytest.mark.parametrize("at_s", [60.0, -2 * 24 * 3600.0])
def test_samples_from_the_future_or_long_ago_are_left_out_and_lower_validity(at_s: float) -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [10.0], 1)), batch(series("requests", [99.0], at_s)))
    scenario.when(batch(series("requests", [10.0], 1.5)))
    assert counted(scenario) == (0, 20_000)
    quality = quality_after(scenario)
    assert (quality.validity_bp, quality.order_bp) == (6_667, 10_000)


@pytest.mark.parametrize(
    ("times", "order_bp"), [((0.5, 0.5), 5_000), ((0.5, 0.4, 0.3, 0.6), 5_000), ((0.3, 0.2, 0.4, 0.5), 7_500)]
)
def test_late_and_repeated_samples_are_left_out_and_lower_order(times: tuple[float, ...], order_bp: int) -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [10.0] * len(times), *times))).then_nothing()
    assert counted(scenario)[1] == 10_000 * len(times) * order_bp // 10_000
    quality = quality_after(scenario)
    assert (quality.validity_bp, quality.order_bp) == (10_000, order_bp)


def test_a_record_that_comes_twice_counts_once() -> None:
    scenario = watching().when(traffic(1), traffic(1)).then_nothing()
    assert counted(scenario) == (0, 100_000)


def test_a_future_sample_does_not_hide_later_good_ones() -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [10.0], 11.0, instance="fast-clock")))
    said = seconds_of(scenario, 1, 6, errors=90)
    assert len(payloads(said, SignalRaised)) == 1


def test_a_series_that_stands_twice_in_a_batch_is_taken_in_turn() -> None:
    scenario = watching()
    scenario.when(batch(series("requests", [1.0], 0.5), series("errors", [0.0], 0.5), series("requests", [2.0], 0.6)))
    assert counted(scenario) == (0, 3_000)


def test_attributes_in_another_order_are_the_same_series() -> None:
    scenario = watching()
    one = series("requests", [1.0], 0.5, a="1", b="2")
    other = series("requests", [1.0], 0.6, b="2", a="1")
    scenario.when(batch(one), batch(other))
    assert len(scenario.state.services["cart"].table.keys) == 1


def test_series_above_the_bound_are_refused_and_the_others_used() -> None:
    scenario = given(Observer(), documents(), service="cart").after(seconds=1)
    some = [series("other", [1.0], 1, number=str(number)) for number in range(MAX_SERIES + 5)]
    scenario.when(batch(*some)).then_rejected("series")
    assert len(scenario.state.services["cart"].table.keys) == MAX_SERIES
    scenario.when(batch(series("requests", [1.0], 1))).then_rejected("series")
    scenario.when(batch(series("other", [1.0], 1.5, number="7"))).then_nothing()


def test_series_that_are_silent_for_a_day_are_dropped() -> None:
    scenario = watching().when(traffic(1), batch(series("other", [1.0], 1)))
    for hour in range(26):
        scenario.after(seconds=3600)
        scenario.when(traffic(3601 + 3600 * hour))
    service = scenario.state.services["cart"]
    assert [key.metric for key in service.table.keys] == ["requests", "errors"]
    assert "metric:other" not in service.cells.rings


def request(from_s: float = 0, until_s: float = 1, bucket_ms: int = 1_000) -> MeasurementRequested:
    return MeasurementRequested(
        measurement_id="m", purpose="after", slo_names=[], guard_metrics=[], bucket_ms=bucket_ms,
        from_us=START_US + round(from_s * SECOND_US), until_us=START_US + round(until_s * SECOND_US),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (request(until_s=0), "until_us"),
        (request(bucket_ms=0), "bucket_ms"),
        (Said(request(), service="warehouse"), "service"),
    ],
)
def test_a_measurement_that_cannot_be_taken_is_rejected(asked: Said | MeasurementRequested, field: str) -> None:
    watching().when(asked).then_rejected(field)


ADA = SigningKey.from_bytes("ada", b"a" * 32)


def configure(runner: InProcess) -> None:
    signers = Signers(name="s", signers=[Principal(name="ada", public_key=ADA.public_key, roles=[Role.ADMINISTRATOR])])
    runner.configure([*documents(), document(signers.model_dump(mode="json"))], ADA)


def test_through_the_runtime_bad_batches_land_in_dead_letters_and_the_observer_goes_on() -> None:
    runner = InProcess([Observer()], start_us=START_US)
    configure(runner)
    runner.advance(seconds=1)
    runner.pipe(traffic(1), service="warehouse")
    runner.pipe(batch(), service="cart")
    runner.append_raw(Topic.TELEMETRY, 0, b"\x00\x00\x00", {"event-type": b"TelemetryBatch"})
    letters = [letter.payload for letter in runner.read(Topic.DEAD_LETTERS, DeadLettered)]
    assert sorted((le.error_class, le.field) for le in letters) == [
        ("invalid", "series"), ("invalid", "service"), ("undecodable", "value"),
    ]  # fmt: skip
    for second in range(1, 6):
        runner.pipe(traffic(second, errors=nan if second == 2 else 70.0), service="cart")
        runner.advance(seconds=1)
    (raised,) = runner.read(Topic.LOG, SignalRaised)
    assert (raised.envelope.domain, raised.envelope.service) == ("shop", "cart")
    assert raised.envelope.cause is not None
    assert raised.envelope.cause.topic == Topic.TELEMETRY
