"""How long the executor waits and for what: failures that are tried again, back-off, grace and windows."""

from autopilot.schemas.events.effector import FailureClass

RETRYABLE = frozenset({FailureClass.TRANSIENT, FailureClass.TIMEOUT, FailureClass.CONFLICT})
UNTOUCHED = frozenset({FailureClass.REFUSED, FailureClass.STALE})
"""The target was not even tried: it says nothing about its health."""
GRACE_US = 10_000_000
"""How long past its timeout an answer is waited for."""
GATE_MARGIN_US = 30_000_000
"""How long past a gate's deadline the verdict on its stage is waited for."""
FIRST_BACK_OFF_US = 1_000_000
LONGEST_BACK_OFF_US = 30_000_000
COMPENSATION_WINDOW_US = 900_000_000
"""How long a compensation may wait for the effector to begin it: a quarter of an hour."""


def back_off_us(failures: int) -> int:
    """How long to wait after the `failures`-th failure: doubling from one second to half a minute."""
    return min(FIRST_BACK_OFF_US << min(failures - 1, 10), LONGEST_BACK_OFF_US)
