"""An effector whose words would not count does nothing: what is not on record must not be done."""

import pytest
from effector_bench import TWO, Bench, authorised
from loop import EFFECTOR
from sagas import ADA, request, signers

from autopilot.schemas.configuration import Principal, Role, Signers, document
from autopilot.schemas.events.effector import StepStarted, StepSucceeded
from autopilot.schemas.events.people import ConfigurationActivated
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
