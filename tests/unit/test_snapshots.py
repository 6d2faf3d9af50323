"""Snapshots of all agents are found in one pass over their topic, each as if it were looked for alone."""

import pytest

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Position
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing, Record
from autopilot.streams.snapshots import PART_BYTES, SnapshotOf, every_latest, latest, records_of

CODEC = Codec(BundledRegistry())
LARGE = bytes(range(250)) * (2 * PART_BYTES // 250 + 1)


def written(agent: str, partition: int, next_offset: int, state: bytes) -> list[Outgoing]:
    return records_of(
        Mint(CODEC, agent, 4),
        agent=agent,
        code_digest="sha256:c",
        topic=str(Topic.LOG),
        partition=partition,
        next_offset=next_offset,
        state=state,
        now_us=next_offset,
    )


def topic(*several: list[Outgoing]) -> list[Record]:
    out = [one for some in several for one in some]
    return [
        Record(
            Position(str(Topic.SNAPSHOTS), one.partition, offset),
            key=one.key,
            value=one.value,
            headers=dict(one.headers),
            timestamp_ms=0,
        )
        for offset, one in enumerate(out)
    ]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Two agents, one of them large; one snapshot is followed by a newer one, one by another that is torn."""
    torn = written("planner", 1, 30, LARGE[1:])
    return topic(
        written("planner", 1, 10, LARGE),
        written("executor", 1, 11, b"old"),
        written("executor", 0, 12, b"other"),
        written("executor", 1, 20, b"new"),
        torn[1:],
    )


def test_each_is_the_last_whole_one(records: list[Record]) -> None:
    found = every_latest(iter(records), CODEC)
    assert {of: (one.manifest.next_offset, one.state) for of, one in found.items() if of.agent == "executor"} == {
        SnapshotOf("executor", "autopilot.log", 0): (12, b"other"),
        SnapshotOf("executor", "autopilot.log", 1): (20, b"new"),
    }
    whole = found[SnapshotOf("planner", "autopilot.log", 1)]
    assert (whole.manifest.next_offset, whole.state) == (10, LARGE)


def test_one_that_is_looked_for_alone_is_the_same(records: list[Record]) -> None:
    every = every_latest(records, CODEC)
    for of, one in every.items():
        assert latest(records, CODEC, agent=of.agent, topic=of.topic, partition=of.partition) == one
    assert latest(records, CODEC, agent="policy", topic=str(Topic.LOG), partition=1) is None
