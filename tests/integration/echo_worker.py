"""A worker around the smallest agent, as a process that a test can kill: `BOOTSTRAP INSTANCE SNAPSHOT_EVERY`."""

import signal
import sys
import threading
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.planner import NoPlanFound
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.worker import AgentWorker, WorkerOptions


@dataclass
class Counted:
    """How many batches came from each service."""

    batches: dict[str, int] = field(default_factory=dict)


class Counting(FoldingAgent[Counted]):
    """Answers each batch with its running number within its service: a gap or a repeat is seen at once."""

    name = "counting"
    reads = Topic.TELEMETRY
    handles: frozenset[type[Payload]] = frozenset({TelemetryBatch})
    state_type = TypeAdapter(Counted)

    def initial_state(self) -> Counted:
        return Counted()

    def handle(self, state: Counted, recorded: Recorded[Payload]) -> tuple[Counted, list[Output]]:
        payload, service = recorded.payload, recorded.envelope.service
        assert isinstance(payload, TelemetryBatch)
        if payload.source == "broken":
            return state, [Rejection("source", "'broken'", "a source")]
        if payload.source == "poison":
            raise ZeroDivisionError("poisoned")
        number = state.batches[service] = state.batches.get(service, 0) + 1
        note = NoPlanFound(incident_id=service, reason=str(number), considered=[], look_at=[payload.source])
        return state, [Draft(note, "shop", service, service)]


def worker(bootstrap: str, instance: str, snapshot_every: int) -> AgentWorker:
    """A worker around `Counting`."""
    return AgentWorker(
        Counting(),
        WorkerOptions(
            kafka={"bootstrap.servers": bootstrap},
            registry=BundledRegistry(),
            partitions=4,
            instance=instance,
            snapshot_every=snapshot_every,
        ),
    )


def main() -> None:
    """Works until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker(sys.argv[1], sys.argv[2], int(sys.argv[3])).run(stop)


if __name__ == "__main__":
    main()
