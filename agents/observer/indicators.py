"""From objectives to rings: which ring each series' samples are added to, and how.

A sample of a series goes to the ring of its metric (so that any metric can be measured later) and, for each objective
whose selectors match the series, to the objective's rings: one for each width that the alerts' windows need, one for
measurements and one for summaries. Events are counted in thousandths and stay whole numbers. A group of series that is
measured apart has rings of its own for what is asked of it, from the request on and for as long as it is asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autopilot.agents.observer.cells import Cells, Floats, Ints, Ring
from autopilot.agents.observer.series import Flags, SeriesKey
from autopilot.schemas.configuration import Objective, RatioIndicator, Selector, TelemetryContract, canonical
from autopilot.schemas.contract import Contract
from autopilot.schemas.events.telemetry import history_width_us
from autopilot.schemas.identity import digest_of

FUTURE_TOLERANCE_US = 10_000_000
"""How far ahead of the last tick a sample's time may be."""
SUMMARY_US = 300_000_000
"""Length of a summary period."""
SHORT_WINDOW_BUCKETS = 6
"""Buckets of a short window; the newest one is filling up, so a window covers at least five sixths of its length."""
LONG_WINDOW_BUCKETS = 240
"""Buckets of a long window at most."""
HISTORY_US = 3_600_000_000
"""How long measurements can look back, as far as the bounds on buckets allow."""
MIN_HISTORY_BUCKETS, MAX_HISTORY_BUCKETS = 256, 2048
MAX_METRICS = 256
"""Metrics of one service that have a ring of their own; further ones can still be part of an indicator."""
EVENT = 1000.0
"""One event, in thousandths."""
MAX_EVENTS = 1e12
"""Events in one sample above which it is no plausible count."""

METRIC, VALUE, TOTAL, THRESHOLD = 0, 1, 2, 3
"""What a sample adds: itself; events to the value; events to the weight; one event, to the value too if it is bad."""


@dataclass(frozen=True, slots=True)
class AlertRings:
    """Where the two windows of an alert are counted."""

    long: Ring
    short: Ring


@dataclass(frozen=True, slots=True)
class ObjectivePlan:
    """An objective and its rings. The value of `counts_good` ones is the number of good events, of others of bad."""

    objective: Objective
    alerts: tuple[AlertRings, ...]
    history: Ring
    summary: Ring
    counts_good: bool

    @property
    def rings(self) -> list[Ring]:
        """Every ring of the objective, each once."""
        rings = [self.history, self.summary]
        for alert in self.alerts:
            rings += [alert.long, alert.short]
        return list(dict.fromkeys(rings))


@dataclass
class Targets:
    """The rings of each series' samples, as columns; those of series `s` are `start[s]` to `start[s] + count[s]`."""

    start: Ints
    count: Ints
    offset: Ints
    width_us: Ints
    size: Ints
    mode: Ints
    objective: Ints
    alarming: Flags
    above: Floats
    below: Floats


@dataclass(frozen=True, slots=True)
class Spread:
    """For each addition that some samples make: the sample it comes from, and its target's columns."""

    sample: Ints
    offset: Ints
    width_us: Ints
    size: Ints
    objective: Ints
    alarming: Flags
    above: Floats
    below: Floats
    is_metric: Flags
    is_value: Flags
    is_total: Flags
    is_threshold: Flags


@dataclass(frozen=True, slots=True)
class Gate:
    """The short windows of all alerts, a row each: what is looked at first, in one step for the whole service."""

    objective: Ints
    offset: Ints
    width_us: Ints
    size: Ints
    back: Ints
    counted: Flags
    counts_good: Flags
    fires_at: Floats
    """Threshold times the share that the objective allows: bad events times 10^7 against all events times this."""


class OpenGroup(Contract):
    """Series that are measured apart by their attributes, what of them is, and the end of the last window asked for."""

    attributes: dict[str, str]
    slo_names: list[str]
    metrics: list[str]
    until_us: int

    def has(self, key: SeriesKey) -> bool:
        """Whether the series is one of the group's. A value that ends with `*` matches by its beginning."""
        has = dict(key.attributes)
        return all(
            has.get(name, "").startswith(value[:-1]) if value.endswith("*") else has.get(name) == value
            for name, value in self.attributes.items()
        )


@dataclass(frozen=True, slots=True)
class GroupRings:
    """Where a group's samples are counted: by number of the objective, and by metric."""

    group: OpenGroup
    objectives: dict[int, Ring]
    metrics: dict[str, Ring]


@dataclass
class Plan:
    """All that follows from a service's contract, its objectives and the series seen."""

    objectives: list[ObjectivePlan]
    metric_rings: dict[str, Ring] = field(default_factory=dict)
    groups: list[GroupRings] = field(default_factory=list)
    value_series: list[Ints] = field(default_factory=list)
    total_series: list[Ints] = field(default_factory=list)
    targets: Targets | None = None
    gate: Gate | None = None
    spreads: dict[bytes, Spread] = field(default_factory=dict)


def _history(cells: Cells, key: str, contract: TelemetryContract) -> Ring:
    width = history_width_us(contract.interval_ms)
    return cells.ring(key, width, min(max(HISTORY_US // width, MIN_HISTORY_BUCKETS), MAX_HISTORY_BUCKETS))


def _window(cells: Cells, key: str, widths: dict[int, int], width_us: int) -> Ring:
    return cells.ring(f"{key}/{width_us}", width_us, widths[width_us])


def _key_of(objective: Objective) -> str:
    return f"slo:{objective.name}/{digest_of(objective.indicator.model_dump_json())[7:23]}"


def plan_group(
    cells: Cells, group: OpenGroup, contract: TelemetryContract, objectives: list[ObjectivePlan]
) -> GroupRings:
    """The group with a history ring for each thing that is asked of it."""
    key = f"group:{digest_of(canonical(group.attributes))[7:23]}"
    return GroupRings(
        group,
        {
            number: _history(cells, f"{key}/{_key_of(plan.objective)}", contract)
            for number, plan in enumerate(objectives)
            if plan.objective.name in group.slo_names
        },
        {metric: _history(cells, f"{key}/metric:{metric}", contract) for metric in group.metrics},
    )


def plan_objective(cells: Cells, objective: Objective, contract: TelemetryContract) -> ObjectivePlan:
    """The objective with its rings, which are made where they do not stand yet."""
    key = _key_of(objective)
    pairs: list[tuple[int, int]] = []
    widths: dict[int, int] = {}
    for alert in objective.alerts:
        short_us, long_us = alert.short_window_ms * 1000, alert.long_window_ms * 1000
        short = -(-short_us // SHORT_WINDOW_BUCKETS)
        long = max(short, -(-long_us // LONG_WINDOW_BUCKETS))
        pairs.append((long, short))
        for width, window_us in ((short, short_us), (long, long_us)):
            size = -(-window_us // width) + -(-FUTURE_TOLERANCE_US // width) + 2
            widths[width] = max(widths.get(width, 0), size)
    indicator = objective.indicator
    return ObjectivePlan(
        objective,
        tuple(AlertRings(_window(cells, key, widths, lo), _window(cells, key, widths, sh)) for lo, sh in pairs),
        _history(cells, f"{key}/history", contract),
        cells.ring(f"{key}/summary", SUMMARY_US, 4),
        isinstance(indicator, RatioIndicator) and indicator.bad is None and indicator.good is not None,
    )


def make_gate(objectives: list[ObjectivePlan]) -> Gate | None:
    """The short windows of these objectives' alerts; None without any."""
    rows = [
        (number, rings.short, alert, plan)
        for number, plan in enumerate(objectives)
        for alert, rings in zip(plan.objective.alerts, plan.alerts, strict=True)
    ]
    if not rows:
        return None
    buckets = [[-(-alert.short_window_ms * 1000 // ring.width_us)] for _, ring, alert, _ in rows]
    back = np.arange(SHORT_WINDOW_BUCKETS)
    return Gate(
        np.array([number for number, _, _, _ in rows], np.int64),
        np.array([[ring.offset] for _, ring, _, _ in rows], np.int64),
        np.array([[ring.width_us] for _, ring, _, _ in rows], np.int64),
        np.array([[ring.size] for _, ring, _, _ in rows], np.int64),
        back,
        back < np.array(buckets, np.int64),
        np.array([plan.counts_good for _, _, _, plan in rows], np.bool_),
        np.array([alert.burn_rate_milli * (10_000 - plan.objective.objective_bp) for _, _, alert, plan in rows], float),
    )


def matches(selector: Selector | None, key: SeriesKey) -> bool:
    """Whether a series is one of the selector's."""
    if selector is None or selector.metric != key.metric:
        return False
    has = dict(key.attributes)
    return all(has.get(name) == value for name, value in selector.attributes.items())


def _modes(objective: Objective, key: SeriesKey) -> list[int]:
    indicator = objective.indicator
    if not isinstance(indicator, RatioIndicator):
        return [THRESHOLD] if matches(indicator.metric, key) else []
    counted = indicator.bad or indicator.good
    modes = [VALUE] if matches(counted, key) else []
    return [*modes, TOTAL] if matches(indicator.total, key) else modes


def _is_alarming(mode: int, plan: ObjectivePlan) -> bool:
    return mode == THRESHOLD or (mode == TOTAL if plan.counts_good else mode == VALUE)


Row = tuple[int, int, int, int, int, bool, float, float]


def _bounds(objective: Objective) -> tuple[float, float]:
    above = getattr(objective.indicator, "bad_above", None)
    below = getattr(objective.indicator, "bad_below", None)
    return np.inf if above is None else above, -np.inf if below is None else below


def _objective_rows(number: int, plan: ObjectivePlan, key: SeriesKey) -> Iterable[Row]:
    bounds = _bounds(plan.objective)
    for mode in _modes(plan.objective, key):
        for ring in plan.rings:
            yield (ring.offset, ring.width_us, ring.size, mode, number, _is_alarming(mode, plan), *bounds)


def _rows(plan: Plan, key: SeriesKey) -> list[Row]:
    ring = plan.metric_rings.get(key.metric)
    rows: list[Row] = []
    if ring is not None:
        rows.append((ring.offset, ring.width_us, ring.size, METRIC, -1, False, np.inf, -np.inf))
    for number, objective in enumerate(plan.objectives):
        rows += _objective_rows(number, objective, key)
    for group in plan.groups:
        if group.group.has(key):
            rows += _group_rows(plan, group, key)
    return rows


def _group_rows(plan: Plan, group: GroupRings, key: SeriesKey) -> Iterable[Row]:
    ring = group.metrics.get(key.metric)
    if ring is not None:
        yield (ring.offset, ring.width_us, ring.size, METRIC, -1, False, np.inf, -np.inf)
    for number, ring in group.objectives.items():
        objective = plan.objectives[number].objective
        for mode in _modes(objective, key):
            yield (ring.offset, ring.width_us, ring.size, mode, number, False, *_bounds(objective))


def _members(plan: Plan, keys: list[SeriesKey], mode: int) -> list[Ints]:
    return [
        np.array([n for n, key in enumerate(keys) if mode in _modes(objective.objective, key)], np.int64)
        for objective in plan.objectives
    ]


def make_plan(
    cells: Cells,
    contract: TelemetryContract,
    objectives: list[Objective],
    keys: list[SeriesKey],
    groups: Sequence[OpenGroup] = (),
) -> Plan:
    """The plan for the series known now. Makes rings; a further series needs a new plan, which keeps them."""
    plan = Plan([plan_objective(cells, objective, contract) for objective in objectives])
    for metric in list(dict.fromkeys(key.metric for key in keys))[:MAX_METRICS]:
        plan.metric_rings[metric] = _history(cells, f"metric:{metric}", contract)
    plan.groups = [plan_group(cells, group, contract, plan.objectives) for group in groups]
    plan.gate = make_gate(plan.objectives)
    plan.value_series, plan.total_series = _members(plan, keys, VALUE), _members(plan, keys, TOTAL)
    per_series = [_rows(plan, key) for key in keys]
    count = np.array([len(rows) for rows in per_series], np.int64)
    columns = list(zip(*(row for rows in per_series for row in rows), strict=True)) or [()] * 8
    offset, width_us, size, mode, objective = (np.array(column, np.int64) for column in columns[:5])
    alarming = np.array(columns[5], np.bool_)
    above, below = (np.array(column, np.float64) for column in columns[6:])
    start = np.cumsum(count) - count
    plan.targets = Targets(start, count, offset, width_us, size, mode, objective, alarming, above, below)
    return plan


def ring_keys(plan: Plan) -> list[str]:
    """The keys of every ring that the plan uses."""
    keys = [ring.key for ring in plan.metric_rings.values()]
    for group in plan.groups:
        keys += [ring.key for ring in (*group.objectives.values(), *group.metrics.values())]
    return keys + [ring.key for objective in plan.objectives for ring in objective.rings]
