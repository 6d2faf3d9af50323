"""`agents`: for each agent and partition of the log, what code is at work, what it last said, and what it parked.

How far an agent lags behind is no fold of the log: whoever asks compares the broker's offsets.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from autopilot.projections.projection import Handler, Projection
from autopilot.projections.rows import Row, Rows
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.runtime import AgentFaulted, AgentUpgraded

NAMES: Final = frozenset({"observer", "planner", "policy", "executor", "verifier", "effector"})
"""The producers that are agents, and the effector."""
FAULTS_KEPT: Final = 20


class Fault(BaseModel):
    """A time at which `handle` raised."""

    model_config = ConfigDict(frozen=True)

    at_ms: int
    parked: str = Field(description="the domain, or `*` for the whole partition")
    error: str
    position: str
    event_id: str


class AgentRow(BaseModel):
    """One agent in one partition of the log."""

    model_config = ConfigDict(frozen=True)

    agent: str
    partition: int
    code_digest: str = Field(description="digest of the code at work; empty while it has not said so")
    upgrades: int = Field(description="how often other code took over")
    events: int = Field(description="events said; one that nobody signs counts again in a copy")
    last_offset: int = Field(description="offset of its last event; -1 before the first")
    last_at_ms: int
    last_cause: str = Field(description="the record because of which it said that: `topic[partition]@offset`")
    parked: list[str] = Field(description="domains for which it decides nothing until other code takes over")
    faults: list[Fault] = Field(description="the last ones, newest last")


def _said(rows: Rows, recorded: Recorded[Any]) -> None:
    if recorded.envelope.producer in NAMES:
        _row_of(rows, recorded)


def _upgraded(rows: Rows, recorded: Recorded[AgentUpgraded]) -> None:
    if recorded.payload.agent not in NAMES or recorded.envelope.producer != recorded.payload.agent:
        return
    row = _row_of(rows, recorded)
    if recorded.payload.code_digest != row["code_digest"]:
        row["upgrades"] += bool(row["code_digest"])
        row["code_digest"] = recorded.payload.code_digest
        row["parked"] = []


def _faulted(rows: Rows, recorded: Recorded[AgentFaulted]) -> None:
    if recorded.envelope.producer not in NAMES:
        return
    row, fault = _row_of(rows, recorded), recorded.payload
    if any(known["event_id"] == recorded.envelope.event_id for known in row["faults"]):
        return
    row["parked"] = sorted({*row["parked"], fault.parked})
    entry = {
        "at_ms": recorded.recorded_at_ms,
        "parked": fault.parked,
        "error": fault.error,
        "position": str(recorded.position),
        "event_id": recorded.envelope.event_id,
    }
    row["faults"] = [*row["faults"], entry][-FAULTS_KEPT:]


def _row_of(rows: Rows, recorded: Recorded[Any]) -> Row:
    """The row after one more event; it is put already and may be changed further."""
    at, envelope = recorded.position, recorded.envelope
    key = f"{envelope.producer}/{at.partition:04}"
    row = rows.get(key)
    if row is None:
        row = {
            "agent": envelope.producer,
            "partition": at.partition,
            "code_digest": "",
            "upgrades": 0,
            "events": 0,
            "parked": [],
            "faults": [],
        }
    row["events"] += 1
    row["last_offset"] = at.offset
    row["last_at_ms"] = recorded.recorded_at_ms
    row["last_cause"] = str(envelope.cause or "")
    rows.put(key, row)
    return row


_HANDLERS: Mapping[type[Payload], Handler] = {
    **{model: _said for model in EVENT_TYPES.values() if model.topic is Topic.LOG and not model.broadcast},
    AgentUpgraded: _upgraded,
    AgentFaulted: _faulted,
}
AGENTS = Projection("agents", 2, _HANDLERS)
