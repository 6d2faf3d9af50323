"""What the verifier asks the observer for, and what it keeps of the answers."""

from collections.abc import Mapping, Sequence
from math import isfinite

from autopilot.agents.verifier.judgement import MIN_EVENTS, MIN_SAMPLES
from autopilot.agents.verifier.watch import Column, KnownPlan, Watch, Window
from autopilot.schemas.events.observer import EvidenceRange, MeasurementTaken
from autopilot.schemas.events.planner import PlanProposed, StageGate
from autopilot.schemas.events.telemetry import MeasurementRequested, history_width_us
from autopilot.schemas.identity import derived_id

SLICES = 3
"""Slices of the window after an execution; while it stays unclear, further ones are measured until the deadline."""
BUCKETS = 30
"""Buckets that the shorter of the two windows is divided into."""
SAMPLES_IN_PAIRED = 2
"""Samples of a series in a bucket that is paired with another group's of the same moment."""
SHORTEST_BUCKET_MS, LONGEST_BUCKET_MS = 1_000, 60_000
BEFORE = "before"
"""Purpose of the measurement of the time before an execution."""


def known_plan(plan: PlanProposed, domain: str, service: str) -> KnownPlan:
    """What is kept of a plan for a service."""
    wanted = plan.verification
    return KnownPlan(
        plan_id=plan.plan_id,
        plan_hash=plan.plan_hash,
        incident_id=plan.incident_id,
        domain=domain,
        service=service,
        remedy=plan.remedy,
        context=plan.basis.context,
        slo_names=tuple(wanted.slo_names),
        guard_metrics=tuple(wanted.guard_metrics),
        before_ms=wanted.before_ms,
        settle_ms=wanted.settle_ms,
        after_ms=wanted.after_ms,
        deadline_ms=wanted.deadline_ms,
        expires_at_us=plan.expires_at_us,
        gates={step.step_id: _window(step.gate, wanted.slo_names) for step in plan.steps if step.gate is not None},
        trouble_since_us=wanted.trouble_since_us,
    )


def _window(gate: StageGate, slo_names: Sequence[str]) -> Window:
    return Window(
        slo_names=tuple(gate.slo_names or slo_names),
        guard_metrics=tuple(gate.guard_metrics),
        settle_ms=gate.settle_ms,
        after_ms=gate.after_ms,
        deadline_ms=gate.deadline_ms,
        groups=tuple(gate.groups),
    )


def slice_end_us(watch: Watch, interval_ms: int) -> int:
    """Where the next slice of the window ends: it is no shorter than the time between two samples."""
    length_ms = max(watch.window.after_ms // SLICES, interval_ms, 1)
    return whole_us(watch.until_us + length_ms * 1000, interval_ms)


def whole_us(at_us: int, interval_ms: int) -> int:
    """This moment, or the next one at which a bucket of the observer's history ends.

    The observer counts the buckets that lie wholly in what it is asked for. One that lay across the end of one slice
    and the beginning of the next would be in neither, and with it what a service sends once in an interval.
    """
    if interval_ms == 0:  # the fleet does not have the service, so nothing is known of its buckets
        return at_us
    width_us = history_width_us(interval_ms)
    return -(-at_us // width_us) * width_us


def bucket_ms_of(before_ms: int, after_ms: int) -> int:
    """Width of a sample for windows of these lengths."""
    return min(max(min(before_ms, after_ms) // BUCKETS, SHORTEST_BUCKET_MS), LONGEST_BUCKET_MS)


def request_of(watch: Watch, purpose: str, from_us: int, until_us: int, interval_ms: int = 0) -> MeasurementRequested:
    """A request for samples of a stretch of time. The one before is for whatever any window compares with it.

    `interval_ms` is how often the service sends its telemetry: buckets of groups, which are paired, hold two samples.
    """
    plan, window = watch.plan, watch.window
    asked = [window] if purpose != BEFORE else [plan.whole, *plan.gates.values()]
    bucket_ms = bucket_ms_of(plan.before_ms, window.after_ms)
    if window.groups:
        bucket_ms = max(bucket_ms, SAMPLES_IN_PAIRED * interval_ms)
    stage = [watch.step_id] if watch.step_id else []
    return MeasurementRequested(
        measurement_id=derived_id("msr", watch.execution_id, watch.state, purpose, str(watch.look), *stage),
        purpose=purpose,
        slo_names=list(dict.fromkeys(slo for one in asked for slo in one.slo_names)),
        guard_metrics=list(dict.fromkeys(guard.metric for one in asked for guard in one.guards)),
        from_us=max(from_us, 0),
        until_us=until_us,
        bucket_ms=bucket_ms,
        groups=list(window.groups) if stage else [],
    )


def columns(known: Mapping[str, Column], taken: MeasurementTaken) -> dict[str, Column]:
    """The columns with the measurement's samples; what is no number is no sample."""
    added = dict(known)
    for samples in taken.samples:
        rows = zip(samples.values, samples.weights, samples.bucket_starts_us, strict=False)
        numbers = [(v, w, at) for v, w, at in rows if isfinite(v) and isfinite(w)]
        starts_us = [at for _, _, at in numbers] if "@" in samples.name or taken.purpose == BEFORE else []
        pairs = [(value, weight) for value, weight, _ in numbers]
        added[samples.name] = added.get(samples.name, Column()).plus(pairs, starts_us)
    return added


def columns_before(taken: MeasurementTaken, trouble_since_us: int) -> dict[str, Column]:
    """What the time after an execution is compared with: the time before it, in which the trouble was there.

    The time when all was well is no measure of a rollback, and hides what a remedy does. But no column is cut shorter
    than what can be judged: it reaches back for `MIN_EVENTS` events of an SLO, `MIN_SAMPLES` samples of a metric.
    """
    return {name: _since(one, name, trouble_since_us) for name, one in columns({}, taken).items()}


def _since(column: Column, name: str, at_us: int) -> Column:
    is_share = name.startswith("slo:")
    least, seen = (MIN_EVENTS if is_share else MIN_SAMPLES), 0.0
    kept: list[tuple[int, float, float]] = []
    for row in sorted(zip(column.starts_us, column.values, column.weights, strict=True), reverse=True):
        if row[0] < at_us and seen >= least:
            break
        kept.append(row)
        seen += max(row[2], 0.0) if is_share else 1
    kept.reverse()
    return Column().plus([(value, weight) for _, value, weight in kept], [at for at, _, _ in kept])


def silent(before: Mapping[str, Column], after: Mapping[str, Column]) -> tuple[str, ...]:
    """The columns with samples to which a measurement added none; `after` is `before` with its samples."""
    return tuple(name for name, one in before.items() if one.values and len(after[name].values) == len(one.values))


def joined(known: Sequence[EvidenceRange], more: Sequence[EvidenceRange]) -> tuple[EvidenceRange, ...]:
    """One range for each partition, over all of its ranges."""
    ranges: dict[tuple[str, int], EvidenceRange] = {}
    for one in (*known, *more):
        other = ranges.get((one.topic, one.partition), one)
        first = min(one.first_offset, other.first_offset)
        last = max(one.last_offset, other.last_offset)
        ranges[one.topic, one.partition] = one.model_copy(update={"first_offset": first, "last_offset": last})
    return tuple(ranges.values())
