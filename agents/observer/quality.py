"""How far a service's telemetry can be believed, in basis points, by whole numbers only.

- freshness: the newest sample of each required metric against the clock; the worst metric counts.
- completeness: usable samples against those expected from the metric's series since the quality window began; the
  worst metric counts. A series that stayed silent until it was stale while others of its metric went on is taken for
  an instance that is gone and is expected no longer.
- validity and order: invalid and late samples against those that arrived; the worst series counts.
"""

from dataclasses import dataclass

import numpy as np

from autopilot.agents.observer.cells import Ints
from autopilot.agents.observer.series import ARRIVED, INVALID, LATE, NEVER, Flags, SeriesTable
from autopilot.agents.observer.state import ServiceState
from autopilot.schemas.basis_points import percent
from autopilot.schemas.configuration import TelemetryContract
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.observer import Quality, TelemetryQualityChanged

FULL_BP = 10_000
LEVELS = (4_000, 7_000, 9_000)
"""Scores at which a level begins."""
RISE_BP = 500
"""How far above a level's begin a score must come before it counts as risen."""
WINDOW_INTERVALS = 10
"""Half the quality window, in intervals."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The scores, and what has the lowest one."""

    quality: Quality
    worst: str


def half_window_us(contract: TelemetryContract) -> int:
    """Length of half a quality window."""
    return max(contract.interval_ms * WINDOW_INTERVALS, 10_000) * 1000


def freshness_bp(age_us: int, contract: TelemetryContract) -> int:
    """Full until half an interval is overdue, then falling to 0 at `stale_after_ms`."""
    full_until, stale_at = contract.interval_ms * 1500, contract.stale_after_ms * 1000
    if age_us <= full_until and age_us < stale_at:
        return FULL_BP
    if age_us >= stale_at:
        return 0
    return (stale_at - age_us) * FULL_BP // (stale_at - full_until)


def newest_of_metrics(table: SeriesTable) -> Ints:
    """Time of the newest usable sample of each metric."""
    newest = np.full(len(table.metrics), NEVER, np.int64)
    np.maximum.at(newest, table.metric_of, table.newest_us)
    return newest


def newest_required_us(service: ServiceState) -> int:
    """Time of the newest usable sample of any required metric; NEVER without one."""
    table = service.table
    required = set(service.contract.required_metrics) or set(table.metrics)
    newest = newest_of_metrics(table).tolist()
    return max((at for name, at in zip(table.metrics, newest, strict=True) if name in required), default=NEVER)


def assess(service: ServiceState, now_us: int) -> Assessment:
    """The service's telemetry quality at that time."""
    table, contract = service.table, service.contract
    required = contract.required_metrics or table.metrics
    if not required:
        return Assessment(_quality(0, 0, FULL_BP, FULL_BP), "")
    place = {name: number for number, name in enumerate(table.metrics)}
    newest = newest_of_metrics(table)
    complete = _completeness(service, newest, now_us)
    scores: list[list[tuple[int, str]]] = [[], [], [], []]
    for name in required:
        known = place.get(name)
        fresh = 0 if known is None else freshness_bp(now_us - int(newest[known]), contract)
        scores[0].append((fresh, name))
        scores[1].append((0 if known is None else complete[known], name))
    wanted = set(required)
    judged = np.array([name in wanted for name in table.metrics], np.bool_)[table.metric_of]
    scores[2].append(_worst_series(table, INVALID, judged))
    scores[3].append(_worst_series(table, LATE, judged))
    lowest = [min(row, key=lambda scored: scored[0]) for row in scores]
    worst = min(lowest, key=lambda scored: scored[0])
    return Assessment(_quality(*(score for score, _ in lowest)), worst[1] if worst[0] < LEVELS[-1] else "")


def _quality(fresh: int, complete: int, valid: int, order: int) -> Quality:
    return Quality(freshness_bp=fresh, completeness_bp=complete, validity_bp=valid, order_bp=order)


def _completeness(service: ServiceState, newest: Ints, now_us: int) -> list[int]:
    table, interval_us = service.table, service.contract.interval_ms * 1000
    stale_us = now_us - service.contract.stale_after_ms * 1000
    goes_on = table.newest_us >= np.minimum(newest[table.metric_of], stale_us)
    since = np.maximum(table.first_seen_us, table.window_since_us)
    expected = np.maximum((now_us - since) // interval_us - 1, 0) * goes_on
    counts = table.counts.sum(axis=0)
    usable = np.minimum(counts[ARRIVED] - counts[INVALID] - counts[LATE], expected)
    wanted = np.zeros(len(table.metrics), np.int64)
    came = np.zeros(len(table.metrics), np.int64)
    np.add.at(wanted, table.metric_of, expected)
    np.add.at(came, table.metric_of, usable)
    return [
        FULL_BP if want == 0 else have * FULL_BP // want
        for have, want in zip(came.tolist(), wanted.tolist(), strict=True)
    ]


def _worst_series(table: SeriesTable, kind: int, judged: Flags) -> tuple[int, str]:
    counts = table.counts.sum(axis=0)
    arrived = counts[ARRIVED]
    score = np.where(judged & (arrived > 0), FULL_BP - counts[kind] * FULL_BP // np.maximum(arrived, 1), FULL_BP)
    if len(score) == 0:
        return FULL_BP, ""
    lowest = int(score.argmin())
    return int(score[lowest]), str(table.keys[lowest])


def level_after(level: int, score_bp: int) -> int:
    """The level of a score that was at `level` before: down at once, up only when it is clearly above."""
    while level > 0 and score_bp < LEVELS[level - 1]:
        level -= 1
    while level < len(LEVELS) and score_bp >= min(LEVELS[level] + RISE_BP, FULL_BP):
        level += 1
    return level


def report_change(service: ServiceState, now_us: int) -> list[Draft]:
    """What is to be said when a score has crossed a level since it was last reported."""
    if not service.table.keys:
        return []
    assessment, memory = assess(service, now_us), service.memory
    quality = assessment.quality
    now = {"freshness": quality.freshness_bp, "completeness": quality.completeness_bp,
           "validity": quality.validity_bp, "order": quality.order_bp}  # fmt: skip
    levels = [level_after(level, score) for level, score in zip(memory.levels, now.values(), strict=True)]
    if levels == memory.levels:
        return []
    was = memory.reported
    before = (was.freshness_bp, was.completeness_bp, was.validity_bp, was.order_bp)
    changes = [
        f"{name} {'rose' if level > old else 'fell'} from {percent(score_before)} to {percent(score)}"
        for (name, score), level, old, score_before in zip(now.items(), levels, memory.levels, before, strict=True)
        if level != old
    ]
    payload = TelemetryQualityChanged(
        quality=quality, previous=was, worst_series=assessment.worst, reason="; ".join(changes)
    )
    memory.levels, memory.reported = levels, quality
    return [Draft(payload, memory.domain, service.name)]
