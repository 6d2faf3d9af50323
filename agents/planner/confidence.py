"""How sure the planner is of a remedy: the lower bound of a Beta posterior over its outcomes in a context.

Beta-Bernoulli: a prior declared in the catalogue, plus one success for each outcome that was verified and one failure
for each that was rejected; inconclusive ones count nothing. The bound is the one-sided 90 % bound under the normal
approximation, mean - z * sd with z = 1.2816, because a quantile of the Beta itself needs functions that differ between
processors. Only + - * / sqrt are used, which IEEE 754 fixes to the last bit.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

Z_ONE_SIDED_90 = 1.2816
WHOLE_BP = 10_000


@dataclass(frozen=True)
class Tally:
    """Outcomes of one remedy in one context."""

    verified: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Posterior:
    """Mean and lower bound of the posterior, basis points, rounded down."""

    mean_bp: int
    bound_bp: int


def posterior(prior_successes_milli: int, prior_failures_milli: int, tally: Tally) -> Posterior:
    """The posterior of a prior (in thousandths, both positive) and a tally."""
    return _posterior(prior_successes_milli, prior_failures_milli, tally.verified, tally.rejected)


@lru_cache(maxsize=4_096)
def _posterior(prior_successes_milli: int, prior_failures_milli: int, verified: int, rejected: int) -> Posterior:
    successes = prior_successes_milli / 1000 + verified
    failures = prior_failures_milli / 1000 + rejected
    total = successes + failures
    mean = successes / total
    deviation = math.sqrt(mean * (failures / total) / (total + 1))
    return Posterior(_bp(mean), _bp(mean - Z_ONE_SIDED_90 * deviation))


def _bp(share: float) -> int:
    return min(WHOLE_BP, max(0, int(share * WHOLE_BP)))
