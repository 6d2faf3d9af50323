"""A signed record that is written once more, or elsewhere, or under another run, changes nothing."""

from dataclasses import replace

from effector_bench import Bench
from loop import EFFECTOR, EXECUTOR
from outcomes import outcome
from sagas import ADA, BOB, POLICY, authorization, ok, plan, request, signers
from scenario import START_US

from autopilot.agents.planner import Planner
from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.gate_state import GateState
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Principal, Role, Signers, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Event, Position, Recorded
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.executor import ExecutionCompleted
from autopilot.schemas.events.people import ConfigurationActivated, Document, Halt, Resume
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.runtime import DeadLettered, Tick
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import RUN, Outgoing, Record
from autopilot.streams.repetition import HEARD_US, Heard, check_repetition

HALT = Halt(scope="shop", ordered_by="bob", reason="r")
RESUME = Resume(scope="shop", ordered_by="ada", reason="r")


def seen(bench: Bench) -> GateState:
    bench.read()
    return bench.journal.fold.state


def again(bench: Bench, record: Record) -> None:
    """Whoever may write to the log writes a record once more, byte for byte."""
    bench.append([Outgoing(record.position.topic, 0, record.key, record.value, record.headers)])


def refused(bench: Bench) -> list[Payload]:
    return [bench.codec.decode(out.value).payload for out in bench.dead]


def test_a_resume_that_is_repeated_does_not_lift_a_later_halt() -> None:
    bench = Bench()
    bench.say(HALT, key=BOB)
    bench.say(RESUME, key=ADA)
    resume = bench.log[-1]
    bench.say(HALT, key=BOB)
    again(bench, resume)
    assert seen(bench).authority.halted("shop")
    (letter,) = refused(bench)
    assert isinstance(letter, DeadLettered)
    assert (letter.error_class, letter.field) == ("repeated", "event_id")


def test_the_same_words_count_again_when_they_are_said_again() -> None:
    bench = Bench()
    for payload, key in ((HALT, BOB), (RESUME, ADA), (HALT, BOB), (RESUME, ADA)):
        bench.say(payload, key=key)
    assert not seen(bench).authority.halted("shop")
    assert refused(bench) == []


def test_an_order_that_is_a_day_old_is_not_taken_and_what_was_heard_is_forgotten_by_then() -> None:
    bench = Bench()
    bench.say(HALT, key=BOB)
    bench.say(RESUME, key=ADA)
    resume = bench.log[-1]
    bench.now_us += HEARD_US + 1_000_000
    bench.say(Tick(at_us=bench.now_us))
    bench.say(HALT, key=BOB)
    again(bench, resume)
    assert seen(bench).authority.halted("shop")
    assert len(bench.journal.fold.runtime.heard.until_us) == 1
    letter = refused(bench)[0]
    assert isinstance(letter, DeadLettered)
    assert letter.field == "occurred_at_us"


def test_a_decision_that_is_copied_to_another_partition_is_not_one_there() -> None:
    elsewhere = Recorded(Position("autopilot.log", 1, 7), _outside(plan()))
    mint = Mint(Codec(BundledRegistry()), "policy", 2, key=POLICY, signs=frozenset({"PlanAuthorized"}))
    for partition, known in ((0, []), (1, ["dec-1"])):
        fold = _gate()
        draft = Draft(authorization(plan()), "shop", "cart", "inc-1")
        signed = mint.of_cause(draft, elsewhere, 0, {}, START_US)
        said = [_configuration(), signed]
        out = fold.step(
            [Record(Position(o.topic, partition, i), 0, o.key, o.value, o.headers) for i, o in enumerate(said)]
        )
        assert list(fold.state.decisions) == known
        assert len(out) == 1 - len(known)


def test_what_another_run_signed_counts_for_nothing_under_a_header_of_this_one() -> None:
    fold = _gate()
    other = Mint(Codec(BundledRegistry()), "policy", 1, run="staging", key=POLICY, signs=frozenset({"PlanAuthorized"}))
    signed = other.from_outside(Draft(authorization(plan()), "shop", "cart", "inc-1"), START_US, {})
    disguised = replace(signed, headers={**signed.headers, RUN: b"live"})
    said = [_configuration(), disguised]
    (letter,) = fold.step(_records(said, 0))
    assert fold.state.decisions == {}
    assert b"staging" in letter.value


# -- what agents say ---------------------------------------------------------------------------------------------------


def answer(agent: SigningKey, payload: Payload, cause: int, ordinal: int = 0) -> Outgoing:
    """What an agent says because of the record at the offset `cause` of partition 0; it says the time as START_US."""
    signs = frozenset({payload.event_type()})
    mint = Mint(Codec(BundledRegistry()), agent.principal, 2, key=agent, signs=signs)
    because = Recorded(Position("autopilot.log", 0, cause), _outside(plan()))
    return mint.of_cause(Draft(payload, "shop", "cart", "inc-1"), because, ordinal, {}, START_US)


def revoked(number: int, cause: int, ordinal: int = 0) -> Outgoing:
    """The policy revokes a decision."""
    names = {"plan_id": "plan-1", "incident_id": "inc-1"}
    return answer(POLICY, AuthorizationRevoked(decision_id=f"dec-{number}", **names, reason="r"), cause, ordinal)


def later(days: int) -> Outgoing:
    at_us = START_US + days * HEARD_US
    return Mint(Codec(BundledRegistry()), "clock", 2).from_outside(Draft(Tick(at_us=at_us), ""), at_us, {})


def letters(fold: PartitionFold[GateState], said: list[Outgoing]) -> list[tuple[str, str]]:
    """Error class and field of every dead letter."""
    found = [Codec(BundledRegistry()).decode(out.value).payload for out in fold.step(_records(said, 0))]
    return [(one.error_class, one.field) for one in found if isinstance(one, DeadLettered)]


def test_what_an_agent_says_counts_however_late_it_comes_and_only_once() -> None:
    fold = _gate()
    word = revoked(1, 5)
    said = [_configuration(), later(3), word, later(4), word]
    assert letters(fold, said) == [("repeated", "event_id")]
    assert list(fold.state.revoked) == ["dec-1"]


def test_what_an_agent_said_before_it_spoke_about_something_later_is_never_heard_again() -> None:
    fold = _gate()
    first, second, both, late = (revoked(n, cause, n) for n, cause in ((1, 4), (2, 7), (3, 7), (4, 5)))
    said = [_configuration(), first, second, both, later(4), first, late]
    assert letters(fold, said) == [("repeated", "cause_offset")] * 2
    assert list(fold.state.revoked) == ["dec-1", "dec-2", "dec-3"]


def test_two_agents_with_one_key_speak_each_in_its_own_order() -> None:
    codec, heard = Codec(BundledRegistry()), Heard()
    one_key = SigningKey.from_bytes("agents", b"z" * 32)
    done = ExecutionCompleted(execution_id="e", plan_id="plan-1", incident_id="inc-1")
    offset = 200

    def said(producer: str, payload: Payload, cause: int) -> bool:
        nonlocal offset
        offset += 1
        mint = Mint(codec, producer, 2, key=one_key, signs=frozenset({payload.event_type()}))
        because = Recorded(Position("autopilot.log", 0, cause), _outside(plan()))
        event = mint.of_cause(Draft(payload, "shop", "cart", "inc-1"), because, 0, {}, START_US)
        record = Record(Position("autopilot.log", 0, offset), 0, event.key, event.value, event.headers)
        return check_repetition(record, codec.decode(event.value), one_key.principal, heard, START_US) is None

    verdict = OutcomeVerified(outcome=outcome())
    assert said("executor", done, 120)
    assert said("verifier", verdict, 110)
    assert said("executor", done, 130)
    assert not said("executor", done, 120)
    assert said("verifier", verdict, 115)
    assert not said("verifier", verdict, 110)


def test_what_the_effector_answers_may_come_in_any_order_and_is_known_again() -> None:
    fold = _gate()
    slow, quick = (answer(EFFECTOR, ok(step_id), cause) for step_id, cause in (("s1", 5), ("s2", 9)))
    asked = [answer(EXECUTOR, request(plan(), step_id), cause) for step_id, cause in (("s1", 2), ("s2", 3))]
    everyone = _configuration(signed_by_all())
    assert letters(fold, [everyone, *asked, later(2), quick, slow, quick]) == [("repeated", "event_id")]
    assert len(fold.state.succeeded) == 2


def test_what_was_seen_at_a_target_is_news_for_a_day() -> None:
    seen_there = TargetObserved(driver="fake", target="t1", state={}, revision="")
    mint = Mint(Codec(BundledRegistry()), "effector", 2, key=EFFECTOR, signs=frozenset({"TargetObserved"}))
    unasked = mint.from_outside(Draft(seen_there, "shop", "cart"), START_US, {})
    asked = answer(EFFECTOR, seen_there, 5, 2)
    codec = Codec(BundledRegistry())
    fold = PartitionFold(Planner(), codec, Mint(codec, "planner", 2), reads_run="live")
    said = [_configuration(signed_by_all()), unasked, asked, unasked, later(2), asked]
    found = [codec.decode(out.value).payload for out in fold.step(_records(said, 0))]
    refused = [(one.error_class, one.field) for one in found if isinstance(one, DeadLettered)]
    assert refused == [("repeated", "event_id"), ("repeated", "occurred_at_us")]


def test_what_was_heard_is_swept_out_once_it_can_no_longer_count() -> None:
    heard = Heard()
    for hour in range(100):
        now_us = START_US + hour * 3_600_000_000
        event = Mint(Codec(BundledRegistry()), "ada", 2).outside_event(Draft(HALT, "shop"), now_us)
        record = Record(Position("autopilot.log", 0, hour), 0, b"", b"", {})
        assert check_repetition(record, event, "ada", heard, now_us) is None
        assert check_repetition(record, event, "ada", heard, now_us) is not None
    assert len(heard.until_us) == 25


# -- configuration and time --------------------------------------------------------------------------------------------


def test_an_activation_that_is_older_than_the_one_in_force_does_not_count() -> None:
    bench = Bench()
    old = bench.log[0]
    fewer = document(Signers(name="s", signers=[s for s in _signers() if s.name != "bob"]).model_dump(mode="json"))
    bench.say(ConfigurationActivated(revision="r2", documents=[fewer], author="ada", comment=""), key=ADA)
    again(bench, old)
    assert "bob" not in seen(bench).authority.roles
    assert len(refused(bench)) == 1


def test_a_tick_that_is_far_ahead_of_the_brokers_time_does_not_stop_the_clock() -> None:
    fold = _gate()
    mint = Mint(Codec(BundledRegistry()), "someone", 2)
    at_us = (START_US, START_US + 10 * HEARD_US, START_US + 1_000_000)
    said = [mint.from_outside(Draft(Tick(at_us=at), ""), at, {}) for at in at_us]
    records = [record._replace(timestamp_ms=START_US // 1_000) for record in _records(said, 0)]
    assert len(fold.step(records)) == 1
    assert fold.runtime.now_us == START_US + 1_000_000


def test_what_other_code_had_parked_is_taken_up_again() -> None:
    fold = _gate()
    fold.runtime.parked += ["shop", "cart"]
    state = fold.dump()
    same, other = _gate(), _gate()
    same.load(state)
    other.load(state, same_code=False)
    assert same.runtime.parked == ["shop", "cart"]
    assert other.runtime.parked == []


def _gate() -> PartitionFold[GateState]:
    codec = Codec(BundledRegistry())
    return PartitionFold(Gate(), codec, Mint(codec, "effector", 2), reads_run="live")


def _records(said: list[Outgoing], partition: int) -> list[Record]:
    places = (Position(str(out.topic), partition, offset) for offset, out in enumerate(said))
    return [Record(at, 0, out.key, out.value, out.headers) for at, out in zip(places, said, strict=True)]


def signed_by_all() -> Document:
    """The signer list, and an executor and an effector on it."""
    more = ((EXECUTOR, Role.EXECUTOR), (EFFECTOR, Role.EFFECTOR))
    processes = [Principal(name=key.principal, public_key=key.public_key, roles=[role]) for key, role in more]
    return document(Signers(name="s", signers=[*_signers(), *processes]).model_dump(mode="json"))


def _configuration(listed: Document | None = None) -> Outgoing:
    activation = ConfigurationActivated(revision="r", documents=[listed or signers()], author="ada", comment="")
    mint = Mint(Codec(BundledRegistry()), "ada", 2, key=ADA, signs=frozenset({"ConfigurationActivated"}))
    return mint.from_outside(Draft(activation, ""), START_US, {})


def _signers() -> list[Principal]:
    return Configuration().with_activated([signers()]).signers()


def _outside(payload: Payload) -> Event[Payload]:
    return Mint(Codec(BundledRegistry()), "planner", 2).outside_event(Draft(payload, "shop", "cart", "inc-1"), START_US)
