"""A test that may be looked at after each pair of samples: its error stays what was asked, whenever one stops.

Each pair is an experiment's sample and a control's of the same moment. When nothing differs, a difference of a given
size is as likely up as down, whatever the sizes are distributed as. So one bets on the sign, at fair odds, with a stake
that may depend on the size and on everything before: the wealth is a nonnegative martingale, and by Ville's inequality
(1939) reaches 1/error with a probability of at most `error`, at any time. Large wealth is evidence that the experiment
lies higher. The bets on signs are those of tests of symmetry (de la Pena 1999; Ramdas, Ruf, Larsson and Koolen 2020,
"Admissible anytime-valid sequential inference must rely on nonnegative martingales"), the reading as betting is that
of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting". Products of factors need no
logarithm: + - * / sqrt are enough, where the boundaries of Howard, Ramdas, McAuliffe and Sekhon 2021 do.

The stake is what would make wealth grow fastest if the differences were normal with a mean of `effect` deviations:
tanh(effect * size / deviation), here by its rational approximation, at most `LARGEST_STAKE`. That is a choice of power,
not of validity. Once wealth is at `futility` the bet is given up: an effect that large would have shown. What is then
still held need not be lost, so the wealth that rejects may be a little less than 1/error (see `rejecting_wealth`).

It holds too when the experiment tends lower. It does not hold for samples that depend on their predecessors.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from autopilot.agents.verification.comparison import Direction

LARGEST_STAKE = 0.6
"""Share of the wealth that is bet on one sign at most."""


class Decision(StrEnum):
    """What the pairs so far say of the experiment."""

    HIGHER = "higher"
    LOWER = "lower"
    NO_DIFFERENCE = "no_difference"
    """In none of the directions asked for is there an effect as large as the test looks for."""
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class SequentialResult:
    """A decision, the pairs that it took (or that there were), and the evidence for a difference."""

    decision: Decision
    pairs: int
    e_value: float
    """Highest wealth over what chance would leave, of all directions: 1/e_value bounds the chance of seeing it."""


@dataclass(frozen=True)
class SequentialTest:
    """A one-sided test in each direction that is asked for.

    `error` is the probability of a false alarm in each direction, above 0 and at most 0.5; `effect` the mean of the
    differences that it looks for, in their deviations (a shift of half a deviation of the samples is about 0.35);
    `futility`, 0 and more but below 1, the wealth at which it gives up. The defaults find such a shift with a
    probability of 0.8.
    """

    error: float = 0.05
    effect: float = 0.45
    futility: float = 0.13

    def __post_init__(self) -> None:
        for name, value, fits in (
            ("error", self.error, 0 < self.error <= 0.5),
            ("effect", self.effect, 0 < self.effect < math.inf),
            ("futility", self.futility, 0 <= self.futility < 1),
        ):
            if not fits:
                raise ValueError(f"{name} is {value}, which is outside its range")

    @property
    def kept(self) -> float:
        """Wealth that is left in any case: one bet, the last, can take `LARGEST_STAKE` of more than `futility`."""
        return self.futility * (1 - LARGEST_STAKE)

    @property
    def rejecting_wealth(self) -> float:
        """Wealth that decides: (wealth - kept) / (1 - kept) is a nonnegative martingale from 1 on, so Ville's holds."""
        return self.kept + (1 - self.kept) / self.error

    def decide(
        self,
        pairs: Iterable[tuple[float, float]],
        direction: Direction = Direction.EITHER,
        margin: float = 0.0,
    ) -> SequentialResult:
        """The first decision on pairs of (control, experiment) in their order; those with no number are left out.

        With a `margin`, in the metric's unit, a difference counts only beyond it, in either direction.
        """
        bets = [_Bet(self, sign) for sign, asked in ((1, direction.up), (-1, direction.down)) if asked]
        seen = 0
        for control, experiment in pairs:
            difference = experiment - control
            if not math.isfinite(difference):
                continue
            seen += 1
            for bet in bets:
                bet.on(bet.sign * difference - margin)
                if bet.wealth >= self.rejecting_wealth:
                    return SequentialResult(bet.decision, seen, self._e_value(bets))
            if all(bet.is_over for bet in bets):
                return SequentialResult(Decision.NO_DIFFERENCE, seen, self._e_value(bets))
        return SequentialResult(Decision.UNDECIDED, seen, self._e_value(bets))

    def _e_value(self, bets: list["_Bet"]) -> float:
        return max((bet.highest - self.kept) / (1 - self.kept) for bet in bets)


class _Bet:
    """The wealth of betting that differences are above 0."""

    def __init__(self, test: SequentialTest, sign: int) -> None:
        self.test, self.sign = test, sign
        self.decision = Decision.HIGHER if sign > 0 else Decision.LOWER
        self.wealth = self.highest = 1.0
        self.squares = 0.0
        self.count = 0
        self.is_over = False

    def on(self, difference: float) -> None:
        """One more bet, unless it was given up."""
        if self.is_over:
            return
        self.count += 1
        self.squares += difference * difference
        if difference == 0 or not 0 < self.squares < math.inf:  # a square may underflow: then nothing is bet
            return
        stake = self._stake(abs(difference) / math.sqrt(self.squares / self.count))
        self.wealth *= 1 + stake if difference > 0 else 1 - stake
        self.highest = max(self.highest, self.wealth)
        self.is_over = self.wealth <= self.test.futility

    def _stake(self, size: float) -> float:
        u = self.test.effect * size
        return min(u * (15 + u * u) / (15 + 6 * u * u), LARGEST_STAKE)
