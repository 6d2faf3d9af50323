"""Laws of the runtime, on a log that all five agents made: how it is read again must not matter.

The log is made once, live: one record at a time, as each arrives. Whatever way its partitions are folded again - in
batches of any size, with snapshots taken and loaded anywhere between them - each agent must decide what it decided
live, byte for byte, and end in the same state.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop import Loop, five_agents

from autopilot.agents.agent import Agent
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.executor import ExecutionCompleted
from autopilot.schemas.events.planner import IncidentClosed
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Record
from autopilot.streams.replay import Recordings, replay

PARTITIONS = 2


@functools.cache
def live() -> Loop:
    """A log with incidents in two domains, the second while the first is being repaired."""
    loop = Loop(services=4, partitions=PARTITIONS)
    loop.run(8)
    loop.break_("svc-000")
    loop.run(4)
    loop.break_("svc-001")
    loop.run(30)
    return loop


def test_the_log_holds_whole_incidents() -> None:
    runner = live().runner
    closed = [r.payload.resolution for r in runner.read(Topic.LOG, IncidentClosed)]
    assert closed == ["remediated", "remediated"]
    assert len(runner.read(Topic.LOG, ExecutionCompleted)) == 2
    assert len(runner.read(Topic.LOG, OutcomeVerified)) == 2


def fold_again(
    agent: Agent[Any], partition: int, cuts: Sequence[int], reloads: Sequence[int]
) -> tuple[list[bytes], bytes]:
    """The outputs and the last state of a fold over one partition in the chunks that `cuts` make."""
    runner = live().runner
    records: list[Record] = runner.topics[str(agent.reads)][partition]
    fold = fresh(agent)
    outputs = []
    bounds = [0, *sorted({cut % (len(records) + 1) for cut in cuts}), len(records)]
    for i, (start, end) in enumerate(itertools.pairwise(bounds)):
        outputs += [out.value for out in fold.step(records[start:end])]
        if i in reloads:
            dumped = fold.dump()
            fold = fresh(agent)
            fold.load(dumped)
    return outputs, fold.dump()


def fresh(agent: Agent[Any]) -> PartitionFold[Any]:
    return PartitionFold(
        agent, live().runner.codec, Mint(live().runner.codec, agent.name, PARTITIONS), reads_run="live"
    )


@pytest.mark.parametrize("index", range(5), ids=[agent.name for agent in five_agents()])
@settings(max_examples=12, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 10_000), max_size=30),
    reloads=st.lists(st.integers(0, 30), max_size=4),
    partition=st.integers(0, PARTITIONS - 1),
)
def test_catching_up_in_any_batches_decides_what_live_decided(
    index: int, cuts: list[int], reloads: list[int], partition: int
) -> None:
    agent = five_agents(PARTITIONS)[index]
    outputs, state = fold_again(agent, partition, cuts, reloads)
    assert state == live().runner.states()[(agent.name, partition)]
    assert outputs == fold_again(agent, partition, [], [])[0]


@pytest.mark.parametrize("index", range(5), ids=[agent.name for agent in five_agents()])
def test_a_replay_of_the_log_has_no_divergence(index: int) -> None:
    agent, runner = five_agents(PARTITIONS)[index], live().runner
    recordings = Recordings(runner.codec, [agent.name])
    for topic in runner.topics.values():
        for records in topic:
            recordings.take(records)
    partitions = [[records] for records in runner.topics[str(agent.reads)]]
    replayed = replay(
        agent, runner.codec, partitions, recordings, lambda at: runner.topics[at.topic][at.partition][at.offset]
    )
    assert replayed.divergences == []
    assert replayed.records > 0
    assert replayed.outputs > 0
