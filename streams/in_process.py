"""The in-process runner: the same agents over in-memory topics under a virtual clock. Deterministic, no threads.

    runner = InProcess([Observer(), Planner(), ...], start_us=0)
    runner.configure(documents, author=key)
    runner.pipe(TelemetryBatch(...), service="checkout")
    runner.advance(seconds=30)
    runner.read(Topic.LOG, PlanProposed)

Records pass through the codec as they would through Kafka, so what is tested is what runs. Whatever answers the
effector's part of the log (a fake driver in a test, a declared model in a simulation) is a `Responder`. What an agent
says is signed with the key of its name among `keys`, where there is one; what responders say, with the effector's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from autopilot.agents.agent import Agent
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Position, Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.identity import LIVE_RUN, digest_of
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing, Record
from autopilot.streams.trust import SIGNS

P = TypeVar("P", bound=Payload)
Responder = Callable[[Recorded[Payload]], Iterable[Draft]]
"""Sees every event of the log in order, and gives the drafts that answer it at the same virtual moment."""

SECOND_US = 1_000_000


class InProcess:
    """The topics, the agents' folds and the clock."""

    def __init__(
        self,
        agents: Sequence[Agent[Any]],
        *,
        start_us: int,
        partitions: int = 1,
        run: str = LIVE_RUN,
        keys: Iterable[SigningKey] = (),
        responders: Sequence[Responder] = (),
        tick_us: int = SECOND_US,
    ) -> None:
        self.codec = Codec(BundledRegistry())
        self.now_us = start_us
        self.partitions = partitions
        self.run = run
        self.topics: dict[str, list[list[Record]]] = {str(t): [[] for _ in range(partitions)] for t in Topic}
        self._tick_us = tick_us
        self._placements: dict[str, int] = {}
        self._responders = responders
        self._answered = [0] * partitions
        keys_of = {key.principal: key for key in keys}
        self._effector = Mint(self.codec, "effector", partitions, run, keys_of.get("effector"), SIGNS["effector"])
        self._folds: list[tuple[PartitionFold[Any], list[Record]]] = []
        for agent in agents:
            mint = Mint(
                self.codec, agent.name, partitions, run, keys_of.get(agent.name), SIGNS.get(agent.name, frozenset())
            )
            for partition in range(partitions):
                fold = PartitionFold(agent, self.codec, mint, reads_run=run)
                self._folds.append((fold, self.topics[str(agent.reads)][partition]))

    # -- verbs -------------------------------------------------------------------------------------------------------

    def pipe(
        self,
        payload: Payload,
        *,
        domain: str = "",
        service: str = "",
        correlation_id: str = "",
        producer: str = "outside",
        key: SigningKey | None = None,
    ) -> None:
        """Records an event from outside at the present virtual time and lets all agents run until they are idle."""
        self.append(
            payload, domain=domain, service=service, correlation_id=correlation_id, producer=producer, key=key
        )  # fmt: skip
        self.settle()

    def append(
        self,
        payload: Payload,
        *,
        domain: str = "",
        service: str = "",
        correlation_id: str = "",
        producer: str = "outside",
        key: SigningKey | None = None,
    ) -> None:
        """Records an event as `pipe` does and lets nobody run yet: for bulk, before one `settle`."""
        draft = Draft(payload, domain, service, correlation_id)
        mint = Mint(self.codec, producer, self.partitions, self.run, key, frozenset({payload.event_type()}))
        if payload.broadcast:
            self._append(mint.broadcast(draft, self.now_us))
        else:
            self._append([mint.from_outside(draft, self.now_us, self._placements)])

    def append_raw(self, topic: Topic, partition: int, value: bytes, headers: dict[str, bytes] | None = None) -> None:
        """Puts raw bytes on a topic, as a broken producer would."""
        self._append([Outgoing(str(topic), partition, b"", value, headers or {})])
        self.settle()

    def configure(self, documents: Sequence[Document], author: SigningKey) -> None:
        """Activates configuration as `author`."""
        ordered = sorted(documents, key=lambda doc: (doc.kind, doc.name))
        revision = digest_of("\n".join(doc.digest for doc in ordered))
        activation = ConfigurationActivated(revision=revision, documents=ordered, author=author.principal, comment="")
        self.pipe(activation, producer=author.principal, key=author)
        self._placements = self._folds[0][0].runtime.placements if self._folds else {}

    def advance(self, *, seconds: float) -> None:
        """Lets virtual time pass, a tick at a time, running all agents after each."""
        until = self.now_us + round(seconds * SECOND_US)
        while self.now_us + self._tick_us <= until:
            self.now_us += self._tick_us
            self.pipe(Tick(at_us=self.now_us), producer="clock")
        self.now_us = until

    def tick(self, at_us: int) -> None:
        """Moves the clock to `at_us` by one tick, which may be as long as a recording asks for; nobody runs yet."""
        self.now_us = at_us
        self.append(Tick(at_us=at_us), producer="clock")

    def settle(self) -> None:
        """Runs every agent and responder until none has anything left to read."""
        busy = True
        while busy:
            busy = False
            for fold, records in self._folds:
                fresh = records[fold.runtime.next_offset :]
                if fresh:
                    busy = True
                    self._append(fold.step(fresh))
            busy = self._answer() or busy

    def read(self, topic: Topic = Topic.LOG, *types: type[P]) -> list[Recorded[P]]:
        """The events on a topic in order of partition and offset, only of `types` if any are given."""
        return [r for r in self._decoded(topic) if not types or isinstance(r.payload, types)]

    def states(self) -> dict[tuple[str, int], bytes]:
        """Every fold's dumped state, by agent and partition."""
        return {(fold.agent.name, i % self.partitions): fold.dump() for i, (fold, _) in enumerate(self._folds)}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _append(self, outgoing: Iterable[Outgoing]) -> None:
        for out in outgoing:
            records = self.topics[out.topic][out.partition]
            position = Position(out.topic, out.partition, len(records))
            records.append(Record(position, self.now_us // 1000, out.key, out.value, out.headers))

    def _answer(self) -> bool:
        answered = False
        for partition, records in enumerate(self.topics[str(Topic.LOG)]):
            while self._responders and self._answered[partition] < len(records):
                record = records[self._answered[partition]]
                self._answered[partition] += 1
                self._respond(Recorded(record.position, self.codec.decode(record.value)))
                answered = True
        return answered

    def _respond(self, recorded: Recorded[Payload]) -> None:
        for responder in self._responders:
            for ordinal, draft in enumerate(responder(recorded)):
                self._append([self._effector.of_cause(draft, recorded, ordinal, self._placements, self.now_us)])

    def _decoded(self, topic: Topic) -> Iterator[Recorded[Any]]:
        for partition in self.topics[str(topic)]:
            for record in partition:
                if record.headers.get("event-type", b"").decode() in EVENT_TYPES:
                    yield Recorded(record.position, self.codec.decode(record.value))
