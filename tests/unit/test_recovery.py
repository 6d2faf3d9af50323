"""A snapshot is taken over whole or not at all; when not, the partition is folded from its beginning."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sagas import ADA, BOB, EXECUTION, POLICY, authorization, plan, signers
from scenario import START_US

from autopilot.agents.executor import Executor
from autopilot.agents.executor.states import ExecutorState
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Position
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.runtime import AgentSnapshot, AgentUpgraded, Tick
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams import recovery
from autopilot.streams.code import code_digest
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Record
from autopilot.streams.recovery import Recovered, recover
from autopilot.streams.snapshots import Snapshot

CODEC = Codec(BundledRegistry())
Change = Callable[[dict[str, Any], dict[str, Any]], None]


def said(*told: tuple[Payload, SigningKey | None]) -> list[Record]:
    """A partition of the log in which each payload is said by the holder of the key."""
    records = []
    for offset, (payload, key) in enumerate(told):
        mint = Mint(CODEC, key.principal if key else "test", 1, key=key, signs=frozenset({payload.event_type()}))
        draft = Draft(payload, "" if payload.broadcast else "shop", "" if payload.broadcast else "cart", "inc-1")
        out = mint.from_outside(draft, START_US, {})
        records.append(Record(Position(str(Topic.LOG), 0, offset), 0, out.key, out.value, out.headers))
    return records


LOG = said(
    (ConfigurationActivated(revision="r", documents=[signers()], author="ada", comment=""), ADA),
    (Tick(at_us=START_US), None),
    (plan(), None),
    (authorization(plan()), POLICY),
    (Halt(scope="shop", ordered_by="bob", reason="r"), BOB),
)


def fresh() -> PartitionFold[ExecutorState]:
    return PartitionFold(Executor(), CODEC, Mint(CODEC, "executor", 1), reads_run="live")


def folded() -> PartitionFold[ExecutorState]:
    fold = fresh()
    fold.step(LOG)
    assert fold.state.authority.halted("shop")
    assert list(fold.state.executions) == [EXECUTION]
    return fold


def dumped(change: Change) -> bytes:
    """The state after the log, in a shape that `change` gives to the runtime's part and to the agent's."""
    data = folded().dump()
    end = 4 + int.from_bytes(data[:4], "big")
    runtime, state = json.loads(data[4:end]), json.loads(data[end:])
    change(runtime, state)
    head, tail = (json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode() for part in (runtime, state))
    return len(head).to_bytes(4, "big") + head + tail


def recovered(
    monkeypatch: pytest.MonkeyPatch, state: bytes, digest: str
) -> tuple[PartitionFold[ExecutorState], Recovered]:
    """A fold that recovered up to the end of the log, with a snapshot of `state` by code of that digest."""
    manifest = AgentSnapshot(
        agent="executor",
        code_digest=digest,
        source_topic=str(Topic.LOG),
        source_partition=0,
        next_offset=len(LOG),
        state_digest="",
        parts=[],
        state=state,
        taken_at_us=START_US,
    )

    def read(_kafka: object, _topic: object, *, start: Mapping[int, int], end: Mapping[int, int], **_: object) -> Any:
        return iter(LOG[start[0] : end[0]])

    monkeypatch.setattr(recovery, "load_latest", lambda *_, **__: Snapshot(manifest, state))
    monkeypatch.setattr(recovery, "read_raw", read)
    fold = fresh()
    return fold, recover({}, CODEC, fold, Topic.LOG, 0, len(LOG))


def old_halts(_runtime: dict[str, Any], state: dict[str, Any]) -> None:
    """Halts as lists of who gave them."""
    state["authority"]["halts"] = {"shop": ["bob"]}


def old_heard(runtime: dict[str, Any], _state: dict[str, Any]) -> None:
    """What was heard, as ids alone."""
    runtime["heard"] = runtime["heard"]["until_us"]


def less_heard(runtime: dict[str, Any], _state: dict[str, Any]) -> None:
    """A field of what was heard that was not kept."""
    del runtime["heard"]["answers"]


def unknown_field(runtime: dict[str, Any], _state: dict[str, Any]) -> None:
    """A field that is not known any more."""
    runtime["windows"] = {}


def renamed(_runtime: dict[str, Any], state: dict[str, Any]) -> None:
    """What is done under another name: it would be forgotten, and nothing said to be under way."""
    state["carried_out"] = state.pop("executions")


def less_known(_runtime: dict[str, Any], state: dict[str, Any]) -> None:
    """A field of the agent's that was not kept, and has a default."""
    del state["begun_us"]


def same(_runtime: dict[str, Any], _state: dict[str, Any]) -> None:
    """Nothing is another."""


UNREADABLE = [pytest.param(change, id=change.__name__) for change in (old_halts, old_heard, less_heard, unknown_field)]
OTHER_SHAPES = [*UNREADABLE, *(pytest.param(change, id=change.__name__) for change in (renamed, less_known))]


@pytest.mark.parametrize("change", OTHER_SHAPES)
def test_a_snapshot_of_another_shape_is_left_and_the_partition_folded_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    fold, how = recovered(monkeypatch, dumped(change), "sha256:other")
    assert (how.folded, how.from_snapshot) == (len(LOG), None)
    assert how.upgrade is not None
    assert isinstance(how.upgrade.payload, AgentUpgraded)
    assert how.upgrade.payload.from_offset == 0
    assert fold.dump() == folded().dump()


def test_a_snapshot_of_other_code_and_the_same_shape_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fold, how = recovered(monkeypatch, dumped(same), "sha256:other")
    assert (how.folded, how.from_snapshot) == (0, len(LOG))
    assert fold.dump() == folded().dump()


@pytest.mark.parametrize("change", OTHER_SHAPES)
def test_a_load_that_fails_changes_nothing(change: Change) -> None:
    fold = fresh()
    with pytest.raises(ValueError, match=r"shape|valid"):
        fold.load(dumped(change), same_code=False)
    assert fold.dump() == fresh().dump()


@pytest.mark.parametrize("change", UNREADABLE)
def test_a_snapshot_of_this_code_that_cannot_be_read_ends_the_recovery(
    monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    with pytest.raises(ValueError, match=r"shape|valid"):
        recovered(monkeypatch, dumped(change), code_digest(Executor()))


def test_a_halt_that_was_heard_before_an_upgrade_does_not_count_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    fold, _ = recovered(monkeypatch, dumped(old_heard), "sha256:other")
    copied = LOG[-1]._replace(position=Position(str(Topic.LOG), 0, len(LOG) + 1))
    (resume,) = said((Resume(scope="shop", ordered_by="ada", reason="r"), ADA))
    fold.step([resume._replace(position=Position(str(Topic.LOG), 0, len(LOG)))])
    assert not fold.state.authority.halted("shop")
    fold.step([copied])
    assert not fold.state.authority.halted("shop")
