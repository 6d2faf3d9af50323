"""`autopilot replay --from-snapshot`: what it starts from is said, and a snapshot of another shape is left."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from autopilot.agents.executor import Executor
from autopilot.infra.cli.main import application
from autopilot.infra.cli.output import REFUSED
from autopilot.infra.cli.replay import fits, starts_in_words
from autopilot.schemas.codec import Codec
from autopilot.schemas.events.runtime import AgentSnapshot
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.snapshots import Snapshot, digest

CODEC = Codec(BundledRegistry())


def snapshot(state: bytes) -> Snapshot:
    manifest = AgentSnapshot(
        agent="executor",
        code_digest="sha256:0123456789",
        source_topic="autopilot.log",
        source_partition=2,
        next_offset=17,
        state_digest=digest(state),
        parts=[],
        state=state,
        taken_at_us=0,
    )
    return Snapshot(manifest, state)


def test_a_snapshot_of_another_shape_is_left_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    state = PartitionFold(Executor(), CODEC, Mint(CODEC, "executor", 1), reads_run=LIVE_RUN).dump()
    assert fits(Executor(), CODEC, snapshot(state))
    assert capsys.readouterr().err == ""
    assert not fits(Executor(), CODEC, snapshot(state.replace(b'"executions"', b'"carried_out"')))
    told = " ".join(capsys.readouterr().err.split())
    assert told == (
        ".. the snapshot of the executor at autopilot.log[2]@17 is of other code (`sha256:01234`) and does not fit"
    )


def test_where_each_partition_begins_is_said() -> None:
    assert starts_in_words({}) == "from the beginning: there is no snapshot to start from"
    assert starts_in_words({2: (17, b""), 0: (9, b"")}) == (
        "from its snapshots at 0@9, 2@17; other partitions from the beginning"
    )


def test_an_archive_has_no_snapshots(tmp_path: Path) -> None:
    result = CliRunner().invoke(application("replay"), ["replay", "--archive", str(tmp_path), "--from-snapshot"])
    assert (result.exit_code, result.output) == (
        REFUSED,
        "`--from-snapshot` is of the topics, expected without `--archive`: an archive has no snapshots\n",
    )
