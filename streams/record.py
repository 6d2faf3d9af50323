"""Raw Kafka records, and the names of the headers that every record of the system bears."""

from dataclasses import dataclass
from typing import NamedTuple

from autopilot.schemas.envelope import Position

EVENT_TYPE = "event-type"
"""Header: the event type's name, so that a reader skips what it does not handle without decoding it."""
RUN = "run"
"""Header: the run, so that a shadow's events are skipped without decoding them."""
SIGNATURE = "signature"
"""Header: the Ed25519 signature, where there is one."""
ARCHIVED_OFFSET = "archived-offset"
"""Header: the original offset of a record that was restored from an archive."""
TRACEPARENT = "traceparent"
"""Header: W3C trace context; one incident is one trace."""

Headers = dict[str, bytes]


class Record(NamedTuple):
    """A record as it was read."""

    position: Position
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers
