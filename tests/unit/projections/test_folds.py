"""What each view says about a real log of the five agents, and the laws that hold of every fold."""

import copy
import random
from collections.abc import Callable, Iterable
from functools import cache

import pytest
from long_log import PARTITIONS, course
from loop import ADMINISTRATOR
from pydantic import TypeAdapter

from autopilot.projections.admission import Admission
from autopilot.projections.agents import AgentRow
from autopilot.projections.budgets import BudgetRow
from autopilot.projections.catalogue import NAMES, projections
from autopilot.projections.hearing import Hearing
from autopilot.projections.incidents import IncidentRow
from autopilot.projections.projection import Projection, folded
from autopilot.projections.rows import MemoryRows, Row
from autopilot.projections.scoreboard import PolicyRow
from autopilot.projections.services import ServiceRow
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.people import Halt
from autopilot.schemas.events.planner import IncidentOpened
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, SIGNATURE, Record
from autopilot.streams.repetition import HEARD_US, Heard

KNOWN = projections(PARTITIONS)
INCIDENTS = 2 * PARTITIONS


@cache
def records() -> tuple[Record, ...]:
    return tuple(course())


def admitted(log: Iterable[Record]) -> list[Recorded[Payload]]:
    """The events of a log that count."""
    admission = Admission(Codec(BundledRegistry()), EVENT_TYPES.values(), {})
    return [event for record in log if (event := admission.admit(record)) is not None]


@cache
def events() -> tuple[Recorded[Payload], ...]:
    return tuple(admitted(records()))


def view(name: str) -> list[Row]:
    return folded(KNOWN[name], events()).shown()


# -- views -----------------------------------------------------------------------------------------------------------


def test_every_incident_of_the_log_is_a_row_and_was_remediated() -> None:
    rows = [IncidentRow.model_validate(row) for row in view("incidents")]
    opened = {e.payload.incident_id for e in events() if isinstance(e.payload, IncidentOpened)}
    assert {row.incident_id for row in rows} == opened
    assert len(rows) == INCIDENTS
    assert {(row.stage, row.closed, row.remedy, row.plans) for row in rows} == {("remediated", True, "roll-back", 1)}


def test_an_incidents_marks_follow_one_another() -> None:
    for row in view("incidents"):
        after = IncidentRow.model_validate(row).after_ms
        assert 0 <= after["planned"] <= after["decided"] <= after["executing"] < after["closed"]
        assert row["opened_at_ms"] + after["closed"] == row["changed_at_ms"]


def test_a_service_shows_its_governance_its_target_and_no_signal_once_all_is_well() -> None:
    rows = [ServiceRow.model_validate(row) for row in view("services")]
    assert [row.service for row in rows] == [f"svc-{i:03}" for i in range(PARTITIONS)]
    for row in rows:
        assert (row.autonomy, row.signals, row.incidents) == ("act", {}, [])
        assert row.targets[f"files/{row.service}"]["release"] == "good"
        assert row.quality_bp == 10_000


def test_a_service_shows_its_open_signal_and_incident_while_it_is_broken() -> None:
    until = next(i for i, e in enumerate(events()) if isinstance(e.payload, IncidentOpened))
    rows = folded(KNOWN["services"], events()[: until + 1]).shown()
    (broken,) = [ServiceRow.model_validate(row) for row in rows if row["signals"]]
    assert broken.incidents == [events()[until].envelope.correlation_id]
    assert [signal.kind for signal in broken.signals.values()] == ["slo_burn"]


def test_the_scoreboard_counts_decisions_and_what_came_of_them() -> None:
    (row,) = [PolicyRow.model_validate(row) for row in view("policy_scoreboard")]
    assert (row.bundle, row.decisions, row.allowed, row.verified) == ("loop@1.0.0", INCIDENTS, INCIDENTS, INCIDENTS)
    assert (row.denied, row.held, row.rejected, row.inconclusive) == (0, 0, 0, 0)
    assert row.rules == {"act": INCIDENTS}
    assert row.verdict.count == INCIDENTS


def test_a_budget_is_what_was_authorised_in_the_hour() -> None:
    rows = [BudgetRow.model_validate(row) for row in view("risk_budgets")]
    assert [row.authorised for row in rows] == [2] * PARTITIONS
    for row in rows:
        last_us = row.spendings[-1].at_us
        assert len(row.last_hour(last_us)) == 2
        assert row.last_hour(last_us + 3_600_000_000) == []
        assert {one.risk_class for one in row.spendings} == {"low"}


def test_every_agent_is_seen_in_every_partition_at_its_last_event() -> None:
    rows = {(row.agent, row.partition): row for row in map(AgentRow.model_validate, view("agents"))}
    assert len(rows) == 6 * PARTITIONS
    for (agent, partition), row in rows.items():
        said = [e for e in events() if e.envelope.producer == agent and e.position.partition == partition]
        assert (row.events, row.last_offset) == (len(said), said[-1].position.offset)
        assert row.parked == []


def test_a_timeline_begins_with_the_signal_and_has_each_event_of_the_incident_once() -> None:
    rows = folded(KNOWN["timelines"], events()).rows
    for incident_id in (row["incident_id"] for row in view("incidents")):
        lines = [row for key, row in sorted(rows.items()) if key.startswith(f"{incident_id}/")]
        own = [e.envelope.event_id for e in events() if e.envelope.correlation_id == incident_id]
        assert lines[0]["event"] == "SignalRaised"
        assert set(own) < {line["event_id"] for line in lines}
        assert len({line["position"] for line in lines}) == len(lines)


# -- laws ------------------------------------------------------------------------------------------------------------


class ForgetfulRows(MemoryRows):
    """Gives and keeps copies: what is changed in place and not put again is lost, as it would be after a restart."""

    def get(self, key: str) -> Row | None:
        return copy.deepcopy(super().get(key))

    def put(self, key: str, row: Row) -> None:
        super().put(key, copy.deepcopy(row))


def digest(projection: Projection, log: Iterable[Recorded[Payload]], rows: Callable[[], MemoryRows]) -> str:
    kept = rows()
    for event in log:
        if type(event.payload) in projection.handles:
            projection.apply(kept, event)
    return kept.digest()


def interleaved(seed: int) -> list[Recorded[Payload]]:
    """The events with their partitions in another order, each partition's own order kept."""
    chance = random.Random(seed)
    left = [[e for e in events() if e.position.partition == p] for p in range(PARTITIONS)]
    mixed = []
    while any(left):
        queue = chance.choice([queue for queue in left if queue])
        take = chance.randint(1, 30)
        mixed += queue[:take]
        del queue[:take]
    return mixed


@pytest.mark.parametrize("name", NAMES)
def test_the_order_in_which_partitions_are_read_never_shows(name: str) -> None:
    expected = digest(KNOWN[name], events(), MemoryRows)
    assert {digest(KNOWN[name], interleaved(seed), MemoryRows) for seed in range(5)} == {expected}


@pytest.mark.parametrize("name", NAMES)
def test_a_fold_remembers_nothing_but_what_it_has_put(name: str) -> None:
    assert digest(KNOWN[name], events(), ForgetfulRows) == digest(KNOWN[name], events(), MemoryRows)


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_tells_one_event_less(name: str) -> None:
    last = max(i for i, e in enumerate(events()) if type(e.payload) in KNOWN[name].handles)
    if name == "awaiting_approval":
        assert digest(KNOWN[name], events(), MemoryRows) == MemoryRows().digest()
        return
    without = [*events()[:last], *events()[last + 1 :]]
    assert digest(KNOWN[name], without, MemoryRows) != digest(KNOWN[name], events(), MemoryRows)


# -- repetition ------------------------------------------------------------------------------------------------------

HEARD = TypeAdapter(Heard)
IN_FORCE = (b"ConfigurationActivated",)
"""Whose copy puts in force what is in force."""


def with_copies(seed: int) -> list[Record]:
    """The log, with copies of signed words at later offsets of their partitions."""
    chance, copied = random.Random(seed), []
    for partition in range(PARTITIONS):
        told: list[Record] = []
        signed: list[Record] = []
        for record in (each for each in records() if each.position.partition == partition):
            told.append(record)
            signed += [record] if SIGNATURE in record.headers and record.headers[EVENT_TYPE] not in IN_FORCE else []
            if signed and chance.random() < 0.2:
                told.append(chance.choice(signed)._replace(timestamp_ms=record.timestamp_ms))
        told += [each._replace(timestamp_ms=told[-1].timestamp_ms) for each in signed]
        copied += [r._replace(position=r.position._replace(offset=at)) for at, r in enumerate(told)]
    return copied


def news(log: Iterable[Record], types: Iterable[type[Payload]], chance: random.Random) -> list[Recorded[Payload]]:
    """The events of those types that count, for a reader that starts again at any point with what it has kept."""
    kinds = frozenset(types)
    admission, hearing, taken = Admission(Codec(BundledRegistry()), kinds, {}), Hearing(), []
    for record in log:
        if chance.random() < 0.05:
            kept = {partition: HEARD.dump_json(heard) for partition, heard in hearing.heard.items()}
            hearing = Hearing({partition: HEARD.validate_json(heard) for partition, heard in kept.items()})
            admission = Admission(Codec(BundledRegistry()), kinds, admission.configurations, now_us=admission.now_us)
        event = hearing.take(admission, record)
        taken += [event] if event is not None and type(event.payload) in kinds else []
    return taken


@pytest.mark.parametrize("name", NAMES)
def test_copies_of_signed_words_at_later_offsets_are_not_shown_again(name: str) -> None:
    projection, chance = KNOWN[name], random.Random(name)
    once = [event for event in events() if type(event.payload) in projection.handles]
    shown = news(with_copies(1), projection.handles, chance)
    assert [event.event for event in shown] == [event.event for event in once]
    assert len(admitted(with_copies(1))) > 1.2 * len(events())


def test_what_is_remembered_of_words_does_not_grow_with_the_log() -> None:
    admission, hearing = Admission(Codec(BundledRegistry()), EVENT_TYPES.values(), {}), Hearing()
    for record in with_copies(2):
        hearing.take(admission, record)
    answers = [len(last.event_ids) for heard in hearing.heard.values() for last in heard.answers.values()]
    assert len(hearing.heard) == PARTITIONS
    assert 0 < sum(answers) < 20 * PARTITIONS


def test_an_order_of_more_than_a_day_ago_is_not_shown_as_new() -> None:
    admission, hearing = Admission(Codec(BundledRegistry()), [Halt], {}), Hearing()
    for record in records():
        hearing.take(admission, record)
    last = [record for record in records() if record.position.partition == 0][-1]
    mint = Mint(Codec(BundledRegistry()), "ada", PARTITIONS, key=ADMINISTRATOR, signs=frozenset({"Halt"}))
    order, taken = Halt(scope="*", ordered_by="ada", reason="r"), []
    for ago_us in (HEARD_US, HEARD_US + 1):
        out = mint.record(mint.outside_event(Draft(order, ""), admission.now_us[0] - ago_us), 0)
        place = last.position._replace(offset=last.position.offset + 1)
        taken.append(hearing.take(admission, Record(place, last.timestamp_ms, out.key, out.value, out.headers)))
    assert [event is not None for event in taken] == [True, False]


# -- admission -------------------------------------------------------------------------------------------------------


def test_an_authorisation_without_a_valid_signature_is_not_shown() -> None:
    stripped = [
        record._replace(headers={k: v for k, v in record.headers.items() if k != SIGNATURE})
        if record.headers[EVENT_TYPE] == b"PlanAuthorized"
        else record
        for record in records()
    ]
    kinds = {event.event.type for event in admitted(stripped)}
    assert "PlanAuthorized" not in kinds
    assert "ExecutionStarted" in kinds
    assert folded(KNOWN["policy_scoreboard"], admitted(stripped)).shown() == []


def test_a_revocation_that_the_policy_did_not_sign_is_not_shown() -> None:
    last = records()[-1]
    (authorized, *_) = (e for e in events() if isinstance(e.payload, PlanAuthorized))
    decision = authorized.payload.decision
    revoked = AuthorizationRevoked(
        decision_id=decision.decision_id, plan_id=decision.plan_id, incident_id=decision.incident_id, reason="r"
    )
    for key in (None, ADMINISTRATOR):
        mint = Mint(Codec(BundledRegistry()), "policy", 1, key=key, signs=frozenset({"AuthorizationRevoked"}))
        out = mint.record(mint.outside_event(Draft(revoked, authorized.envelope.domain), 1), 0)
        position = authorized.position._replace(offset=last.position.offset + 1)
        forged = Record(position, last.timestamp_ms, out.key, out.value, out.headers)
        assert admitted([*records(), forged]) == list(events())


def test_events_of_another_run_and_broken_records_are_passed_by() -> None:
    shadow = [record._replace(headers={**record.headers, "run": b"shadow:new"}) for record in records()]
    broken = [record._replace(value=record.value[:-3]) for record in records()]
    assert admitted(shadow) == []
    assert admitted(broken) == []
