"""A fresh count of the KPIs, from all events of a log at once. It shares no code with the topology."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.kpis import Figures
from autopilot.schemas.events.observer import BaselineSummarised, TelemetryQualityChanged
from autopilot.schemas.events.planner import IncidentOpened
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.streams.kpis.fold import DomainRow
from autopilot.streams.record import Record

Key = tuple[int, str, str, int, int]
"""Partition, domain, policy digest, length in ms, start in ms."""


def fresh_count(events: Sequence[Recorded[Any]]) -> dict[Key, Counter[str]]:
    """Every window of a log, counted from all of its events at once; each partition's are in their order."""
    windows: dict[Key, Counter[str]] = {}
    for event, digest, fact, amount in facts(events):
        for length in (60_000, 300_000):
            start = event.recorded_at_ms // length * length
            key = (event.position.partition, event.envelope.domain, digest, length, start)
            windows.setdefault(key, Counter())[fact] += amount
    return windows


def difference(log: Sequence[Recorded[Any]], kpis: Sequence[Recorded[Any]], rows: Iterable[Record] = ()) -> list[str]:
    """Where what was said about a log is not what a fresh count of it gives; none is good.

    `rows` are the records of the rows' changelog, for the windows that have not ended.
    """
    wanted, counted = fresh_count(log), said(kpis)[0] | not_ended(rows)
    findings = [f"{key} was not counted" for key in wanted if key not in counted]
    findings += [f"{key} was counted and is not in the log" for key in counted if key not in wanted]
    both = [key for key in wanted if key in counted]
    return findings + [f"{k}: {counted[k]}, expected {wanted[k]}" for k in both if counted[k] != wanted[k]]


def not_ended(rows: Iterable[Record]) -> dict[Key, Counter[str]]:
    """The windows that the latest row of each domain still holds."""
    windows: dict[Key, Counter[str]] = {}
    for record in {record.key: record for record in rows}.values():
        partition, domain = record.key.decode().split("/", 1)
        if not domain:
            continue  # the signer list that the partition is counted by
        for window in DomainRow.model_validate_json(record.value).windows:
            key = (int(partition), domain, window.policy.digest, window.length_ms, window.start_ms)
            windows[key] = named(window.figures)
    return windows


def facts(events: Sequence[Recorded[Any]]) -> Iterator[tuple[Any, str, str, int]]:
    """What each event adds: the event, the policy's digest, the name of the figure and the amount."""
    decided = [e for e in events if isinstance(e.payload, PlanAuthorized | PlanDenied)]
    digest_of = {e.payload.decision.plan_id: e.payload.decision.bundle_digest for e in decided}
    opened_at = {e.payload.incident_id: e.recorded_at_ms for e in events if isinstance(e.payload, IncidentOpened)}
    asked = [e for e in reversed(events) if isinstance(e.payload, ApprovalRequested)]
    asked_at = {e.payload.decision.plan_id: e.recorded_at_ms for e in asked if not e.payload.execution_id}
    first = {e.payload.decision.incident_id: e.position for e in reversed(decided)}
    for e in decided:
        rule = e.payload.decision
        yield e, rule.bundle_digest, type(e.payload).__name__, 1
        if first[rule.incident_id] == e.position:
            yield e, rule.bundle_digest, "latencies", 1
            yield e, rule.bundle_digest, "latency_ms", e.recorded_at_ms - opened_at[rule.incident_id]
        if rule.plan_id in asked_at:
            yield e, rule.bundle_digest, "waits", 1
            yield e, rule.bundle_digest, "wait_ms", e.recorded_at_ms - asked_at[rule.plan_id]
    yield from step_waits(events)
    for e in events:
        if isinstance(e.payload, OutcomeVerified | OutcomeRejected | OutcomeInconclusive):
            judged = e.payload.outcome
            name = "rollbacks" if judged.phase == "rollback" else type(e.payload).__name__
            yield e, digest_of[judged.plan_id], name, 1
        elif isinstance(e.payload, TelemetryQualityChanged | BaselineSummarised) and e.envelope.domain:
            yield e, "", "reports", 1
            yield e, "", "quality", min(e.payload.quality.model_dump().values())


def step_waits(events: Sequence[Recorded[Any]]) -> Iterator[tuple[Any, str, str, int]]:
    """What each request for a held step adds, at the answer to it: the policy's first word about that step after it."""
    waiting: dict[tuple[int, str, str], Any] = {}
    for e in events:
        said_of = e.payload if isinstance(e.payload, AuthorizationRevoked) else getattr(e.payload, "decision", None)
        step = (e.position.partition, getattr(said_of, "plan_id", ""), getattr(e.payload, "step_id", ""))
        if isinstance(e.payload, ApprovalRequested) and e.payload.execution_id:
            waiting[step] = e
        elif isinstance(e.payload, StepAuthorized | AuthorizationRevoked) and step in waiting:
            request = waiting.pop(step)
            digest = request.payload.decision.bundle_digest
            yield e, digest, "step_waits", 1
            yield e, digest, "step_wait_ms", e.recorded_at_ms - request.recorded_at_ms


def said(events: Sequence[Recorded[Any]]) -> tuple[dict[Key, Counter[str]], int]:
    """The windows that the topology said, each once, and how often any was said again; what is said again is the same.

    `events` are those of the KPIs' topic.
    """
    by_id: dict[str, Recorded[Any]] = {}
    for e in events:
        assert by_id.setdefault(e.envelope.event_id, e).payload == e.payload
    windows: dict[Key, Counter[str]] = {}
    for e in by_id.values():
        window, figures = e.payload, e.payload.figures
        key = (
            e.position.partition,
            e.envelope.domain,
            window.bundle_digest,
            window.window_ms,
            window.from_us // 1_000,
        )
        assert key not in windows
        windows[key] = named(figures)
        assert sum(figures.decision_latency.below_ms.values()) == figures.decision_latency.count
    return windows, len(events) - len(by_id)


def named(figures: Figures) -> Counter[str]:
    """Figures under the names of the facts that they count."""
    return Counter(
        PlanAuthorized=figures.authorized,
        PlanDenied=figures.denied,
        latencies=figures.decision_latency.count,
        latency_ms=figures.decision_latency.sum_ms,
        waits=figures.approval_wait.count,
        wait_ms=figures.approval_wait.sum_ms,
        step_waits=figures.step_wait.count,
        step_wait_ms=figures.step_wait.sum_ms,
        OutcomeVerified=figures.verified,
        OutcomeRejected=figures.rejected,
        OutcomeInconclusive=figures.inconclusive,
        rollbacks=figures.rollbacks,
        reports=figures.quality_reports,
        quality=figures.quality_sum_bp,
    )
