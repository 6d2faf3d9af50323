"""Stories that are told at the same time."""

import threading

import pytest

from examples.kubernetes.incidents import at_once, require
from examples.shop.watch import NotSeenError


def test_what_stories_give_comes_in_their_order_whichever_ends_first() -> None:
    ended = threading.Event()

    def slow() -> list[str]:
        assert ended.wait(120)
        return ["a", "b"]

    def quick() -> list[str]:
        ended.set()
        return ["c"]

    assert at_once(slow, quick) == ["a", "b", "c"]


def test_the_first_to_fail_is_told_while_another_still_goes_on() -> None:
    never = threading.Event()

    def waits() -> list[str]:
        never.wait()
        return []

    def fails() -> list[str]:
        require(False, "it did not happen")
        return []

    try:
        with pytest.raises(NotSeenError, match="it did not happen"):
            at_once(waits, fails)
    finally:
        never.set()
