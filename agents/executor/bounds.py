"""How long the executor waits and for what: failures that are tried again, back-off, grace and windows."""

from autopilot.schemas.events.effector import FailureClass

RETRYABLE = frozenset({FailureClass.TRANSIENT, FailureClass.TIMEOUT})
"""A conflict is not among them: each try is held against the target as it was before the first one."""
UNTOUCHED = frozenset({FailureClass.REFUSED, FailureClass.STALE})
"""The target was not even tried: it says nothing about its health."""
GRACE_US = 10_000_000
"""How long past its timeout an answer is waited for: to a forward step from its request and again from its start.

Longer than any one call of a driver takes, and no shorter than what the conformance suite lets a driver take.
"""
GATE_MARGIN_US = 30_000_000
"""How long past a gate's deadline the verdict on its stage is waited for."""
HELD_ANSWER_US = 300_000_000
"""How long the policy has to ask about a held step, and past the request's own time to decide: five minutes."""
FIRST_BACK_OFF_US = 1_000_000
LONGEST_BACK_OFF_US = 30_000_000
COMPENSATION_WINDOW_US = 900_000_000
"""How long a compensation may wait for the effector to begin it: a quarter of an hour.

After that the effector refuses it, and the executor gives the rollback up. From its start on its timeout counts.
"""


def back_off_us(failures: int) -> int:
    """How long to wait after the `failures`-th failure: doubling from one second to half a minute."""
    return min(FIRST_BACK_OFF_US << min(failures - 1, 10), LONGEST_BACK_OFF_US)
