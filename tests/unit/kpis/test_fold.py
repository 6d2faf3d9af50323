"""What a domain's row says after its events, and the laws that make repeated delivery harmless."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache, reduce
from itertools import cycle

import pytest
from decided import decision
from kpi_count import difference
from long_log import PARTITIONS, course
from outcomes import outcome
from scenario import envelope

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Event, Position, Recorded
from autopilot.schemas.events.kpis import Figures
from autopilot.schemas.events.observer import Quality, TelemetryQualityChanged
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.kpis.fold import (
    HANDLERS,
    KEPT_MS,
    NO_FIGURES,
    NO_POLICY,
    NO_ROW,
    DomainRow,
    Window,
    apply,
    pass_time,
    plus,
    took,
)
from autopilot.streams.kpis.partition import NO_DOMAIN, NO_TRUST, PartitionKpis, TrustRow
from autopilot.streams.kpis.windows import latest, windows
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, SIGNATURE, Outgoing, Record
from autopilot.streams.trust import SIGNED as EVERY_SIGNED
from autopilot.streams.trust import SIGNS

MINUTE, FIVE, DAY = 60_000, 300_000, 86_400_000
T0 = 1_700_000_100_000
"""Start of a window of both lengths."""
CODEC = Codec(BundledRegistry())
MINT = Mint(CODEC, "kpis", PARTITIONS)
OPENED = IncidentOpened(incident_id="inc", signal_ids=[], severity="page", title="", started_at_us=0)
CLOSED = IncidentClosed(incident_id="inc", resolution="remediated", reason="")
DECISION = decision(
    decision_id="dec", plan_id="plan", incident_id="inc", bundle="strict@2", bundle_digest="sha256:strict"
)
HELD = ApprovalRequested(approval_id="app", decision=DECISION, group="sre", needed=1, summary="", expires_at_us=0)
AUTHORIZED = PlanAuthorized(decision=DECISION, obligations=[], approvals=[], not_after_us=0)
DENIED = PlanDenied(decision=DECISION, reason="")
ASKED_AT_STEP = HELD.model_copy(update={"step_id": "2", "execution_id": "exe"})
STEP_AUTHORIZED = StepAuthorized(
    decision=DECISION.model_copy(update={"bundle_digest": "sha256:later"}),
    plan_decision_id="dec",
    execution_id="exe",
    step_id="2",
    obligations=[],
    approvals=[],
    not_after_us=0,
)
REVOKED = AuthorizationRevoked(decision_id="dec", plan_id="plan", incident_id="inc", reason="", step_id="2")
OUTCOME = outcome(outcome_id="out", execution_id="exe", plan_id="plan", incident_id="inc")
VERIFIED = OutcomeVerified(outcome=OUTCOME)
ROLLED_BACK = OutcomeRejected(outcome=OUTCOME.model_copy(update={"phase": "rollback"}))
POOR = Quality(freshness_bp=4_000, completeness_bp=9_000, validity_bp=10_000, order_bp=10_000)
REPORTED = TelemetryQualityChanged(quality=POOR, previous=POOR, worst_series="", reason="")


def at(offset: int, after_ms: int, payload: object) -> Recorded:
    return Recorded(
        Position(str(Topic.LOG), 0, offset),
        Event(envelope(event_id=str(offset), domain="prod"), payload),
        None,
        T0 + after_ms,
    )


def given(*events: Recorded) -> DomainRow:
    return reduce(lambda row, event: apply(row, event)[0], events, NO_ROW)


def figures(row: DomainRow, length_ms: int = MINUTE, digest: str = "sha256:strict") -> Figures:
    (found,) = [w.figures for w in row.windows if (w.length_ms, w.policy.digest) == (length_ms, digest)]
    return found


def test_a_row_that_was_kept_before_the_waits_of_steps_were_counted_is_read() -> None:
    row = given(at(1, 100, OPENED), at(5, 350, AUTHORIZED))
    kept = row.model_dump(mode="json", exclude={"heard": True, "windows": {"__all__": {"figures": {"step_wait"}}}})
    assert "step_wait" not in json.dumps(kept)
    assert DomainRow.model_validate_json(json.dumps(kept)) == row


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_a_decision_is_measured_from_the_incidents_opening_and_counts_in_both_windows() -> None:
    row = given(at(1, 100, OPENED), at(5, 350, AUTHORIZED))
    for length in (MINUTE, FIVE):
        counted = figures(row, length)
        assert (counted.authorized, counted.denied) == (1, 0)
        assert (counted.decision_latency.count, counted.decision_latency.sum_ms) == (1, 250)
        assert counted.decision_latency.below_ms == {"256": 1}
        assert counted.approval_wait.count == 0


def test_only_an_incidents_first_decision_is_measured() -> None:
    second = PlanAuthorized(
        decision=DECISION.model_copy(update={"plan_id": "other"}), obligations=[], approvals=[], not_after_us=0
    )
    counted = figures(given(at(1, 0, OPENED), at(2, 70, DENIED), at(3, 900, second)))
    assert (counted.authorized, counted.denied) == (1, 1)
    assert (counted.decision_latency.count, counted.decision_latency.sum_ms) == (1, 70)


def test_a_wait_for_approval_begins_with_the_first_request_and_ends_with_the_decision() -> None:
    counted = figures(given(at(1, 0, OPENED), at(2, 10, HELD), at(3, 500, HELD), at(4, 2_010, AUTHORIZED)))
    assert (counted.approval_wait.count, counted.approval_wait.sum_ms) == (1, 2_000)


@pytest.mark.parametrize("answer", [STEP_AUTHORIZED, REVOKED])
def test_a_held_steps_wait_ends_with_its_decision_and_counts_under_the_policy_that_asked(answer: object) -> None:
    row = given(at(1, 0, OPENED), at(2, 10, HELD), at(3, 500, AUTHORIZED), at(4, 1_000, ASKED_AT_STEP))
    assert figures(row).step_wait.count == 0
    row = apply(row, at(5, 4_000, answer))[0]
    counted = figures(row)
    assert (counted.step_wait.count, counted.step_wait.sum_ms, counted.step_wait.max_ms) == (1, 3_000, 3_000)
    assert (counted.approval_wait.count, counted.approval_wait.sum_ms) == (1, 490)
    assert figures(apply(row, at(6, 5_000, VERIFIED))[0]).verified == 1


def test_each_held_step_waits_on_its_own() -> None:
    third, its_answer = (said.model_copy(update={"step_id": "3"}) for said in (ASKED_AT_STEP, STEP_AUTHORIZED))
    row = given(at(1, 0, AUTHORIZED), at(2, 0, ASKED_AT_STEP), at(3, 100, STEP_AUTHORIZED))
    row = apply(apply(row, at(4, 1_000, third))[0], at(5, 1_300, its_answer))[0]
    assert (figures(row).step_wait.count, figures(row).step_wait.sum_ms) == (2, 400)


@pytest.mark.parametrize("step_id", ["", "3"])
def test_a_revocation_of_what_nobody_was_asked_about_ends_no_wait(step_id: str) -> None:
    other = REVOKED.model_copy(update={"step_id": step_id})
    row = given(at(1, 0, AUTHORIZED), at(2, 0, ASKED_AT_STEP), at(3, 50, other), at(4, 70, REVOKED), at(5, 90, REVOKED))
    assert (figures(row).step_wait.count, figures(row).step_wait.sum_ms) == (1, 70)


def test_an_outcome_counts_for_the_policy_that_allowed_the_plan_even_after_the_closing() -> None:
    counted = figures(given(at(1, 0, OPENED), at(2, 1, AUTHORIZED), at(3, 2, CLOSED), at(4, 3, VERIFIED)))
    assert counted.verified == 1


def test_a_judged_rollback_is_no_outcome_of_the_remedy() -> None:
    counted = figures(given(at(1, 0, OPENED), at(2, 1, AUTHORIZED), at(3, 2, ROLLED_BACK)))
    assert (counted.rejected, counted.rollbacks) == (0, 1)


def test_telemetry_quality_is_the_worst_score_and_under_no_policy() -> None:
    counted = figures(given(at(1, 0, REPORTED)), digest="")
    assert (counted.quality_reports, counted.quality_sum_bp, counted.quality_min_bp) == (1, 4_000, 4_000)


def test_a_closed_incident_is_forgotten_after_its_time_and_an_open_one_is_not() -> None:
    other = OPENED.model_copy(update={"incident_id": "open"})
    row = given(at(1, 0, OPENED), at(2, 0, other), at(3, 1, CLOSED), at(4, KEPT_MS, REPORTED))
    assert set(row.courses) == {"inc", "open"}
    assert set(apply(row, at(5, KEPT_MS + 1, REPORTED))[0].courses) == {"open"}


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_window_ends_with_the_first_record_at_its_end_whatever_that_is() -> None:
    row = given(at(1, MINUTE - 1, REPORTED))
    assert pass_time(row, 2, T0 + MINUTE - 1) == (row, [])
    after, ended = pass_time(row, 3, T0 + MINUTE)
    assert [(w.start_ms, w.length_ms, w.figures.quality_reports) for w in ended] == [(T0, MINUTE, 1)]
    assert [w.length_ms for w in after.windows] == [FIVE]
    assert after.next_offset == 4


def test_a_record_that_bears_an_earlier_time_never_opens_a_window_that_has_ended() -> None:
    row, _ = pass_time(given(at(1, 0, REPORTED)), 2, T0 + MINUTE)
    late, ended = apply(row, at(3, 5, REPORTED))
    assert ended == []
    assert {w.start_ms for w in late.windows if w.length_ms == MINUTE} == {T0 + MINUTE}


def test_a_clock_that_steps_back_measures_nothing_below_zero() -> None:
    assert (took(-5).sum_ms, took(-5).below_ms) == (0, {"1": 1})


def test_figures_add_up_in_any_order_and_nothing_adds_nothing() -> None:
    parts = [figures(given(at(1, 0, OPENED), at(2, n, AUTHORIZED))) for n in (3, 70, 900)]
    assert reduce(plus, parts) == reduce(plus, reversed(parts))
    assert plus(NO_FIGURES, parts[0]) == parts[0]


# -- delivered again ---------------------------------------------------------------------------------------------------


def test_an_event_that_was_applied_changes_nothing() -> None:
    row = given(at(1, 0, OPENED), at(2, 9, AUTHORIZED))
    for again in (at(1, 0, OPENED), at(2, 9, AUTHORIZED)):
        assert apply(row, again) == (row, [])
    assert pass_time(row, 2, T0 + FIVE) == (row, [])


@cache
def log() -> tuple[Record, ...]:
    """A log of the five agents, with a record long after its end, so that every window has ended."""
    records = course()
    last = {record.position.partition: record for record in records}
    after = [
        r._replace(position=r.position._replace(offset=r.position.offset + 1), timestamp_ms=r.timestamp_ms + 2 * FIVE)
        for r in last.values()
    ]
    return tuple(sorted([*records, *after], key=lambda r: r.position))


def run(deliveries: Iterable[Record], restarts: Iterator[bool]) -> list[Outgoing]:
    """What is said of these deliveries; at a restart only rows that were kept as JSON are left."""
    kept: dict[int, dict[str, str]] = {}
    alive: dict[int, PartitionKpis] = {}
    out = []
    for record in deliveries:
        number = record.position.partition
        if next(restarts) or number not in alive:
            json = dict(kept.get(number, {}))
            trust = TrustRow.model_validate_json(json.pop(NO_DOMAIN)) if NO_DOMAIN in json else NO_TRUST
            rows = {domain: DomainRow.model_validate_json(row) for domain, row in json.items()}
            alive[number] = PartitionKpis(number, rows, CODEC, MINT, trust)
        for change in alive[number].take(record):
            out += change.said
            kept.setdefault(number, {})[change.domain] = change.row.model_dump_json()
    return out


def recorded(records: Iterable[Record]) -> list[Recorded]:
    return [Recorded(r.position, CODEC.decode(r.value), None, r.timestamp_ms) for r in records]


def spoken(said: Iterable[Outgoing]) -> list[Recorded]:
    return [Recorded(Position(o.topic, o.partition, n), CODEC.decode(o.value)) for n, o in enumerate(said)]


def never() -> Iterator[bool]:
    while True:
        yield False


def test_a_log_of_the_five_agents_gives_what_a_fresh_count_gives() -> None:
    said = run(log(), never())
    assert len(said) > 2 * PARTITIONS
    assert difference(recorded(log()), spoken(said)) == []
    assert {o.topic for o in said} == {str(Topic.KPIS)}


@pytest.mark.parametrize("seed", range(5))
def test_deliveries_from_earlier_offsets_and_restarts_change_no_figure_and_no_id(seed: int) -> None:
    dice = random.Random(seed)
    deliveries: list[Record] = []
    for number in range(PARTITIONS):
        partition, position = [r for r in log() if r.position.partition == number], 0
        while position < len(partition):
            until = position + dice.randint(1, 60)
            deliveries += partition[position:until]
            position = max(0, until - dice.randint(0, 40)) if until < len(partition) else until
    again = run(deliveries, iter(lambda: dice.random() < 0.02, None))
    assert len(deliveries) > len(log())
    assert difference(recorded(log()), spoken(again)) == []
    assert {o.value for o in again} == {o.value for o in run(log(), never())}


SIGNED = {b"PlanAuthorized", b"OutcomeVerified"}


@pytest.mark.parametrize("restarts", [never, lambda: cycle([True])])
def test_decisions_and_verdicts_that_nobody_signed_are_not_counted(restarts: Callable[[], Iterator[bool]]) -> None:
    forged = [_unsigned(record) if record.headers[EVENT_TYPE] in SIGNED else record for record in log()]
    genuine = [record for record in recorded(log()) if record.event.type.encode() not in SIGNED]
    assert len(genuine) < len(forged)
    assert difference(genuine, spoken(run(forged, restarts()))) == []


def _unsigned(record: Record) -> Record:
    return record._replace(headers={name: value for name, value in record.headers.items() if name != SIGNATURE})


def with_copies(dice: random.Random) -> list[Record]:
    """The log, with copies of signed words at later offsets of their partitions, under the time that they come at."""
    copied: list[Record] = []
    for number in range(PARTITIONS):
        partition = [r for r in log() if r.position.partition == number]
        signed: list[Record] = []
        told: list[Record] = []
        for record in partition[:-1]:
            told.append(record)
            if SIGNATURE in record.headers and record.headers[EVENT_TYPE] != b"ConfigurationActivated":
                signed.append(record)
            if signed and dice.random() < 0.2:
                told.append(dice.choice(signed)._replace(timestamp_ms=record.timestamp_ms))
        told += [each._replace(timestamp_ms=told[-1].timestamp_ms) for each in signed]
        told.append(partition[-1])
        copied += [r._replace(position=r.position._replace(offset=at)) for at, r in enumerate(told)]
    return copied


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("restarts", [never, lambda: cycle([True])])
def test_copies_of_signed_words_at_later_offsets_are_not_counted_again(
    restarts: Callable[[], Iterator[bool]], seed: int
) -> None:
    copied = with_copies(random.Random(seed))
    decisions = [r.headers[EVENT_TYPE] for r in copied].count(b"PlanAuthorized")
    assert decisions >= 2 * [r.headers[EVENT_TYPE] for r in log()].count(b"PlanAuthorized") > 0
    assert difference(recorded(log()), spoken(run(copied, restarts()))) == []


@pytest.mark.parametrize("late_ms", [-30 * DAY, DAY + FIVE, 30 * DAY])
def test_a_log_that_is_recorded_long_after_it_was_said_gives_the_same_figures(late_ms: int) -> None:
    """Agents that were away, or a log that is written anew: what they answer counts in the order of its causes."""

    def figures_of(records: Iterable[Record]) -> list[Figures]:
        return [one.payload.figures for one in spoken(run(records, never()))]

    late = [each._replace(timestamp_ms=each.timestamp_ms + late_ms) for each in log()]
    assert figures_of(late) == figures_of(log()) != []


def test_nothing_that_is_counted_has_to_be_fresh() -> None:
    signed = {kind.event_type() for kind in HANDLERS} & EVERY_SIGNED
    assert signed
    assert signed <= SIGNS["planner"] | SIGNS["policy"] | SIGNS["verifier"]


def test_what_a_row_remembers_of_signed_words_does_not_grow_with_the_log() -> None:
    kept: dict[str, DomainRow] = {}
    kpis = PartitionKpis(0, {}, CODEC, MINT)
    for record in with_copies(random.Random(0)):
        if record.position.partition == 0:
            kept |= {one.domain: one.row for one in kpis.take(record) if isinstance(one.row, DomainRow)}
    (row,) = kept.values()
    assert set(row.heard.answers) == {"planner/planner", "policy/policy", "verifier/verifier"}
    assert all(len(last.event_ids) < 5 for last in row.heard.answers.values())
    assert row.heard.until_us == {}


def test_another_runs_records_are_passed_by() -> None:
    shadow = [r._replace(headers={**r.headers, "run": b"shadow:x"}) for r in log()]
    assert run(shadow, never()) == []


# -- readers -----------------------------------------------------------------------------------------------------------


def test_readers_count_a_window_once_and_show_what_was_not_measured_as_unknown() -> None:
    events = spoken(run(log(), never()))
    shown = windows([*events, *events])
    assert len(shown) == len(events)
    quality = [w for w in shown if not w.bundle_digest and not w.decisions]
    assert quality
    assert {(w.success_bp, w.decision_latency_mean_ms) for w in quality} == {(None, None)}
    assert max(w.until_us for w in latest(shown)) == max(w.until_us for w in shown)
    assert len(latest(shown)) == len({(w.domain, w.window_ms, w.bundle_digest) for w in shown})


def test_a_window_knows_its_end() -> None:
    assert Window(start_ms=T0, length_ms=MINUTE, policy=NO_POLICY, figures=NO_FIGURES).end_ms == T0 + MINUTE
