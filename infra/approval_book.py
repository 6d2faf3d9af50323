"""What the approval gateway knows of the log: folded on from where it was read last, not from the beginning each time.

It counts what the agents count: see `projections/admission.py` and `projections/hearing.py`.
"""

import threading
from collections.abc import Mapping

from autopilot.projections.admission import Admission
from autopilot.projections.approvals import AWAITING_APPROVAL, PendingApproval, oldest_first
from autopilot.projections.hearing import Hearing
from autopilot.projections.rows import MemoryRows
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Principal
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.policy import ApprovalRequested
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.reader import read_raw


class ApprovalBook:
    """The requests of the live run. For several threads at once."""

    def __init__(self, kafka: Mapping[str, str], registry: SchemaRegistry) -> None:
        self._kafka = kafka
        self._admission = Admission(Codec(registry), AWAITING_APPROVAL.handles, {}, LIVE_RUN)
        self._hearing = Hearing()
        self._rows = MemoryRows()
        self._next: dict[int, int] = {}
        self._requests: dict[str, int] = {}
        self._lock = threading.Lock()

    def pending(self) -> list[PendingApproval]:
        """The requests that wait for people now, oldest first."""
        with self._lock:
            self._catch_up()
            return oldest_first(PendingApproval.model_validate(row) for row in self._rows.shown())

    def partition_of(self, approval_id: str) -> int | None:
        """Where a request stands, answered or not; None when there never was one."""
        with self._lock:
            if approval_id not in self._requests:
                self._catch_up()
            return self._requests.get(approval_id)

    def signers(self) -> list[Principal]:
        """Everyone whose key is in force now. Activations are broadcast, so one partition tells it all."""
        with self._lock:
            self._catch_up()
            return self._admission.configurations.get(0, Configuration()).signers()

    def _catch_up(self) -> None:
        for record in read_raw(self._kafka, str(Topic.LOG), start=self._next):
            recorded = self._hearing.take(self._admission, record)
            if recorded is not None and type(recorded.payload) in AWAITING_APPROVAL.handles:
                AWAITING_APPROVAL.apply(self._rows, recorded)
            if recorded is not None and isinstance(recorded.payload, ApprovalRequested):
                self._requests[recorded.payload.approval_id] = record.position.partition
            self._next[record.position.partition] = record.position.offset + 1
