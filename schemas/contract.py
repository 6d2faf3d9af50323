"""The two bases of every contract: `Contract` (a frozen record) and `Payload` (the facts of one event type).

The pydantic model is the one definition; `autopilot.schemas.avro_schema` derives the Avro schema from it. Every field
carries a description with its meaning and, where it has one, its unit; the unit is also the last part of its name.

Units: `_us` microseconds since the Unix epoch (or a duration in microseconds where the description says so), `_ms`
milliseconds, `_bp` basis points (1/100 of a percent, 0..10000).
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Topic(StrEnum):
    """Every topic of the system, by its full Kafka name."""

    TELEMETRY = "autopilot.telemetry"
    LOG = "autopilot.log"
    SNAPSHOTS = "autopilot.snapshots"
    SEALS = "autopilot.seals"
    DEAD_LETTERS = "autopilot.dead-letters"
    KPIS = "autopilot.kpis"
    KPI_STATE = "autopilot.kpi-state"


TimestampUs = Annotated[int, Field(ge=0, json_schema_extra={"logicalType": "timestamp-micros"})]
"""Microseconds since the Unix epoch, UTC."""

DurationMs = Annotated[int, Field(ge=0)]
"""A duration in milliseconds."""

BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
"""A share in basis points: 10000 is the whole."""


class Contract(BaseModel):
    """A frozen record inside an event. Unknown fields are refused when built by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Payload(Contract):
    """What one event type says; the envelope around it is minted by the runtime."""

    topic: ClassVar[Topic] = Topic.LOG
    """The topic to which events of this type are written."""
    broadcast: ClassVar[bool] = False
    """Whether one transaction writes the event to every partition of both topics."""

    @classmethod
    def event_type(cls) -> str:
        """The event type's name, which is also the Avro record's name."""
        return cls.__name__


def described(description: str, **kwargs: Any) -> Any:
    """A required field with its description."""
    return Field(description=description, **kwargs)


def optional(description: str, default: Any, **kwargs: Any) -> Any:
    """A field with a default: the kind of field that may be added to a released contract."""
    return Field(default=default, description=description, **kwargs)
