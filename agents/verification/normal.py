"""The normal distribution with + - * / sqrt alone, so that every processor finds the same.

The distribution function is the Taylor series of its integral, which converges everywhere; its terms grow to exp(z*z/2)
before they shrink, so that the absolute error is below 1e-10 for |z| <= 5 and nothing is promised beyond. A test holds
both functions against the standard library's.
"""

import math
from functools import cache

LARGEST_Z = 5.0
"""Standard errors beyond which nothing is told apart any more: 3e-7 of a tail."""
_ROOT_TWO_PI = 2.5066282746310002
_HALVINGS = 56
"""Of the interval -5..5: down to the spacing of floating-point numbers."""


def cumulative(z: float) -> float:
    """Probability that a standard normal value is at most `z`; beyond 5 standard errors as at 5."""
    z = min(max(z, -LARGEST_Z), LARGEST_Z)
    term = total = z
    order = 0
    while term > 1e-17 or term < -1e-17:
        order += 1
        term *= -z * z / (2 * order)
        total += term / (2 * order + 1)
    return 0.5 + total / _ROOT_TWO_PI


@cache
def quantile(probability: float) -> float:
    """The value that a standard normal one is at most with `probability`, within -5..5; raises ValueError beyond."""
    if not cumulative(-LARGEST_Z) <= probability <= cumulative(LARGEST_Z):
        raise ValueError(f"probability is {probability}, expected one between 3e-7 and 1 - 3e-7")
    low, high = -LARGEST_Z, LARGEST_Z
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if cumulative(middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def two_sided_z(confidence: float) -> float:
    """Standard errors on either side that hold `confidence`, which is above 0 and at most 0.999999."""
    if not (math.isfinite(confidence) and 0 < confidence <= 0.999999):
        raise ValueError(f"confidence is {confidence}, expected above 0 and at most 0.999999")
    return quantile((1 + confidence) / 2)
