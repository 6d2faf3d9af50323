"""`services`: each service of the fleet with its telemetry quality, open signals and incidents, and observed targets.

A service's row belongs to the partition of its domain, which is in its key, and is changed by that partition's events
alone. A service that moves to another domain begins anew there.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection
from autopilot.projections.rows import NOTE, Row, Rows
from autopilot.schemas.configuration import Fleet
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.observer import (
    BaselineSummarised,
    SignalCleared,
    SignalRaised,
    SignalUpdated,
    TelemetryQualityChanged,
)
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.partition import partition_of


class SignalRow(BaseModel):
    """A signal that has not cleared."""

    model_config = ConfigDict(frozen=True)

    kind: str
    severity: str
    slo: str
    summary: str
    raised_at_ms: int


class IndicatorRow(BaseModel):
    """An objective's indicator over the last summary period."""

    model_config = ConfigDict(frozen=True)

    good: float
    total: float


class ServiceRow(BaseModel):
    """One service."""

    model_config = ConfigDict(frozen=True)

    service: str
    domain: str
    partition: int = Field(description="partition of the log in which its domain is governed")
    tier: int
    owner: str
    autonomy: str
    quality_bp: int | None = Field(description="worst of its telemetry's quality scores; null until one was reported")
    quality_reason: str
    signals: dict[str, SignalRow] = Field(description="open signals, by id")
    incidents: list[str] = Field(description="open incidents")
    targets: dict[str, dict[str, str]] = Field(description="state of each target as last observed, by `driver/target`")
    indicators: dict[str, IndicatorRow] = Field(description="by objective, over the last summary period")
    changed_at_ms: int


def services(partitions: int) -> Projection:
    """The projection for a log of so many partitions."""

    def activated(rows: Rows, recorded: Recorded[ConfigurationActivated]) -> None:
        fleets = [Fleet.model_validate_json(d.content) for d in recorded.payload.documents if d.kind == "Fleet"]
        if fleets:
            _settle(rows, recorded, fleets, partitions)

    handlers: Mapping[type[Payload], Handler] = {
        ConfigurationActivated: activated,
        TelemetryQualityChanged: _quality,
        SignalRaised: _raised,
        SignalUpdated: _updated,
        SignalCleared: _cleared,
        IncidentOpened: _opened,
        IncidentClosed: _closed,
        TargetObserved: _observed,
        BaselineSummarised: _summarised,
    }
    return Projection("services", 1, handlers)


def _settle(rows: Rows, recorded: Recorded[ConfigurationActivated], fleets: list[Fleet], partitions: int) -> None:
    """Takes over the services that are at home in this partition, and lets go of those that no longer are."""
    here = recorded.position.partition
    placements: dict[str, int] = {}
    for fleet in fleets:
        placements |= {domain.name: domain.partition for domain in fleet.domains if domain.partition is not None}
    mine = {
        service.name: service
        for fleet in fleets
        for service in fleet.services
        if partition_of(service.domain, partitions, placements) == here
    }
    note = rows.get(_note(here)) or {"services": []}
    for name in set(note["services"]) - set(mine):
        rows.delete(_key(name, here))
    for name, service in mine.items():
        known = rows.get(_key(name, here))
        row = known if known is not None and known["domain"] == service.domain else _row(name)
        row |= {"domain": service.domain, "partition": here, "tier": service.tier, "owner": service.owner}
        row |= {"autonomy": service.autonomy.value, "changed_at_ms": recorded.recorded_at_ms}
        rows.put(_key(name, here), row)
    rows.put(_note(here), {"services": sorted(mine)})


def _row(name: str) -> Row:
    return {
        "service": name,
        "quality_bp": None,
        "quality_reason": "",
        "signals": {},
        "incidents": [],
        "targets": {},
        "indicators": {},
    }


def _note(partition: int) -> str:
    return f"{NOTE}partition/{partition:04}"


def _key(service: str, partition: int) -> str:
    return f"{service}/{partition:04}"


def _mine(rows: Rows, recorded: Recorded[Any]) -> Row | None:
    """The row of the event's service when this partition governs it."""
    return rows.get(_key(recorded.envelope.service, recorded.position.partition))


def _keep(rows: Rows, row: Row, recorded: Recorded[Any]) -> None:
    row["changed_at_ms"] = recorded.recorded_at_ms
    rows.put(_key(row["service"], row["partition"]), row)


def _quality(rows: Rows, recorded: Recorded[TelemetryQualityChanged]) -> None:
    row = _mine(rows, recorded)
    if row is not None:
        row["quality_bp"] = recorded.payload.quality.worst_bp
        row["quality_reason"] = recorded.payload.reason
        _keep(rows, row, recorded)


def _raised(rows: Rows, recorded: Recorded[SignalRaised]) -> None:
    row, signal = _mine(rows, recorded), recorded.payload
    if row is not None:
        row["signals"][signal.signal_id] = {
            "kind": signal.kind.value,
            "severity": signal.severity.value,
            "slo": signal.slo,
            "summary": signal.summary,
            "raised_at_ms": recorded.recorded_at_ms,
        }
        _keep(rows, row, recorded)


def _updated(rows: Rows, recorded: Recorded[SignalUpdated]) -> None:
    row, signal = _mine(rows, recorded), recorded.payload
    if row is not None and signal.signal_id in row["signals"]:
        row["signals"][signal.signal_id] |= {"severity": signal.severity.value, "summary": signal.summary}
        _keep(rows, row, recorded)


def _cleared(rows: Rows, recorded: Recorded[SignalCleared]) -> None:
    row = _mine(rows, recorded)
    if row is not None and row["signals"].pop(recorded.payload.signal_id, None) is not None:
        _keep(rows, row, recorded)


def _opened(rows: Rows, recorded: Recorded[IncidentOpened]) -> None:
    row = _mine(rows, recorded)
    if row is not None and recorded.payload.incident_id not in row["incidents"]:
        row["incidents"].append(recorded.payload.incident_id)
        _keep(rows, row, recorded)


def _closed(rows: Rows, recorded: Recorded[IncidentClosed]) -> None:
    row = _mine(rows, recorded)
    if row is not None and recorded.payload.incident_id in row["incidents"]:
        row["incidents"].remove(recorded.payload.incident_id)
        _keep(rows, row, recorded)


def _observed(rows: Rows, recorded: Recorded[TargetObserved]) -> None:
    row, target = _mine(rows, recorded), recorded.payload
    if row is not None:
        row["targets"][f"{target.driver}/{target.target}"] = target.state
        _keep(rows, row, recorded)


def _summarised(rows: Rows, recorded: Recorded[BaselineSummarised]) -> None:
    row = _mine(rows, recorded)
    if row is not None:
        row["indicators"] = {one.slo: {"good": one.good, "total": one.total} for one in recorded.payload.indicators}
        row["quality_bp"] = recorded.payload.quality.worst_bp
        _keep(rows, row, recorded)
