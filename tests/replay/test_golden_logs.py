"""Logs of earlier code, folded by the code as it is: a change of behaviour is always seen, and named by its fields.

When one is wanted, `golden.py` writes the logs anew.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from loop import five_agents

from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.schemas.avro_schema import schema_of
from autopilot.schemas.codec import Codec
from autopilot.schemas.envelope import Position
from autopilot.schemas.errors import UnknownSchemaError
from autopilot.schemas.events.planner import PlanProposed
from autopilot.streams.record import Record
from autopilot.streams.replay import Recordings, Replayed, replay
from autopilot.streams.whole_reader import plain_record

LOGS = sorted(path for path in Path(__file__).with_name("logs").iterdir() if path.is_dir())


def replays(log: Path, changed: str = "") -> list[Replayed]:
    """Of each agent; the schema of the type `changed` is one that this version of the code does not have."""
    archive = ArchiveFolder(log)
    for schema in archive.schemas.schemas.values():
        if schema["name"] == changed:
            schema["doc"] = "of a release before"
    topics: dict[str, list[Record]] = {}
    for partition, (start, end) in archive.bounds().items():
        for batch in archive.read(partition, start, end):
            topics.setdefault(partition.topic, []).extend(plain_record(partition, whole) for whole in batch)
    codec = Codec(archive.schemas)
    agents = five_agents(1)
    recordings = Recordings(codec, [agent.name for agent in agents])
    for records in topics.values():
        recordings.take(records)

    def fetch(at: Position) -> Record:
        return next(record for record in topics[at.topic] if record.position == at)

    return [replay(agent, codec, [[topics[str(agent.reads)]]], recordings, fetch) for agent in agents]


@pytest.mark.parametrize("log", LOGS, ids=[log.name for log in LOGS])
def test_the_code_decides_as_it_did(log: Path) -> None:
    found = [divergence for replayed in replays(log) for divergence in replayed.divergences]
    assert found == []


@pytest.mark.parametrize("changed", ["PlanProposed", "PlanAuthorized", "SignalRaised"])
def test_a_log_of_another_schema_is_replayed_by_what_it_says(changed: str) -> None:
    as_recorded, other = replays(LOGS[0]), replays(LOGS[0], changed)
    assert sum(replayed.outputs for replayed in other) == sum(replayed.outputs for replayed in as_recorded) > 0
    assert [divergence for replayed in other for divergence in replayed.divergences] == []


def test_an_archive_gives_a_type_that_has_changed_an_id_of_its_own() -> None:
    schemas = ArchiveFolder(LOGS[0]).schemas
    number = schemas.id_for(PlanProposed)
    assert schemas.schemas[number] == schema_of(PlanProposed)
    fields = schemas.schemas[number]["fields"]
    schemas.schemas[number] = {**schemas.schemas[number], "fields": fields[:-1]}
    fresh = schemas.id_for(PlanProposed)
    assert fresh not in schemas.schemas
    assert schemas.id_for(PlanProposed) == fresh
    assert schemas.schema_for(fresh) == schema_of(PlanProposed)
    assert schemas.schema_for(number)["fields"] == fields[:-1]
    with pytest.raises(UnknownSchemaError):
        schemas.schema_for(fresh + 1)


def test_the_logs_hold_what_every_agent_made() -> None:
    outputs = {replayed.agent: 0 for replayed in replays(LOGS[0])}
    for log in LOGS:
        for replayed in replays(log):
            outputs[replayed.agent] += replayed.outputs
    assert min(outputs.values()) > 0


def test_another_processor_decides_the_same() -> None:
    """numpy's vector instructions are switched off: transcendental functions would differ, these do not."""
    code = "import test_golden_logs as t; print(sum(len(r.divergences) for log in t.LOGS for r in t.replays(log)))"
    features = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


def test_a_divergence_names_the_field_and_its_cause() -> None:
    archive = ArchiveFolder(LOGS[0])
    codec = Codec(archive.schemas)
    agent = next(agent for agent in five_agents(1) if agent.name == "verifier")
    records: list[Record] = []
    for partition, (start, end) in archive.bounds().items():
        if partition.topic == agent.reads:
            records += [plain_record(partition, w) for batch in archive.read(partition, start, end) for w in batch]
    verdict = next(i for i, r in enumerate(records) if r.headers.get("event-type") == b"OutcomeVerified")
    event = codec.decode(records[verdict].value)
    outcome = event.payload.model_copy(
        update={"outcome": event.payload.outcome.model_copy(update={"reason": "forged"})}
    )
    forged = records[verdict]._replace(value=codec.encode(type(event)(event.envelope, outcome)))
    recordings = Recordings(codec, [agent.name])
    recordings.take([*records[:verdict], forged])
    found = replay(agent, codec, [[records]], recordings, lambda at: forged).divergences
    (differing,) = [divergence for divergence in found if divergence.kind == "differs"]
    assert differing.cause == event.envelope.cause
    assert [(name, old) for name, old, _ in differing.fields] == [("outcome.reason", "'forged'")]
