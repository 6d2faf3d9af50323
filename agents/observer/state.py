"""What the observer remembers of a partition, and its form as bytes."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from autopilot.agents.observer.cells import EMPTY, Cells, Ring
from autopilot.agents.observer.indicators import OpenGroup, Plan, make_plan, ring_keys
from autopilot.agents.observer.series import SeriesKey, SeriesTable
from autopilot.schemas.configuration import Configuration, Objective, Service, TelemetryContract
from autopilot.schemas.contract import Contract
from autopilot.schemas.envelope import Position
from autopilot.schemas.events.observer import EvidenceRange, Quality, Severity
from autopilot.schemas.events.telemetry import MeasurementRequested, SeriesKind

MAX_RECORD_MARKS = 512
"""Marks of where records stand that are kept for evidence, for each service."""
UNKNOWN_QUALITY = Quality(freshness_bp=0, completeness_bp=0, validity_bp=0, order_bp=0)
"""What counts as last reported before anything was."""


class RaisedSignal(Contract):
    """A signal that is not cleared yet. `fired` numbers the alerts that have fired since it was raised."""

    signal_id: str
    severity: Severity
    reported_milli: int
    fired: list[int]


class OpenRequest(Contract):
    """A measurement that is to be taken once its window has passed."""

    request: MeasurementRequested
    correlation_id: str


class RecordMark(Contract):
    """Records whose newest samples fall into one stretch of time: the first and the last offset."""

    bucket: int
    first_offset: int
    last_offset: int


@dataclass
class Memory:
    """What is remembered of a service besides its series and rings."""

    domain: str
    known_since_us: int
    signals: dict[str, RaisedSignal] = field(default_factory=dict)
    lost: RaisedSignal | None = None
    cleared_us: dict[str, int] = field(default_factory=dict)
    """When the last signal of an objective cleared, for those that have had one."""
    reported: Quality = UNKNOWN_QUALITY
    levels: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    marks: list[RecordMark] = field(default_factory=list)
    requests: list[OpenRequest] = field(default_factory=list)
    summarised_until_us: int = 0
    groups: list[OpenGroup] = field(default_factory=list)


_MEMORY = TypeAdapter(Memory)


@dataclass
class ServiceState:
    """One service: what is configured for it, what is remembered, and what follows from both (`plan`)."""

    name: str
    contract: TelemetryContract
    objectives: list[Objective]
    memory: Memory
    table: SeriesTable = field(default_factory=SeriesTable)
    cells: Cells = field(default_factory=Cells)
    plan: Plan = field(default_factory=lambda: Plan([]))

    def replan(self, *, tidy: bool = False) -> None:
        """Makes the plan anew; when `tidy`, rings that it does not use are dropped."""
        known = self.contract, self.objectives, self.table.keys, self.memory.groups
        self.plan = make_plan(self.cells, *known)
        if tidy:
            self.cells.keep(ring_keys(self.plan))
            self.plan = make_plan(self.cells, *known)

    def mark(self, position: Position, newest_us: int) -> None:
        """Remembers where a record stands whose newest sample has that time."""
        bucket, marks, offset = newest_us // (self.contract.interval_ms * 1000), self.memory.marks, position.offset
        if marks and marks[-1].bucket >= bucket:
            marks[-1] = RecordMark(
                bucket=marks[-1].bucket, first_offset=marks[-1].first_offset, last_offset=offset
            )  # fmt: skip
            return
        marks.append(RecordMark(bucket=bucket, first_offset=offset, last_offset=offset))
        if len(marks) > MAX_RECORD_MARKS:
            del marks[0]

    def evidence(self, position: Position, from_us: int, until_us: int | None = None) -> list[EvidenceRange]:
        """The records with samples of that time, as far as they are remembered."""
        width = self.contract.interval_ms * 1000
        until = None if until_us is None else until_us // width
        found = [m for m in self.memory.marks if m.bucket >= from_us // width and (until is None or m.bucket <= until)]
        if not found:
            return []
        return [
            EvidenceRange(
                topic=position.topic, partition=position.partition,
                first_offset=found[0].first_offset, last_offset=found[-1].last_offset,
            )
        ]  # fmt: skip


@dataclass
class ObserverState:
    """A partition: the last tick, the configuration in force and the services that are kept there."""

    now_us: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    partition: int = 0
    services: dict[str, ServiceState] = field(default_factory=dict)
    fleet: frozenset[str] = frozenset()


def declared(configuration: Configuration) -> dict[str, tuple[Service, list[Objective]]]:
    """Every service of the fleet with its objectives."""
    objectives: dict[str, list[Objective]] = {}
    for objective in configuration.objectives():
        objectives.setdefault(objective.service, []).append(objective)
    return {
        service.name: (service, objectives.get(service.name, []))
        for fleet in configuration.fleets()
        for service in fleet.services
    }


# -- bytes -------------------------------------------------------------------------------------------------------------


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _ints(text: str) -> NDArray[np.int64]:
    return np.frombuffer(base64.b64decode(text), "<i8").astype(np.int64)


def _floats(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), "<f8").astype(np.float64)


def _dump_cells(cells: Cells) -> dict[str, Any]:
    used = np.flatnonzero(cells.epoch != EMPTY)
    return {
        "rings": [[ring.key, ring.width_us, ring.size, ring.offset] for ring in cells.rings.values()],
        "length": len(cells.epoch),
        "used": _text(used.astype(np.int64)),
        "epoch": _text(cells.epoch[used]),
        "value": _text(cells.value[used]),
        "weight": _text(cells.weight[used]),
    }


def _load_cells(data: dict[str, Any]) -> Cells:
    length, used = data["length"], _ints(data["used"])
    cells = Cells(
        {row[0]: Ring(*row) for row in data["rings"]},
        np.full(length, EMPTY, np.int64), np.zeros(length), np.zeros(length),
    )  # fmt: skip
    cells.epoch[used] = _ints(data["epoch"])
    cells.value[used] = _floats(data["value"])
    cells.weight[used] = _floats(data["weight"])
    return cells


def _dump_table(table: SeriesTable) -> dict[str, Any]:
    return {
        "keys": [[key.metric, str(key.kind), list(key.attributes)] for key in table.keys],
        "units": table.units,
        "newest_us": _text(table.newest_us),
        "first_seen_us": _text(table.first_seen_us),
        "last_seen_us": _text(table.last_seen_us),
        "last_value": _text(table.last_value),
        "counts": _text(table.counts),
        "half_since_us": table.half_since_us,
        "window_since_us": table.window_since_us,
    }


def _load_table(data: dict[str, Any]) -> SeriesTable:
    keys = [
        SeriesKey(metric, SeriesKind(kind), tuple((name, value) for name, value in attributes))
        for metric, kind, attributes in data["keys"]
    ]
    return SeriesTable(
        keys,
        data["units"],
        _ints(data["newest_us"]),
        _ints(data["first_seen_us"]),
        _ints(data["last_seen_us"]),
        _floats(data["last_value"]),
        _ints(data["counts"]).reshape(2, 3, len(keys)),
        data["half_since_us"],
        data["window_since_us"],
    )


def dump(state: ObserverState) -> bytes:
    """The state as JSON with the arrays in base64, little-endian: the same bytes for the same state."""
    content = {
        "now_us": state.now_us,
        "partition": state.partition,
        "configuration": state.configuration.model_dump(mode="json"),
        "services": {
            name: {
                "memory": _MEMORY.dump_python(service.memory, mode="json"),
                "table": _dump_table(service.table),
                "cells": _dump_cells(service.cells),
            }
            for name, service in state.services.items()
        },
    }
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def load(data: bytes) -> ObserverState:
    """The state of those bytes."""
    content = json.loads(data)
    configuration = Configuration.model_validate_json(json.dumps(content["configuration"]))
    fleet = declared(configuration)
    state = ObserverState(content["now_us"], configuration, content["partition"], fleet=frozenset(fleet))
    for name, kept in content["services"].items():
        service, objectives = fleet[name]
        memory = _MEMORY.validate_json(json.dumps(kept["memory"]))
        loaded = ServiceState(
            name, service.telemetry, objectives, memory, _load_table(kept["table"]), _load_cells(kept["cells"])
        )
        loaded.replan()
        state.services[name] = loaded
    return state
