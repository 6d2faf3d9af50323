"""Telemetry points per second through the observer, per core, on events that are decoded already.

    python -m bench observer

Live records carry one sample of each series, bulk records many. The service has three objectives with the SRE
workbook's three pairs of windows; one in a thousand events is bad, so alarms are looked at and nothing fires.
"""

import time
from collections.abc import Iterator

from autopilot.agents.observer import Observer
from autopilot.schemas.configuration import (
    BurnAlert,
    Domain,
    Fleet,
    Objective,
    RatioIndicator,
    Selector,
    Service,
    ServiceLevelObjectives,
    TelemetryContract,
    ThresholdIndicator,
    document,
)
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Envelope, Event, Position, Recorded
from autopilot.schemas.events.observer import SliKind
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch
from bench.measure import Figure

START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
SERVICE = "cart"
ALERTS = [
    BurnAlert(long_window_ms=3_600_000, short_window_ms=300_000, burn_rate_milli=14_400, min_events=100),
    BurnAlert(long_window_ms=21_600_000, short_window_ms=1_800_000, burn_rate_milli=6_000, min_events=100),
    BurnAlert(long_window_ms=259_200_000, short_window_ms=21_600_000, burn_rate_milli=1_000, min_events=100),
]


def recorded(payload: Payload, offset: int, at_us: int) -> Recorded[Payload]:
    """An event as the runtime would hand it over."""
    envelope = Envelope(
        event_id=f"e{offset}", run="live", correlation_id="", causation_id="", cause_topic="", cause_partition=-1,
        cause_offset=-1, occurred_at_us=at_us, domain="", service=SERVICE, producer="bench",
    )  # fmt: skip
    return Recorded(Position(str(Topic.TELEMETRY), 0, offset), Event(envelope, payload))


def activation() -> ConfigurationActivated:
    """One service with an error, a latency and a saturation objective."""
    errors = RatioIndicator(bad=Selector(metric="errors"), total=Selector(metric="requests"))
    latency = RatioIndicator(
        good=Selector(metric="bucket", attributes={"le": "250"}), total=Selector(metric="requests")
    )
    memory = ThresholdIndicator(metric=Selector(metric="memory"), bad_above=1e9)
    indicators = ((SliKind.ERRORS, errors), (SliKind.LATENCY, latency), (SliKind.SATURATION, memory))
    objectives = [
        Objective(name=sli.value, service=SERVICE, sli=sli, objective_bp=9_900, indicator=indicator, alerts=ALERTS)
        for sli, indicator in indicators
    ]
    service = Service(
        name=SERVICE, domain="shop", tier=1, owner="o",
        telemetry=TelemetryContract(interval_ms=1_000, required_metrics=["requests", "memory"]),
    )  # fmt: skip
    documents = [
        document(Fleet(name="f", domains=[Domain(name="shop")], services=[service]).model_dump(mode="json")),
        document(ServiceLevelObjectives(name="s", objectives=objectives).model_dump(mode="json")),
    ]
    return ConfigurationActivated(revision="r", documents=documents, author="a", comment="")


def series(metric: str, kind: SeriesKind, instance: int, times: list[int], value: float, **more: str) -> Series:
    """One series of one instance."""
    attributes = {"service.instance.id": f"i{instance}", **more}
    return Series(
        metric=metric, kind=kind, unit="1", attributes=attributes, timestamps_us=times, values=[value] * len(times)
    )


def batch(from_us: int, points: int, instances: int) -> TelemetryBatch:
    """Five series of each instance, `points` samples each, a second apart."""
    times = list(range(from_us, from_us + points * SECOND_US, SECOND_US))
    made: list[Series] = []
    for i in range(instances):
        made.append(series("requests", SeriesKind.DELTA, i, times, 1000.0))
        made.append(series("errors", SeriesKind.DELTA, i, times, 1.0))
        made.append(series("bucket", SeriesKind.DELTA, i, times, 999.0, le="250"))
        made.append(series("bucket", SeriesKind.DELTA, i, times, 1000.0, le="1000"))
        made.append(series("memory", SeriesKind.GAUGE, i, times, 5e8))
    return TelemetryBatch(source="bench", series=made)


def stream(points: int, instances: int, records: int) -> Iterator[Recorded[Payload]]:
    """The configuration, then for each record a tick and the record."""
    yield recorded(activation(), 0, START_US)
    yield recorded(Tick(at_us=START_US), 1, START_US)
    for number in range(records):
        from_us = START_US + number * points * SECOND_US
        until_us = from_us + points * SECOND_US
        yield recorded(Tick(at_us=until_us), 2 * number + 2, until_us)
        yield recorded(batch(from_us, points, instances), 2 * number + 3, until_us)


def measure(points: int, instances: int, records: int) -> tuple[float, float]:
    """Points per second, and microseconds of processor time for each record; ticks are outside the figure."""
    agent = Observer()
    state = agent.initial_state()
    spent, counted = 0.0, 0
    for event in stream(points, instances, records):
        begun = time.process_time()
        state, _ = agent.handle(state, event)
        if isinstance(event.payload, TelemetryBatch):
            spent += time.process_time() - begun
            counted += 5 * instances * points
    return counted / spent, spent / records * 1e6


SHAPES = (
    ("live, 20 series x 1 point", 1, 4, 3000, ""),
    ("live, 100 series x 1 point", 1, 20, 1500, ""),
    ("bulk, 20 series x 500 points", 500, 4, 150, ">= 1 M"),
    ("bulk, 100 series x 100 points", 100, 20, 150, ">= 1 M"),
)


def figures() -> Iterator[Figure]:
    """Points a second of processor time, for each shape of record."""
    for name, points, instances, records, goal in SHAPES:
        rate, each = measure(points, instances, records)
        yield Figure(name, rate, "points/s", goal, f"{each:,.0f} us a record")
