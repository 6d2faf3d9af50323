"""Laws of what processes sign: a record without its speaker's signature changes no more than if it were not there.

A log that all five agents and an effector made is folded by every reader twice: once with any of its signed words
forged, once without these. Each agent and the effector's gate must say the same and end in the same state, the views
must show the same, and the audit must name every one.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop import EFFECTOR, EXECUTOR, PLANNER, POLICY, VERIFIER, Loop, five_agents

from autopilot.agents.agent import Agent
from autopilot.infra.effector.gate import Gate
from autopilot.projections.admission import Admission
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Position
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.evidence import Evidence
from autopilot.streams.audit.findings import Kind
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, SIGNATURE, Outgoing, Record
from autopilot.streams.trust import ANSWERED_FOR, SIGNS

CODEC = Codec(BundledRegistry())
FORGERS: Sequence[SigningKey | None] = (
    None, PLANNER, POLICY, EXECUTOR, EFFECTOR, VERIFIER, SigningKey.from_bytes("stranger", b"?" * 32)
)  # fmt: skip


@functools.cache
def course() -> tuple[Record, ...]:
    """The log of two incidents that were mended and verified."""
    loop = Loop(services=2)
    loop.run(10)
    for name in loop.names:
        loop.break_(name)
        loop.run(25)
    return tuple(loop.runner.topics[str(Topic.LOG)][0])


@functools.cache
def answered_for() -> tuple[int, ...]:
    """Offsets of what a process answers for with its key."""
    return tuple(r.position.offset for r in course() if type_of(r) in ANSWERED_FOR)


def type_of(record: Record) -> str:
    return record.headers[EVENT_TYPE].decode()


def forged(record: Record, forger: SigningKey | None) -> Record:
    """The record with somebody else's signature, or none when `forger` is the one who says such things."""
    headers = {name: value for name, value in record.headers.items() if name != SIGNATURE}
    name = type_of(record)
    if forger is not None and name not in SIGNS.get(forger.principal, ()):
        headers[SIGNATURE] = forger.sign(name, record.key, record.value)
    return record._replace(headers=headers)


def readers() -> list[Agent[Any]]:
    return [*(agent for agent in five_agents(1) if agent.reads is Topic.LOG), Gate()]


def read(agent: Agent[Any], records: Iterable[Record]) -> tuple[list[bytes], list[Outgoing], bytes]:
    """What the reader says, its dead letters and its last state."""
    fold = PartitionFold(agent, CODEC, Mint(CODEC, agent.name, 1), reads_run="live")
    out = fold.step(list(records))
    letters = [one for one in out if one.topic == Topic.DEAD_LETTERS]
    return [one.value for one in out if one.topic != Topic.DEAD_LETTERS], letters, fold.dump()


def shown(records: Iterable[Record]) -> list[Position]:
    admission = Admission(CODEC, EVENT_TYPES.values(), {})
    return [record.position for record in records if admission.admit(record) is not None]


def test_the_course_has_every_kind_of_word_that_an_ordinary_incident_has() -> None:
    kinds = {type_of(course()[offset]) for offset in answered_for()}
    assert kinds >= {"IncidentOpened", "PlanProposed", "IncidentClosed"}
    assert kinds >= {"StepRequested", "StepStarted", "StepSucceeded", "ExecutionCompleted", "OutcomeVerified"}


@pytest.mark.parametrize("reader", readers(), ids=lambda agent: agent.name)
@settings(max_examples=12)
@given(data=st.data())
def test_a_forged_record_changes_no_more_than_its_absence(reader: Agent[Any], data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(answered_for()), min_size=1))
    forger = data.draw(st.sampled_from(FORGERS))
    with_them = [forged(record, forger) if record.position.offset in chosen else record for record in course()]
    without = [record for record in course() if record.position.offset not in chosen]
    said, letters, state = read(reader, with_them)
    expected, none, same = read(reader, without)
    assert (said, state, none) == (expected, same, [])
    handled = {model.event_type() for model in reader.handles}
    assert len(letters) == len([offset for offset in chosen if type_of(course()[offset]) in handled])


@settings(max_examples=12)
@given(chosen=st.sets(st.sampled_from(range(10_000)), min_size=1), forger=st.sampled_from(FORGERS))
def test_no_view_shows_what_is_forged_and_the_audit_names_all_of_it(
    chosen: set[int], forger: SigningKey | None
) -> None:
    offsets = {answered_for()[index % len(answered_for())] for index in chosen}
    log = [forged(record, forger) if record.position.offset in offsets else record for record in course()]
    assert shown(log) == [position for position in shown(course()) if position.offset not in offsets]
    evidence = Evidence(BundledRegistry())
    evidence.feed(log)
    named = {finding.position.offset for finding in evidence.finish() if finding.kind is Kind.SIGNATURE}
    assert named == offsets
