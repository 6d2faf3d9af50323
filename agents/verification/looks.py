"""How much evidence each of several looks at growing data asks for, so that all of them together keep one error.

An error spent look by look (Lan and DeMets 1983), summed by the union bound: valid however the looks depend on each
other, and however many there are. Beyond the planned ones, looks spend only when the data have doubled since the last
that did, for a look at hardly more data finds hardly more.
"""

from autopilot.agents.verification.normal import quantile

PLANNED_SHARE = 0.7
"""Share of the error for the looks that were planned; the rest is for those after them, without end."""
LEAST_ERROR = 1e-6
"""What any other look may spend: a case that is as clear as this need not wait."""


def error_at_look(look: int, planned: int, error: float) -> float:
    """What the look (from 1) may spend: little at first, most at the last planned one, then less each doubling."""
    if look <= planned:
        return error * PLANNED_SHARE * look**3 / sum(k**3 for k in range(1, planned + 1))
    doublings, data = 1, 2 * planned
    while data < look:
        doublings, data = doublings + 1, 2 * data
    return error * (1 - PLANNED_SHARE) / (doublings * (doublings + 1)) if data == look else LEAST_ERROR


def z_at_look(look: int, planned: int, error: float) -> float:
    """Standard errors that the look asks for, one-sided."""
    return -quantile(max(error_at_look(look, planned, error), LEAST_ERROR))
