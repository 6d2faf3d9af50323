"""Where a view of the policy's state comes from when a snapshot is missing, old, damaged or of other code."""

from collections.abc import Iterator
from typing import Any

import pytest
from effector_bench import Bench
from sagas import BOB

from autopilot.agents.policy import PolicyAgent
from autopilot.infra import governance
from autopilot.infra.governance import Cluster, begun_view
from autopilot.schemas.events.people import Halt
from autopilot.schemas.events.runtime import AgentSnapshot
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams import shadow
from autopilot.streams.code import code_digest
from autopilot.streams.errors import UnreachableError
from autopilot.streams.record import Record
from autopilot.streams.shadow import PolicyView
from autopilot.streams.snapshots import Snapshot, digest

MINE = code_digest(PolicyAgent())
HALT = Halt(scope="shop", ordered_by="bob", reason="migration")


class Log:
    """A partition with a configuration and a halt, and whatever snapshot the policy has left of it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        bench = Bench()
        bench.say(HALT, key=BOB)
        self.records = bench.log
        self.snapshot: Snapshot | Exception | None = None
        patch.setattr(shadow, "end_of", lambda *_: len(self.records))
        patch.setattr(shadow, "read_raw", self._read)
        patch.setattr(shadow, "load_latest", self._load)

    def view(self) -> PolicyView:
        return PolicyView({}, BundledRegistry(), 0, 1)

    def leave(self, code: str = MINE, *, state: bytes | None = None, next_offset: int | None = None) -> None:
        """The policy leaves a snapshot of the log as it is."""
        at_end = self.view()
        at_end.advance()
        dumped = at_end.fold.dump() if state is None else state
        manifest = AgentSnapshot(
            agent="policy",
            code_digest=code,
            source_topic="autopilot.log",
            source_partition=0,
            next_offset=len(self.records) if next_offset is None else next_offset,
            state_digest=digest(dumped),
            parts=[],
            state=dumped,
            taken_at_us=0,
        )
        self.snapshot = Snapshot(manifest, dumped)

    def _read(self, *_: Any, start: dict[int, int], end: dict[int, int], **__: Any) -> Iterator[Record]:
        return iter(self.records[start[0] : end[0]])

    def _load(self, *_: Any, **__: Any) -> Snapshot | None:
        if isinstance(self.snapshot, Exception):
            raise self.snapshot
        return self.snapshot


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(monkeypatch)


def test_from_a_snapshot_of_this_code_nothing_is_read_again_and_nothing_is_to_be_said(log: Log) -> None:
    log.leave()
    view = log.view()
    view.take_snapshot()
    assert (view.behind, view.caveat) == (0, "")
    assert view.state.authority.halted("shop")


def test_without_a_snapshot_all_is_folded(log: Log) -> None:
    view = log.view().from_snapshot()
    assert view.state.authority.halted("shop")
    assert view.caveat == ""


@pytest.mark.parametrize(
    ("change", "caveat"),
    [
        ({"code": "sha256:other"}, "another version of the code"),
        ({"code": "sha256:other", "state": b"\0\0\0\2{}[]"}, "another version of the code"),
        ({"state": b"\0\0\0\2{}[]"}, "cannot be read"),
        ({"state": b""}, "cannot be read"),
        ({"next_offset": 99}, "up to 99, which ends at"),
    ],
)
def test_a_snapshot_of_other_code_or_that_cannot_be_used_gives_the_same_and_is_told(
    log: Log, change: dict[str, Any], caveat: str
) -> None:
    log.leave(**change)
    view = log.view().from_snapshot()
    fresh = log.view()
    fresh.advance()
    assert view.state.authority.halted("shop")
    assert view.dump() == fresh.dump()
    assert caveat in view.caveat


def test_snapshots_that_may_not_be_read_are_done_without(log: Log) -> None:
    log.snapshot = UnreachableError("Topic authorization failed")
    view = log.view().from_snapshot()
    assert view.state.authority.halted("shop")
    assert "Topic authorization failed" in view.caveat


def test_a_person_is_told_of_a_long_fold_before_it_begins(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    cluster = Cluster({}, BundledRegistry(), 1, told.append)
    begun_view(cluster, 0)
    assert told == []
    monkeypatch.setattr(governance, "FEW", 1)
    assert begun_view(cluster, 0).behind == len(log.records)
    assert told == [
        f"the policy agent has left no snapshot near the end: folding {len(log.records)} records of autopilot.log[0]"
    ]
