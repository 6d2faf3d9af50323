"""A small fleet, its objectives and its telemetry, for the observer's tests."""

from collections.abc import Sequence
from typing import Any

from scenario import START_US, Scenario, given

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
from autopilot.schemas.envelope import Draft, Output
from autopilot.schemas.events.observer import Severity, SliKind
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch

SECOND_US = 1_000_000
PAGE = BurnAlert(long_window_ms=12_000, short_window_ms=3_000, burn_rate_milli=10_000, min_events=10)
TICKET = BurnAlert(
    severity=Severity.TICKET, long_window_ms=24_000, short_window_ms=6_000, burn_rate_milli=2_000, min_events=10
)
ERRORS = RatioIndicator(bad=Selector(metric="errors"), total=Selector(metric="requests"))
FAST = RatioIndicator(good=Selector(metric="bucket", attributes={"le": "250"}), total=Selector(metric="requests"))
ROOM = ThresholdIndicator(metric=Selector(metric="memory"), bad_above=100.0)
CONTRACT = TelemetryContract(
    interval_ms=1_000, required_metrics=["requests"], stale_after_ms=4_000, lost_after_ms=8_000
)


def objective(
    name: str, indicator: RatioIndicator | ThresholdIndicator, sli: SliKind, alerts: list[BurnAlert] | None = None
) -> Objective:
    return Objective(
        name=name, service="cart", sli=sli, objective_bp=9_900, indicator=indicator,
        alerts=[PAGE, TICKET] if alerts is None else alerts,
    )  # fmt: skip


def documents(
    objectives: Sequence[Objective] | None = None,
    contract: TelemetryContract = CONTRACT,
    services: tuple[str, ...] = ("cart",),
    domain: str = "shop",
) -> list[Document]:
    fleet = Fleet(
        name="f",
        domains=[Domain(name=domain)],
        services=[Service(name=name, domain=domain, tier=1, owner="o", telemetry=contract) for name in services],
    )
    if objectives is None:
        objectives = [objective("few-errors", ERRORS, SliKind.ERRORS)]
    slos = ServiceLevelObjectives(name="s", objectives=list(objectives))
    return [document(doc.model_dump(mode="json")) for doc in (fleet, slos)]


def watching(docs: Sequence[Document] | None = None) -> Scenario:
    """An observer of `cart` after its first tick."""
    return given(Observer(), documents() if docs is None else docs, service="cart").after(seconds=1)


def series(
    metric: str,
    values: Sequence[float],
    *times_s: float,
    kind: SeriesKind = SeriesKind.DELTA,
    unit: str = "1",
    **attributes: str,
) -> Series:
    """Samples at seconds after the scenario's start."""
    return Series(
        metric=metric, kind=kind, unit=unit, attributes=attributes,
        timestamps_us=[START_US + round(at * SECOND_US) for at in times_s], values=list(values),
    )  # fmt: skip


def batch(*some: Series) -> TelemetryBatch:
    return TelemetryBatch(source="test", series=list(some))


def traffic(at_s: float, requests: float = 100.0, errors: float = 0.0) -> TelemetryBatch:
    """One second of traffic."""
    return batch(series("requests", [requests], at_s), series("errors", [errors], at_s))


def seconds_of(scenario: Scenario, first_s: int, last_s: int, **amounts: Any) -> list[Output]:
    """Traffic and ticks, a second each, up to and including `last_s`: all that was said."""
    said: list[Output] = []
    for second in range(first_s, last_s + 1):
        said += scenario.when(traffic(second, **amounts)).outputs
        said += scenario.after(seconds=1).outputs
    return said


def payloads(said: Sequence[Output], *kinds: type) -> list[Any]:
    return [one.payload for one in said if isinstance(one, Draft) and isinstance(one.payload, kinds)]
