"""The envelope of every event, the position of every record, and the pair of them that an agent is given."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from autopilot.schemas.contract import Contract, Payload, TimestampUs, described

P = TypeVar("P", bound=Payload, covariant=True)


class Position(NamedTuple):
    """Where a record stands: Kafka topic, partition and offset. Orders by topic, then partition, then offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Envelope(Contract):
    """Who said it, when, about what, and because of which event. Minted by the runtime, never by an agent."""

    event_id: str = described("UUIDv5 of run, producer, cause position and ordinal; of the content for outside events.")
    run: str = described("Which run the event belongs to: `live`, `shadow:NAME` or `simulation:NAME`.")
    correlation_id: str = described("The incident that the event belongs to; empty before there is one.")
    causation_id: str = described("`event_id` of the event that caused this one; empty for outside events.")
    cause_topic: str = described("Topic of the causing record; empty for outside events.")
    cause_partition: int = described("Partition of the causing record; -1 for outside events.")
    cause_offset: int = described("Offset of the causing record; -1 for outside events.")
    occurred_at_us: TimestampUs = described("Time of the cause, for logic; receipt time for outside events.")
    domain: str = described("Unit of governance and blast radius; empty on broadcasts and on telemetry.")
    service: str = described("The service that the event is about; empty where it is about none.")
    producer: str = described("Name of the agent or process that said it.")

    @property
    def cause(self) -> Position | None:
        """The causing record's position, or None for an event from outside."""
        return Position(self.cause_topic, self.cause_partition, self.cause_offset) if self.cause_topic else None


@dataclass(frozen=True, slots=True)
class Event(Generic[P]):
    """An envelope and its payload."""

    envelope: Envelope
    payload: P

    @property
    def type(self) -> str:
        """The event type's name."""
        return type(self.payload).__name__


@dataclass(frozen=True, slots=True)
class Recorded(Generic[P]):
    """An event as it stands in the log.

    `signed_by` is the principal whose key in force at this position made a valid signature, None without one. The
    runtime checks it; an agent only compares names. `recorded_at_ms` is Kafka's record timestamp: projections measure
    latencies with it, logic never reads it.
    """

    position: Position
    event: Event[P]
    signed_by: str | None = None
    recorded_at_ms: int = 0

    @property
    def payload(self) -> P:
        """The event's payload."""
        return self.event.payload

    @property
    def envelope(self) -> Envelope:
        """The event's envelope."""
        return self.event.envelope


@dataclass(frozen=True, slots=True)
class Draft:
    """What an agent wants recorded: a payload and its address. The runtime mints the envelope."""

    payload: Payload
    domain: str
    service: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An agent's word that its input breaks the contract. The runtime puts the raw record into dead-letters with it.

    Names the field, the value that was seen and what was expected, so that a person can act on it.
    """

    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"`{self.field}` is {self.value}, expected {self.expected}"


Output = Draft | Rejection
"""What `handle` returns a sequence of."""
