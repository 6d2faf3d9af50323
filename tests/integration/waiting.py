"""Waiting for what other processes bring about."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(found: Callable[[], T], timeout_s: float, what: Callable[[], str] = lambda: "not in time") -> T:
    """What `found` gives once that is true or not empty; fails with `what` when it is neither in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.3)
    return value
