"""Shadows: each candidate bundle that the log says is a shadow, as a consumer group of its own over the live log.

Which candidates there are follows from the log alone, so a host that was killed takes up the same ones. Each runs
until its bundle is activated or retired; a committed offset and a snapshot of its own say how far it has come.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace

import structlog

from autopilot.agents.policy import PolicyAgent
from autopilot.agents.policy.catalogue import BundleState
from autopilot.agents.policy.holding import PolicyState
from autopilot.agents.policy.shadow import ShadowPolicy, run_of
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.code import code_digest
from autopilot.streams.errors import UnreachableError
from autopilot.streams.fold import PartitionFold
from autopilot.streams.kafka import plain_consumer, watermarks
from autopilot.streams.mint import Mint
from autopilot.streams.reader import read_raw
from autopilot.streams.record import Outgoing
from autopilot.streams.recovery import chunks
from autopilot.streams.snapshots import load_latest
from autopilot.streams.worker import AgentWorker, WorkerOptions

LOOK_EVERY_S = 1.0
STOP_WITHIN_S = 30.0


class PolicyView:
    """The policy's state in one partition, folded here as the agent folds it: for whoever wants to know, not decide."""

    def __init__(self, kafka: Mapping[str, str], registry: SchemaRegistry, partition: int, partitions: int) -> None:
        self.partition = partition
        self.caveat = ""
        """What a person should know of where the state comes from: a snapshot that is of other code or was not used."""
        self._kafka = kafka
        self._codec = Codec(registry)
        self._mint = Mint(self._codec, PolicyAgent.name, partitions)
        self.fold = self._fresh()

    def from_snapshot(self) -> "PolicyView":
        """Brings it to the end of the log, from the newest snapshot on."""
        self.take_snapshot()
        self.advance()
        return self

    def take_snapshot(self) -> None:
        """Begins at the newest snapshot that can be used, or else at the log's begin, which gives the same state.

        The agent leaves a snapshot when it takes a partition over, so that of other code means that the agent at work
        is of other code. `caveat` says so, and why a snapshot was not used.
        """
        end = end_of(self._kafka, self.partition)
        try:
            found = load_latest(
                self._kafka, self._codec, agent=PolicyAgent.name, topic=Topic.LOG, partition=self.partition
            )
        except UnreachableError as error:
            self.caveat = f"its snapshots cannot be read ({error})"
            return
        if found is None:
            return
        where = f"{Topic.LOG}[{self.partition}]"
        if found.manifest.next_offset > end:
            self.caveat = f"its snapshot is of {where} up to {found.manifest.next_offset}, which ends at {end}"
            return
        same_code = found.manifest.code_digest == code_digest(self.fold.agent)
        if not same_code:
            self.caveat = "the policy agent at work is of another version of the code than this command"
        try:
            self.fold.load(found.state, same_code=same_code)
        except (ValueError, KeyError, TypeError):
            self.fold = self._fresh()
            self.caveat = self.caveat or f"its snapshot of {where} cannot be read"

    @property
    def behind(self) -> int:
        """How many offsets there are up to the end of the log."""
        return end_of(self._kafka, self.partition) - self.fold.runtime.next_offset

    def advance(self) -> list[Outgoing]:
        """Folds what has come since, and gives what the policy says because of it. Begins at the log's begin."""
        start, end = self.fold.runtime.next_offset, end_of(self._kafka, self.partition)
        if start >= end:
            return []
        here = self.partition
        records = read_raw(self._kafka, Topic.LOG, partitions=[here], start={here: start}, end={here: end})
        return [out for chunk in chunks(records) for out in self.fold.step(chunk)]

    @property
    def state(self) -> PolicyState:
        """The state."""
        return self.fold.state

    def dump(self) -> bytes:
        """The state as bytes, to compare."""
        return self.fold.agent.dump_state(self.fold.state)

    def _fresh(self) -> PartitionFold[PolicyState]:
        return PartitionFold(PolicyAgent(), self._codec, self._mint, reads_run=self._mint.run)


def end_of(kafka: Mapping[str, str], partition: int) -> int:
    """The offset after the last committed record of a partition of the log."""
    consumer = plain_consumer(kafka, "autopilot-policy-view", log_level=2)
    try:
        return watermarks(consumer, str(Topic.LOG), partition)[1]
    finally:
        consumer.close()


class ShadowHost:
    """Runs the shadows until it is told to stop. `options` is that of an agent's worker; it is given no key."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = replace(options, key=None, signs=frozenset())
        self._running: dict[str, tuple[threading.Thread, threading.Event]] = {}
        self._log = structlog.get_logger("autopilot.shadow")

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        view = PolicyView(self._options.kafka, self._options.registry, 0, self._options.partitions).from_snapshot()
        while not stop.is_set():
            view.advance()
            entries = view.state.catalogue.entries.values()
            self._keep({entry.title for entry in entries if entry.state is BundleState.SHADOW})
            stop.wait(LOOK_EVERY_S)
        self._keep(set())

    def _keep(self, wanted: set[str]) -> None:
        for candidate in sorted(wanted - self._running.keys()):
            self._log.info("shadow begins", candidate=candidate, run=run_of(candidate))
            ending = threading.Event()
            worker = self._worker(candidate)
            thread = threading.Thread(target=worker.run, args=(ending,), name=run_of(candidate))
            self._running[candidate] = (thread, ending)
            thread.start()
        ended = sorted(self._running.keys() - wanted)
        for candidate in ended:
            self._running[candidate][1].set()
        for candidate in ended:
            self._running.pop(candidate)[0].join(STOP_WITHIN_S)
            self._log.info("shadow ended", candidate=candidate)

    def _worker(self, candidate: str) -> AgentWorker:
        agent = ShadowPolicy(candidate)
        options = replace(self._options, run=run_of(candidate), instance=f"{agent.name}-{self._options.instance}")
        return AgentWorker(agent, options)
