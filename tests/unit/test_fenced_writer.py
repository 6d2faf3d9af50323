"""A writer whose client has ended tells so as a loss of ownership, however the client says it."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from autopilot.streams import kafka
from autopilot.streams.errors import LostOwnershipError
from autopilot.streams.kafka import PartitionWriter

FENCED = KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))


class Client:
    """A producer of which every call after the first transaction has begun raises."""

    def __init__(self, cause: BaseException | None) -> None:
        self._cause = cause

    def init_transactions(self, _timeout_s: float) -> None:
        """Begins."""

    def begin_transaction(self) -> None:
        """Begins."""

    def flush(self, _timeout_s: float) -> None:
        raise SystemError("flush returned NULL") from self._cause

    def abort_transaction(self, _timeout_s: float) -> None:
        raise SystemError("abort_transaction returned NULL")


@pytest.mark.parametrize(
    ("cause", "told"), [(FENCED, "_FENCED"), (None, "_FATAL: the client has ended: flush returned NULL")]
)
def test_a_fatal_error_that_python_took_for_a_fault_of_the_client_is_a_lost_ownership(
    monkeypatch: pytest.MonkeyPatch, cause: BaseException | None, told: str
) -> None:
    def client(*_: Any, **__: Any) -> Client:
        return Client(cause)

    monkeypatch.setattr(kafka, "producer", client)
    with pytest.raises(LostOwnershipError, match=told):
        PartitionWriter({}, "agent.planner.0").commit([])
