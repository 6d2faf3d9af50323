"""The fold and the in-process runner, with an agent so small that everything seen is the runtime's."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.schemas.configuration import Domain, Fleet, Principal, Role, Service, Signers, document
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.people import ConfigurationActivated, Halt
from autopilot.schemas.events.planner import NoPlanFound
from autopilot.schemas.events.runtime import AgentFaulted, DeadLettered, Tick
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess

ADA = SigningKey.from_bytes("ada", b"a" * 32)
BOB = SigningKey.from_bytes("bob", b"b" * 32)


@dataclass
class Seen:
    sources: list[str] = field(default_factory=list)
    ticks: int = 0
    halted_by: str | None = None


class Echo(FoldingAgent[Seen]):
    name = "echo"
    reads = Topic.TELEMETRY
    handles = frozenset({TelemetryBatch, Tick, Halt})
    state_type = TypeAdapter(Seen)

    def initial_state(self) -> Seen:
        return Seen()

    def handle(self, state: Seen, recorded: Recorded[Any]) -> tuple[Seen, list[Output]]:
        payload = recorded.payload
        if isinstance(payload, Tick):
            state.ticks += 1
            return state, []
        if isinstance(payload, Halt):
            state.halted_by = recorded.signed_by
            return state, []
        if payload.source == "poison":
            raise ZeroDivisionError("poisoned")
        if payload.source == "":
            return state, [Rejection("source", "''", "a name")]
        state.sources.append(payload.source)
        note = NoPlanFound(incident_id="i", reason=payload.source, considered=[], look_at=[])
        return state, [Draft(note, "shop", recorded.envelope.service, "i")]


def documents() -> list[Any]:
    fleet = Fleet(
        name="f",
        domains=[Domain(name="shop", partition=1)],
        services=[Service(name="cart", domain="shop", tier=1, owner="o")],
    )
    signers = Signers(
        name="s",
        signers=[
            Principal(name="ada", public_key=ADA.public_key, roles=[Role.ADMINISTRATOR]),
            Principal(name="bob", public_key=BOB.public_key, roles=[Role.OPERATOR]),
        ],
    )
    return [document(fleet.model_dump(mode="json")), document(signers.model_dump(mode="json"))]


@pytest.fixture
def runner() -> InProcess:
    runner = InProcess([Echo()], start_us=1_000_000, partitions=2)
    runner.configure(documents(), ADA)
    return runner


def batch(source: str) -> TelemetryBatch:
    return TelemetryBatch(source=source, series=[])


def test_an_output_bears_its_cause_and_goes_to_its_domains_partition(runner: InProcess) -> None:
    runner.pipe(batch("x"), service="cart")
    (note,) = runner.read(Topic.LOG, NoPlanFound)
    (cause,) = runner.read(Topic.TELEMETRY, TelemetryBatch)
    assert note.position.partition == 1
    assert note.envelope.causation_id == cause.envelope.event_id
    assert note.envelope.cause == cause.position
    assert (note.envelope.domain, note.envelope.service, note.envelope.correlation_id) == ("shop", "cart", "i")


def test_the_same_input_gives_the_same_bytes() -> None:
    runs = []
    for _ in range(2):
        runner = InProcess([Echo()], start_us=1_000_000, partitions=2)
        runner.configure(documents(), ADA)
        runner.pipe(batch("x"), service="cart")
        runner.advance(seconds=3)
        runs.append((runner.topics, runner.states()))
    assert runs[0] == runs[1]


def test_a_fault_parks_its_service_and_the_others_go_on(runner: InProcess) -> None:
    runner.pipe(batch("poison"), service="cart")
    runner.pipe(batch("after"), service="cart")
    runner.pipe(batch("elsewhere"), service="other")
    (fault,) = runner.read(Topic.LOG, AgentFaulted)
    assert (fault.payload.parked, fault.payload.error) == ("cart", "ZeroDivisionError: poisoned")
    assert "test_in_process.py" in fault.payload.traceback
    assert [note.payload.reason for note in runner.read(Topic.LOG, NoPlanFound)] == ["elsewhere"]


def test_a_rejection_and_broken_bytes_land_in_dead_letters_with_their_raw_record(runner: InProcess) -> None:
    runner.pipe(batch(""), service="cart")
    runner.append_raw(Topic.TELEMETRY, 0, b"\x00\x00\x00\x00\x01\xff", {"event-type": b"TelemetryBatch"})
    runner.append_raw(Topic.TELEMETRY, 0, b"\x00\x00\x00\x00\x01\xff", {"event-type": b"Nonsense"})
    runner.append_raw(Topic.TELEMETRY, 0, b"\x00\x00\x00\xff\xffxx")
    letters = [letter.payload for letter in runner.read(Topic.DEAD_LETTERS, DeadLettered)]
    assert sorted(letter.error_class for letter in letters) == [
        "invalid", "undecodable", "unknown_event_type", "unknown_schema",
    ]  # fmt: skip
    assert next(le for le in letters if le.error_class == "undecodable").raw == b"\x00\x00\x00\x00\x01\xff"


def test_a_late_tick_is_ignored(runner: InProcess) -> None:
    runner.advance(seconds=2)
    runner.pipe(Tick(at_us=1_500_000))
    assert b'"ticks":2' in runner.states()[("echo", 0)]


def test_a_signature_is_checked_against_the_signers_in_force(runner: InProcess) -> None:
    runner.pipe(Halt(scope="*", ordered_by="bob", reason="r"), key=BOB)
    assert b'"halted_by":"bob"' in runner.states()[("echo", 0)]
    runner.pipe(Halt(scope="*", ordered_by="bob", reason="r2"), key=SigningKey.from_bytes("bob", b"x" * 32))
    assert b'"halted_by":null' in runner.states()[("echo", 0)]


def test_configuration_by_someone_without_the_role_changes_nothing(runner: InProcess) -> None:
    before = runner.states()
    runner.configure([], BOB)
    (letter, *_) = runner.read(Topic.DEAD_LETTERS, DeadLettered)
    assert letter.payload.error_class == "unauthorised"
    assert "administrator" in letter.payload.expected
    assert [r.payload.author for r in runner.read(Topic.LOG, ConfigurationActivated)][-1] == "bob"
    assert before[("echo", 0)] != b""


def test_a_loaded_dump_goes_on_as_the_original(runner: InProcess) -> None:
    runner.pipe(batch("x"), service="cart")
    for fold, _ in runner._folds:
        dumped = fold.dump()
        fold.load(dumped)
        assert fold.dump() == dumped
