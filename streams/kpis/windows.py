"""Reading the KPIs: what the topology has said, each window once."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.kpis import Durations, Figures, KpiWindowClosed
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.reader import read


class KpiWindow(BaseModel):
    """One window as it is shown. What nothing was counted of is None, never 0."""

    model_config = ConfigDict(frozen=True)

    domain: str
    bundle: str
    bundle_digest: str
    from_us: int = Field(description="start, inclusive, microseconds since the epoch")
    until_us: int = Field(description="end, exclusive")
    window_ms: int
    decisions: int
    denied: int
    decision_latency_mean_ms: int | None
    decision_latency_max_ms: int | None
    approval_wait_mean_ms: int | None
    step_wait_mean_ms: int | None
    step_wait_max_ms: int | None
    outcomes: int = Field(description="judgements of remedies; those of rollbacks are in `figures`")
    success_bp: int | None = Field(description="share of these that were verified, in basis points")
    quality_mean_bp: int | None = Field(description="mean of the reported worst scores")
    quality_min_bp: int | None
    figures: Figures


def read_windows(kafka: Mapping[str, str], registry: SchemaRegistry, run: str = LIVE_RUN) -> list[KpiWindow]:
    """Every window on the topic, the oldest first. Raises `UnreachableError`."""
    events: Iterable[Recorded[Any]] = read(kafka, registry, str(Topic.KPIS), types=[KpiWindowClosed])
    return windows(event for event in events if event.envelope.run == run)


def windows(events: Iterable[Recorded[KpiWindowClosed]]) -> list[KpiWindow]:
    """The windows of these events, each once: one that was said again has the same id, and the last one counts."""
    by_id = {event.envelope.event_id: event for event in events}
    shown = [_shown(event.envelope.domain, event.payload) for event in by_id.values()]
    return sorted(shown, key=lambda w: (w.until_us, w.domain, w.window_ms, w.bundle_digest))


def latest(known: Iterable[KpiWindow]) -> list[KpiWindow]:
    """Of windows in the order of time, the last of each domain, length and policy."""
    return list({(w.domain, w.window_ms, w.bundle_digest): w for w in known}.values())


def _shown(domain: str, window: KpiWindowClosed) -> KpiWindow:
    figures = window.figures
    outcomes = figures.verified + figures.rejected + figures.inconclusive
    return KpiWindow(
        domain=domain,
        bundle=window.bundle,
        bundle_digest=window.bundle_digest,
        from_us=window.from_us,
        until_us=window.until_us,
        window_ms=window.window_ms,
        decisions=figures.authorized + figures.denied,
        denied=figures.denied,
        decision_latency_mean_ms=_mean(figures.decision_latency),
        decision_latency_max_ms=figures.decision_latency.max_ms if figures.decision_latency.count else None,
        approval_wait_mean_ms=_mean(figures.approval_wait),
        step_wait_mean_ms=_mean(figures.step_wait),
        step_wait_max_ms=figures.step_wait.max_ms if figures.step_wait.count else None,
        outcomes=outcomes,
        success_bp=figures.verified * 10_000 // outcomes if outcomes else None,
        quality_mean_bp=figures.quality_sum_bp // figures.quality_reports if figures.quality_reports else None,
        quality_min_bp=figures.quality_min_bp if figures.quality_reports else None,
        figures=figures,
    )


def _mean(durations: Durations) -> int | None:
    return durations.sum_ms // durations.count if durations.count else None
