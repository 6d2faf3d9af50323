"""A projection: a read model as a pure fold of the log.

It promises that every row depends on the events of one partition alone, or is a sum to which any partition may add.
The order in which partitions are read therefore never shows: a fresh fold gives the rows that a live one has.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autopilot.projections.rows import MemoryRows, Rows
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded

Handler = Callable[[Rows, Recorded[Any]], None]


@dataclass(frozen=True)
class Projection:
    """A name, the version of its rows' shape, and what each event type does to the rows.

    Rows of another version are never read: they stand in another folder, and are folded anew.
    """

    name: str
    version: int
    handlers: Mapping[type[Payload], Handler]

    @cached_property
    def handles(self) -> frozenset[type[Payload]]:
        """The event types that it looks at."""
        return frozenset(self.handlers)

    def apply(self, rows: Rows, recorded: Recorded[Payload]) -> None:
        """Changes `rows` by one event of a type in `handles`, the partition's next one."""
        self.handlers[type(recorded.payload)](rows, recorded)


def folded(projection: Projection, events: Iterable[Recorded[Payload]]) -> MemoryRows:
    """The rows after `events`, which must be in order within each partition."""
    rows = MemoryRows()
    for event in events:
        if type(event.payload) in projection.handles:
            projection.apply(rows, event)
    return rows
