"""Waiting for what other processes bring about."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 120.0
"""How long anything is waited for: more than a busy machine needs, and less than pytest gives a test."""
_FIRST_S, _LONGEST_S = 0.04, 0.32


def eventually(
    found: Callable[[], T], timeout_s: float = PATIENCE_S, what: Callable[[], str] = lambda: "not in time"
) -> T:
    """What `found` gives once that is true or not empty; fails with `what` when it is neither in time.

    It looks again soon at first, and later three times a second: what it reads is often the whole log.
    """
    deadline, pause_s = time.monotonic() + timeout_s, _FIRST_S
    while not (value := found()):
        assert time.monotonic() < deadline, what()
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_S)
    return value
