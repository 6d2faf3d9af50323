"""How much evidence each of several looks at growing data asks for, so that all of them together keep one error.

An error spent look by look (Lan and DeMets 1983), summed by the union bound: valid however the looks depend on each
other, and however many there are. Beyond the planned ones, looks spend only when the data have doubled since the last
that did, for a look at hardly more data finds hardly more; and the very last one has a share of its own.
"""

from autopilot.agents.verification.normal import quantile

PLANNED_SHARE, FURTHER_SHARE, LAST_SHARE = 0.5, 0.3, 0.2
"""Of the error: for the looks that were planned, for those after them without end, for the last before a deadline."""
LEAST_ERROR = 1e-6
"""What any other look may spend: a case that is as clear as this need not wait."""


def error_at_look(look: int, planned: int, error: float, *, is_last: bool = False) -> float:
    """What the look (from 1) may spend: little at first, most at the last planned one, then less each doubling."""
    reserve = error * LAST_SHARE if is_last else 0.0
    if look <= planned:
        return reserve + error * PLANNED_SHARE * look**3 / sum(k**3 for k in range(1, planned + 1))
    doublings, data = 1, 2 * planned
    while data < look:
        doublings, data = doublings + 1, 2 * data
    return reserve + (error * FURTHER_SHARE / (doublings * (doublings + 1)) if data == look else 0.0)


def z_at_look(look: int, planned: int, error: float, *, is_last: bool = False) -> float:
    """Standard errors that the look asks for, one-sided."""
    return -quantile(max(error_at_look(look, planned, error, is_last=is_last), LEAST_ERROR))
