"""An effector whose words would not count does nothing: what is not on record must not be done."""

from typing import Any

import pytest
from effector_bench import RESULTS, TWO, Bench, FakeDriver, Inline, authorised
from loop import EFFECTOR
from sagas import ADA, POLICY, plan, request, signers, step

from autopilot.infra.effector.jobs import Jobs
from autopilot.infra.effector.watch import TargetWatch
from autopilot.schemas.configuration import (
    Configuration,
    Domain,
    Fleet,
    Principal,
    Role,
    Service,
    Signers,
    TargetRef,
    document,
)
from autopilot.schemas.events.effector import PreviewCompleted, StepStarted, StepSucceeded, TargetObserved
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.policy import PreviewRequested
from autopilot.schemas.signing import SigningKey

OTHER = SigningKey.from_bytes("effector", b"o" * 32)


def listed(bench: Bench, key: SigningKey) -> None:
    """From now on the signer list has an effector with this key."""
    known = Signers.model_validate_json(signers().content)
    effector = Principal(name="effector", public_key=key.public_key, roles=[Role.EFFECTOR])
    more = known.model_copy(update={"signers": [*known.signers, effector]})
    documents = [document(more.model_dump(mode="json"))]
    bench.say(ConfigurationActivated(revision="r2", documents=documents, author="ada", comment=""), key=ADA)


def with_key(key: SigningKey | None) -> Bench:
    bench = authorised()
    bench.key = key
    bench.start()
    return bench


@pytest.mark.parametrize("key", [None, OTHER])
def test_with_a_key_that_the_list_does_not_have_nothing_is_done_and_with_the_right_one_it_is(
    key: SigningKey | None,
) -> None:
    bench = with_key(key)
    listed(bench, EFFECTOR)
    bench.say(request(TWO))
    bench.run()
    assert (bench.said(StepStarted), bench.driver.effects.total()) == ([], 0)
    assert "the effector's own key" in (bench.journal.unheard or "")
    bench.key = EFFECTOR
    bench.start()
    bench.run()
    assert (len(bench.said(StepStarted, StepSucceeded)), bench.driver.effects.total()) == (2, 1)


def test_what_was_begun_is_not_taken_up_under_a_key_that_does_not_count() -> None:
    bench = with_key(EFFECTOR)
    listed(bench, EFFECTOR)
    bench.say(request(TWO))
    bench.crash, bench.key = "after_intent", OTHER
    bench.run()
    assert len(bench.said(StepStarted)) == 1
    assert bench.driver.effects.total() == 0
    bench.key = EFFECTOR
    bench.start()
    bench.run()
    assert bench.driver.effects.total() == 1


def test_without_an_effector_in_the_list_no_key_is_needed() -> None:
    bench = with_key(None)
    bench.say(request(TWO))
    bench.run()
    assert (bench.journal.unheard, bench.driver.effects.total()) == (None, 1)


def done(bench: Bench) -> tuple[int, list[int]]:
    """How often a target was changed, and which attempts were answered so that it counts."""
    answered = [name.rsplit("/", 1)[1] for name in bench.journal.fold.state.answered]
    return bench.driver.effects.total(), [int(number) for number in answered]


def test_a_key_that_is_listed_later_needs_no_restart_and_what_was_asked_for_meanwhile_is_done() -> None:
    bench = with_key(OTHER)
    listed(bench, EFFECTOR)
    bench.say(request(TWO))
    bench.say(PreviewRequested(plan_id=TWO.plan_id, incident_id="inc-1", plan_hash=TWO.plan_hash), key=POLICY)
    bench.run()
    assert (bench.said(StepStarted, PreviewCompleted, *RESULTS), bench.dead) == ([], [])
    bench.driver.numbers["t1"] = "7"
    listed(bench, OTHER)
    bench.run()
    assert (done(bench), bench.dead) == ((1, [1]), [])
    (started,) = bench.said(StepStarted)
    (seen,) = bench.said(PreviewCompleted)
    assert (started.before["n"], seen.changes[0].before) == ("7", "7")


def test_an_attempt_that_was_asked_for_to_deaf_ears_does_not_hold_up_the_next_one() -> None:
    bench = with_key(OTHER)
    listed(bench, EFFECTOR)
    bench.say(request(TWO))
    bench.run()
    bench.say(request(TWO, attempt=2))
    bench.run()
    listed(bench, OTHER)
    bench.run()
    assert done(bench) == (1, [1, 2])


def test_the_result_of_an_act_under_way_is_said_once_the_key_counts_again() -> None:
    bench = with_key(EFFECTOR)
    listed(bench, EFFECTOR)
    bench.say(request(TWO))
    bench.run(turns=1)
    listed(bench, OTHER)
    bench.run()
    assert (done(bench), bench.said(*RESULTS), bench.dead) == ((1, []), [], [])
    listed(bench, EFFECTOR)
    bench.run()
    assert (done(bench), len(bench.said(StepSucceeded))) == ((1, [1]), 1)


def test_a_result_that_came_just_too_late_is_said_again_once_the_key_counts_again() -> None:
    bench = with_key(EFFECTOR)
    listed(bench, EFFECTOR)
    bench.say(request(TWO))
    bench.run(turns=1)
    bench.read()
    results = bench.journal.results()
    listed(bench, OTHER)
    bench.append([outgoing for _, outgoing in results])
    bench.journal.written(results)
    bench.run()
    assert (done(bench), len(bench.dead)) == ((1, []), 1)
    listed(bench, EFFECTOR)
    bench.run()
    assert (done(bench), len(bench.dead)) == ((1, [1]), 1)


@pytest.mark.parametrize("restarted", [True, False], ids=["restarted", "listed again"])
@pytest.mark.parametrize("verb", ["set", "bump", "send", "blast"])
def test_a_beginning_that_came_just_too_late_begins_nothing_and_is_said_again(verb: str, restarted: bool) -> None:
    of = plan(step(1, verb=verb))
    bench = authorised(of)
    bench.key = EFFECTOR
    listed(bench, EFFECTOR)
    bench.start()
    bench.say(request(of))
    bench.read()
    bench.journal.look()
    begun = bench.journal.at_end()
    listed(bench, OTHER)
    bench.append([outgoing for one in begun for outgoing in one.outgoing])
    bench.journal.committed(begun)
    bench.run()
    assert (done(bench), len(bench.said(StepStarted)), len(bench.dead)) == ((0, []), 1, 1)
    if restarted:
        bench.key = OTHER
        bench.start()
    else:
        listed(bench, EFFECTOR)
    bench.run()
    assert (done(bench), len(bench.said(StepSucceeded))) == ((1, [1]), 1)


def test_observed_states_are_told_once_the_key_counts_and_told_again_after_it_did_not() -> None:
    target = TargetRef(driver="fake", target="t1")
    cart = Service(name="cart", domain="shop", tier=1, owner="o", targets=[target])
    fleet = Fleet(name="f", domains=[Domain(name="shop")], services=[cart])
    in_force = Configuration().with_activated([document(fleet.model_dump(mode="json"))])
    driver = FakeDriver()
    watch = TargetWatch({"fake": driver}, Jobs(Inline()), partition=0, partitions=1, every_s=0.0)

    def told(*, heard: bool) -> list[Any]:
        return [draft.payload for _ in range(4) for draft in watch.turn(in_force, {}, heard=heard)]

    def seen(n: str) -> TargetObserved:
        return TargetObserved(driver="fake", target="t1", state={"n": n, "revision": "0"}, revision="0")

    assert told(heard=False) == []
    assert told(heard=True) == [seen("0")]
    assert told(heard=True) == []
    assert told(heard=False) == []
    driver.numbers["t1"] = "7"
    assert told(heard=True) == [seen("7")]
