"""Measurements on request, and the five-minute summaries: what the rings say about a stretch of time.

A measurement is put together from the history rings, whose buckets are half an interval wide. A history bucket counts
when it lies wholly within the window, in the bucket of the measurement in which it starts. Buckets without data are
left out, never filled in.

A group of series is measured apart from the first request on that names it, until a while after the last one's window:
what it was like before is not known. Its counts are given for a sample and not added up, so that groups of different
sizes can be compared.
"""

from collections.abc import Callable, Iterator

from autopilot.agents.observer.cells import Buckets, Ring
from autopilot.agents.observer.indicators import EVENT, SUMMARY_US, ObjectivePlan, OpenGroup
from autopilot.agents.observer.quality import assess
from autopilot.agents.observer.signals import Moment
from autopilot.agents.observer.state import OpenRequest, ServiceState
from autopilot.schemas.envelope import Draft, Rejection
from autopilot.schemas.events.observer import BaselineSummarised, MeasurementTaken, Samples, SliSummary
from autopilot.schemas.events.telemetry import Group, MeasurementRequested, SeriesKind

MAX_OPEN_REQUESTS = 64
"""Measurements of one service that may wait for their windows to pass."""

MAX_GROUPS = 8
"""Groups of one service that are measured apart at a time."""
MAX_GROUP_METRICS = 16
"""Metrics of one group."""
GROUP_KEPT_US = 600_000_000
"""How long a group is still measured after the last window that was asked for."""

Aggregate = Callable[[float, float], tuple[float, float]]
"""From a bucket's value and weight to the sample's value and weight."""


def request_fault(service: ServiceState, request: MeasurementRequested) -> Rejection | None:
    """Why a request cannot be taken; None for a good one."""
    if request.until_us <= request.from_us:
        return Rejection("until_us", str(request.until_us), f"later than `from_us`, {request.from_us}")
    if request.bucket_ms == 0:
        return Rejection("bucket_ms", "0", "at least 1 ms")
    if len(service.memory.requests) >= MAX_OPEN_REQUESTS:
        return Rejection("measurement_id", f"`{request.measurement_id}`", f"at most {MAX_OPEN_REQUESTS} open ones")
    return _group_fault(service, request)


def _group_fault(service: ServiceState, request: MeasurementRequested) -> Rejection | None:
    known = [group.attributes for group in service.memory.groups]
    fresh = [group for group in request.groups if group.attributes not in known]
    if len(known) + len(fresh) > MAX_GROUPS:
        return Rejection(
            "groups", f"{len(fresh)} new ones", f"at most {MAX_GROUPS} in all, of which {len(known)} stand"
        )
    if request.groups and len(request.guard_metrics) > MAX_GROUP_METRICS:
        return Rejection("guard_metrics", f"{len(request.guard_metrics)} for groups", f"at most {MAX_GROUP_METRICS}")
    return None


def open_groups(service: ServiceState, request: MeasurementRequested) -> bool:
    """Has the request's groups measured from now on; tells whether anything is that was not before."""
    slo_names = request.slo_names or [plan.objective.name for plan in service.plan.objectives]
    before = {_key(group.attributes): group for group in service.memory.groups}
    groups = dict(before)
    for asked in request.groups:
        key = _key(asked.attributes)
        known = groups.get(key, OpenGroup(attributes=asked.attributes, slo_names=[], metrics=[], until_us=0))
        groups[key] = OpenGroup(
            attributes=known.attributes,
            slo_names=list(dict.fromkeys([*known.slo_names, *slo_names])),
            metrics=list(dict.fromkeys([*known.metrics, *request.guard_metrics])),
            until_us=max(known.until_us, request.until_us),
        )
    service.memory.groups = list(groups.values())
    return any(_asked(before.get(key)) != _asked(group) for key, group in groups.items())


def close_groups(service: ServiceState, now_us: int) -> bool:
    """Ends the measuring of groups that nobody has asked for lately; tells whether there were any."""
    waiting = {_key(group.attributes) for one in service.memory.requests for group in one.request.groups}
    stay = [g for g in service.memory.groups if now_us < g.until_us + GROUP_KEPT_US or _key(g.attributes) in waiting]
    closed = len(stay) < len(service.memory.groups)
    service.memory.groups = stay
    return closed


def _key(attributes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(attributes.items()))


def _asked(group: OpenGroup | None) -> tuple[list[str], list[str]] | None:
    return None if group is None else (group.slo_names, group.metrics)


def is_due(service: ServiceState, request: MeasurementRequested, now_us: int) -> bool:
    """Whether the window has passed, with an interval's grace for samples on their way."""
    return now_us >= request.until_us + service.contract.interval_ms * 1000


def take_measurement(service: ServiceState, open_request: OpenRequest, moment: Moment) -> Draft:
    """The answer to a request whose window has passed."""
    request, plan = open_request.request, service.plan
    by_name = {objective.objective.name: objective for objective in plan.objectives}
    samples: list[Samples] = []
    missing: list[str] = []
    for name in request.slo_names or list(by_name):
        objective = by_name.get(name)
        if objective is None:
            missing.append(f"slo:{name}")
        else:
            samples.append(_samples(service, request, f"slo:{name}", "1", objective.history, _share(objective)))
    for metric in request.guard_metrics:
        ring = plan.metric_rings.get(metric)
        if ring is None:
            missing.append(f"metric:{metric}")
        else:
            unit = service.table.units[metric]
            samples.append(_samples(service, request, f"metric:{metric}", unit, ring, _level(service, metric)))
    for group in request.groups:
        samples += _group_samples(service, request, group)
    payload = MeasurementTaken(
        measurement_id=request.measurement_id,
        purpose=request.purpose,
        from_us=request.from_us,
        until_us=request.until_us,
        bucket_ms=request.bucket_ms,
        samples=samples,
        quality=assess(service, moment.now_us).quality,
        missing=missing,
        evidence=service.evidence(moment.position, request.from_us, request.until_us),
    )
    return Draft(payload, service.memory.domain, service.name, open_request.correlation_id)


def _group_samples(service: ServiceState, request: MeasurementRequested, group: Group) -> Iterator[Samples]:
    """What was asked for, of the group; a group that is not measured apart has no samples."""
    rings = next((one for one in service.plan.groups if one.group.attributes == group.attributes), None)
    for number, plan in enumerate(service.plan.objectives):
        name = plan.objective.name
        if rings is not None and number in rings.objectives and name in (request.slo_names or [name]):
            labelled = f"slo:{name}@{group.name}"
            yield _samples(service, request, labelled, "1", rings.objectives[number], _share(plan))
    for metric in request.guard_metrics:
        if rings is not None and metric in rings.metrics and metric in service.table.units:
            labelled, unit = f"metric:{metric}@{group.name}", service.table.units[metric]
            yield _samples(service, request, labelled, unit, rings.metrics[metric], _mean)


def _mean(value: float, weight: float) -> tuple[float, float]:
    return value / weight, weight


def _share(plan: ObjectivePlan) -> Aggregate:
    def aggregate(value: float, weight: float) -> tuple[float, float]:
        bad = weight - value if plan.counts_good else value
        return min(max(bad, 0.0), weight) / weight, weight / EVENT

    return aggregate


def _level(service: ServiceState, metric: str) -> Aggregate:
    kinds = {key.kind for key in service.table.keys if key.metric == metric}
    is_level = SeriesKind.GAUGE in kinds
    return lambda value, weight: (value / weight if is_level else value, weight)


def _samples(
    service: ServiceState, request: MeasurementRequested, name: str, unit: str, ring: Ring, aggregate: Aggregate
) -> Samples:
    first = -(-request.from_us // ring.width_us)
    last = request.until_us // ring.width_us - 1
    span = service.cells.span(ring, first, last)
    gathered = _gather(span, ring, request)
    newest = sorted(gathered)[-request.max_samples :]
    starts: list[int] = []
    values: list[float] = []
    weights: list[float] = []
    for bucket in newest:
        value, weight = gathered[bucket]
        if weight > 0:
            sample, behind = aggregate(value, weight)
            starts.append(request.from_us + bucket * request.bucket_ms * 1000)
            values.append(sample)
            weights.append(behind)
    return Samples(name=name, unit=unit, bucket_starts_us=starts, values=values, weights=weights)


def _gather(span: Buckets, ring: Ring, request: MeasurementRequested) -> dict[int, tuple[float, float]]:
    """Value and weight of each of the measurement's buckets, added up in order of time."""
    places = (span.numbers * ring.width_us - request.from_us) // (request.bucket_ms * 1000)
    gathered: dict[int, tuple[float, float]] = {}
    for place, value, weight in zip(places.tolist(), span.values.tolist(), span.weights.tolist(), strict=True):
        value_before, weight_before = gathered.get(place, (0.0, 0.0))
        gathered[place] = (value_before + value, weight_before + weight)
    return gathered


def summarise(service: ServiceState, now_us: int) -> list[Draft]:
    """The summary of the last whole period, once, an interval after its end."""
    until = (now_us - service.contract.interval_ms * 1000) // SUMMARY_US * SUMMARY_US
    memory = service.memory
    if memory.summarised_until_us == 0:
        memory.summarised_until_us = now_us // SUMMARY_US * SUMMARY_US
    if until <= memory.summarised_until_us:
        return []
    memory.summarised_until_us = until
    number = until // SUMMARY_US - 1
    indicators = []
    for plan in service.plan.objectives:
        value, total = service.cells.sums(plan.summary, number, number)
        good = min(value, total) if plan.counts_good else total - min(value, total)
        indicators.append(SliSummary(slo=plan.objective.name, good=good / EVENT, total=total / EVENT))
    payload = BaselineSummarised(
        from_us=until - SUMMARY_US, until_us=until, indicators=indicators, quality=assess(service, now_us).quality
    )
    return [Draft(payload, memory.domain, service.name)]
