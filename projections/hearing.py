"""What a view has heard of signed words: a copy of them, at a later offset or elsewhere, is not shown once more.

It is the rule of the agents (`streams/repetition.py`). Each view remembers on its own, of the types that it looks at:
what it has heard goes with its rows and offsets, whoever else reads the log beside it.
"""

from collections.abc import Mapping

from autopilot.projections.admission import Admission
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.streams.record import Record
from autopilot.streams.repetition import Heard, check_repetition


class Hearing:
    """The memory of one view, by partition. Bounded: the last words of each process, and a day's of everybody else."""

    def __init__(self, heard: Mapping[int, Heard] | None = None) -> None:
        self.heard = dict(heard or {})
        self.changed: set[int] = set()
        """Partitions in which something was heard; for whoever stores it, who clears this."""

    def is_news(self, recorded: Recorded[Payload], now_us: int) -> bool:
        """Whether an admitted event counts where it stands; `now_us` is the last tick's time. Notes what does."""
        if recorded.signed_by is None or isinstance(recorded.payload, ConfigurationActivated):
            return True  # an activation is judged by the one in force
        partition = recorded.position.partition
        heard = self.heard.setdefault(partition, Heard())
        if check_repetition(recorded, recorded.event, recorded.signed_by, heard, now_us) is not None:
            return False
        self.changed.add(partition)
        return True

    def take(self, admission: Admission, record: Record) -> Recorded[Payload] | None:
        """The event, or None when it does not count; for whoever reads the log from its beginning for one purpose."""
        recorded = admission.admit(record)
        if recorded is None or not self.is_news(recorded, admission.now_us.get(record.position.partition, 0)):
            return None
        return recorded
