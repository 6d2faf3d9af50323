"""What an agent is: a name, the topic that it reads, and a fold.

`handle` is total, deterministic and does no I/O. Time is data: a telemetry timestamp or a `Tick`. The state belongs to
the runtime, which passes it in, snapshots it and drops it; an agent object holds no facts of the world, only caches
of pure functions (such as compiled expressions). `handle` may change the state's containers in place and return it.

States are dataclasses or pydantic models of plain values; `dump_state` must give the same bytes for equal states that
were reached by the same events, whether or not a snapshot was taken in between.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

from pydantic import TypeAdapter

from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Output, Recorded

S = TypeVar("S")


class Agent(Protocol[S]):
    """One of the five agents."""

    name: str
    reads: Topic
    handles: frozenset[type[Payload]]
    """The event types that `handle` is called with; the runtime skips all others without decoding them."""

    def initial_state(self) -> S:
        """The state before the first record of a partition."""
        ...

    def handle(self, state: S, recorded: Recorded[Payload]) -> tuple[S, Sequence[Output]]:
        """The state after `recorded`, and what is to be recorded because of it."""
        ...

    def dump_state(self, state: S) -> bytes:
        """The state as bytes, for snapshots and digests."""
        ...

    def load_state(self, data: bytes) -> S:
        """The state of those bytes."""
        ...


@runtime_checkable
class BatchingAgent(Agent[S], Protocol[S]):
    """An agent with a faster way over many records, under the law: batch = fold."""

    def handle_batch(self, state: S, batch: Sequence[Recorded[Payload]]) -> tuple[S, Sequence[Sequence[Output]]]:
        """The fold of `handle` over `batch`; outputs for each record. A faster way must give equal results."""
        ...


class FoldingAgent(ABC, Generic[S]):
    """The parts of an agent that follow from the others: inherit it and give `state_type` and `handle`."""

    state_type: TypeAdapter[S]

    @abstractmethod
    def handle(self, state: S, recorded: Recorded[Payload]) -> tuple[S, Sequence[Output]]:
        """See `Agent.handle`."""

    def dump_state(self, state: S) -> bytes:
        """The state as JSON."""
        return self.state_type.dump_json(state)

    def load_state(self, data: bytes) -> S:
        """The state of that JSON."""
        return self.state_type.validate_json(data)
