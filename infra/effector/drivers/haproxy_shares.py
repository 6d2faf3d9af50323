"""Weights that give some servers of a backend a share of its requests, and the shares that weights give.

A server's size is its configured weight (1 when that is 0). Within the chosen servers and within the others, requests
go by size. With the chosen ones' total size S, the others' T and the share p percent, a chosen server of size s has
the weight `s * a` and another one `s * b`, where a : b = p * T : (100 - p) * S in lowest terms. Where a weight would be
more than HAProxy's 256 they are scaled down to it, rounded half up and never to 0: the share is then off by at most
100 * servers / (sum of the weights) points. One against one of a size up to 10 is at most 0.17 points off, one to ten
servers of equal size against up to ten always less than 3.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd

MAX_WEIGHT = 256


def weights_for(
    sizes: Mapping[str, int], chosen: Sequence[str], serving: Sequence[str], percent: int
) -> dict[str, int]:
    """The weight of every server in `sizes`, so that the `chosen` among the `serving` ones get `percent` of them.

    Servers that do not serve have the weight that fits their group, and count for neither side.
    """
    inside = sum(sizes[name] for name in serving if name in chosen)
    outside = sum(sizes[name] for name in serving if name not in chosen)
    a, b = percent * outside, (100 - percent) * inside
    if not outside or not inside:
        a, b = percent, 100 - percent
    factors = {name: (a if name in chosen else b) // gcd(a, b) for name in sizes}
    exact = {name: size * factors[name] for name, size in sizes.items()}
    highest = max(exact.values())
    if highest <= MAX_WEIGHT:
        return exact
    return {name: _rounded(weight, highest) for name, weight in exact.items()}


def shares(weights: Mapping[str, int]) -> dict[str, Fraction]:
    """The percentage of the requests that each server gets; 0 for all when no weight is positive."""
    total = sum(weights.values())
    return {name: Fraction(100 * weight, total or 1) for name, weight in weights.items()}


def written(share: Fraction) -> str:
    """A percentage with at most two decimals, such as `5` or `12.5`, rounded half up."""
    hundredths = (2 * 100 * share.numerator + share.denominator) // (2 * share.denominator)
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") if rest else str(whole)


def _rounded(weight: int, highest: int) -> int:
    return max(1, (2 * weight * MAX_WEIGHT + highest) // (2 * highest)) if weight else 0
