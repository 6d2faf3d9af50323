"""Whether an experiment has a larger share of bad events than its control: a test that may be looked at at any time.

Blocks of events of both sides come one after the other. For each, a likelihood ratio compares "the experiment is worse
by so much" with "both have the same share", which is the mean of the two weighted by their events; of all shares that
both could have, that one makes the ratio's expectation at most 1, exactly and for any numbers of events (Turner, Ly and
Gruenwald 2024, "Generic E-variables for exact sequential k-sample tests that allow for optional stopping"). So the
product over the blocks is a nonnegative supermartingale, and reaches 1/error with a probability of at most `error`,
ever (Ville 1939). That holds too when the experiment is better, and whichever alternatives are chosen, as long as a
block is not asked about its own: here the control's share so far, and several sizes of harm whose products are
averaged.

The other way round, "the experiment is as its control" is held against "worse by the least harm that matters or more"
on the experiment's events alone, with the control's share so far as if it were known: reaching 1/miss means no
difference, and an experiment that is worse by as much reaches it with a probability of at most `miss`.

Products of integer powers, by squaring, with the exponent kept apart: + - * / alone, and nothing can overflow. Events
are taken for independent; bursts of failures are not quite that.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autopilot.agents.verification.sequential import Decision, SequentialResult

MATERIAL_SHARE = 0.1
"""Of the control's own share: a smaller harm does not matter where the control has that much of it."""
LEARNING_EVENTS = 20
"""Events of the control from which its share is learnt before anything is bet on it."""
_SIZES = (1, 4, 16, 64)
"""Harms that are looked for, in least harms; and half of what is left to lose."""
_LARGEST_HARM = 0.5
_EXPONENT = 900
"""Powers of two beyond which a product is not told apart any more."""


@dataclass(frozen=True)
class Block:
    """Bad and all events of both sides in a stretch of time."""

    control_bad: int
    control_events: int
    experiment_bad: int
    experiment_events: int


@dataclass(frozen=True)
class ShareTest:
    """A test for a larger share. `harm` is the least difference of shares that matters, above 0 and below 0.5."""

    harm: float
    error: float = 0.05
    miss: float = 0.1

    def __post_init__(self) -> None:
        for name, value, most in (("harm", self.harm, 0.5), ("error", self.error, 1.0), ("miss", self.miss, 1.0)):
            if not 0 < value < most:
                raise ValueError(f"{name} is {value}, which is outside its range")

    def decide(self, blocks: Iterable[Block]) -> SequentialResult:
        """The first decision on blocks in their order: `higher`, `no_difference`, or else `undecided`."""
        products, alike = [_Product() for _ in (*_SIZES, _LARGEST_HARM)], _Product()
        bad, events, seen, highest = 0, 0, 0, 1.0
        for block in blocks:
            seen += 1
            control = (bad + self.harm) / (events + 1)
            worse = self._alternatives(control) if events >= LEARNING_EVENTS else []
            for product, experiment in zip(products, worse, strict=False):
                product.times(_ratio(block, control, experiment))
            if worse:
                alike.times(_alike(block, control, worse[0]))
            bad, events = bad + block.control_bad, events + block.control_events
            wealth = math.fsum(product.value for product in products) / len(products)
            highest = max(highest, wealth)
            if wealth >= 1 / self.error:
                return SequentialResult(Decision.HIGHER, seen, highest)
            if alike.value >= 1 / self.miss:
                return SequentialResult(Decision.NO_DIFFERENCE, seen, highest)
        return SequentialResult(Decision.UNDECIDED, seen, highest)

    def _alternatives(self, control: float) -> Sequence[float]:
        """Shares of the experiment that are looked for, above the control's."""
        least = min(max(self.harm, MATERIAL_SHARE * control), _LARGEST_HARM)
        harms = [min(least * size, _LARGEST_HARM) for size in _SIZES]
        return [control + min(harm, (1 - control) / 2) for harm in (*harms, _LARGEST_HARM)]


@dataclass
class _Product:
    """A product of many powers, as `mantissa * 2 ** exponent`."""

    mantissa: float = 1.0
    exponent: int = field(default=0)

    @property
    def value(self) -> float:
        """The product, held within what a floating-point number can be."""
        return math.ldexp(self.mantissa, min(max(self.exponent, -_EXPONENT), _EXPONENT))

    def times(self, factors: Iterable[tuple[float, int]]) -> None:
        """Multiplies by each factor to its power."""
        for factor, power in factors:
            square, exponent = math.frexp(factor)
            while power:
                if power & 1:
                    self._by(square, exponent)
                square, more = math.frexp(square * square)
                exponent, power = 2 * exponent + more, power >> 1

    def _by(self, mantissa: float, exponent: int) -> None:
        self.mantissa, more = math.frexp(self.mantissa * mantissa)
        self.exponent += exponent + more


def _ratio(block: Block, control: float, experiment: float) -> list[tuple[float, int]]:
    """The likelihood ratio of a block as factors and their powers; 1 where a side has no events."""
    events = block.control_events + block.experiment_events
    if not block.control_events or not block.experiment_events:
        return []
    same = (block.control_events * control + block.experiment_events * experiment) / events
    return [
        (control / same, block.control_bad),
        ((1 - control) / (1 - same), block.control_events - block.control_bad),
        (experiment / same, block.experiment_bad),
        ((1 - experiment) / (1 - same), block.experiment_events - block.experiment_bad),
    ]


def _alike(block: Block, control: float, worse: float) -> list[tuple[float, int]]:
    """The experiment's likelihood ratio of being as the control to being worse."""
    good = block.experiment_events - block.experiment_bad
    return [(control / worse, block.experiment_bad), ((1 - control) / (1 - worse), good)]
