"""Classifications a second, and how soon the sequential test decides beside a test of a fixed size.

    python -m bench verification

The fixed-size test is the rank-sum test, one-sided at 5 % with power 0.8 for a shift of half a deviation: its size is
Noether's (1987); that of the t test, for which the data here are ideal, stands beside it. Sizes are samples on each
side. The sequential test runs until it decides or `LONGEST` is reached.
"""

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autopilot.agents.verification import Decision, Direction, SequentialTest, classify
from autopilot.agents.verification.normal import cumulative, quantile
from autopilot.agents.verification.shares import Block, ShareTest
from bench.measure import Figure, rate

SEED = 20_260_301
SHIFT, ERROR, POWER = 0.5, 0.05, 0.8
LONGEST = 150
RUNS = 10_000
HARM = 0.01
"""The least difference of shares that the canary's test looks for: what an objective of 99 % allows."""
BLOCKS = 60


def fixed_sizes() -> tuple[int, int]:
    """Samples on each side that the rank-sum test and the t test need (Noether 1987; the normal approximation)."""
    z = quantile(1 - ERROR) + quantile(POWER)
    exceeds = cumulative(SHIFT / math.sqrt(2))
    return math.ceil(z * z / (6 * (exceeds - 0.5) ** 2)), math.ceil(2 * z * z / SHIFT**2)


@dataclass(frozen=True)
class Runs:
    """What many runs came to: the share that found the experiment higher, and when they ended."""

    alarms: float
    median: float
    mean: float


def simulate(shift: float, runs: int, seed: int = SEED, test: SequentialTest | None = None) -> Runs:
    """Runs on normal samples, the experiment's `shift` deviations higher; they ask whether it got higher."""
    chance, sequential = random.Random(seed), test or SequentialTest(ERROR)
    results = []
    for _ in range(runs):
        pairs = ((chance.gauss(0, 1), chance.gauss(shift, 1)) for _ in range(LONGEST))
        results.append(sequential.decide(pairs, Direction.INCREASE))
    ended = [one.pairs for one in results]
    alarms = sum(one.decision is Decision.HIGHER for one in results)
    return Runs(alarms / runs, statistics.median(ended), statistics.fmean(ended))


@dataclass(frozen=True)
class ShareRuns:
    """What many runs of a canary against its control came to, as shares of the runs, and its events until the end."""

    higher: float
    no_difference: float
    canary_events: float


def simulate_shares(control: float, canary: float, sizes: tuple[int, int] = (95, 5), runs: int = RUNS) -> ShareRuns:
    """Runs on independent events with these shares of bad ones; `sizes` are the events of both in a block."""
    chance, test = np.random.default_rng(SEED), ShareTest(HARM, ERROR)
    bad = chance.binomial(sizes[0], control, (runs, BLOCKS)).tolist()
    worse = chance.binomial(sizes[1], canary, (runs, BLOCKS)).tolist()
    results = [
        test.decide(Block(b, sizes[0], w, sizes[1]) for b, w in zip(*pair, strict=True))
        for pair in zip(bad, worse, strict=True)
    ]
    ended = statistics.median(one.pairs * sizes[1] for one in results)
    shares = [sum(one.decision is kind for one in results) / runs for kind in (Decision.HIGHER, Decision.NO_DIFFERENCE)]
    return ShareRuns(*shares, ended)


def _classifications(samples: int) -> float:
    chance = random.Random(SEED)
    control = [chance.gauss(100, 10) for _ in range(samples)]
    experiment = [chance.gauss(105, 10) for _ in range(samples)]

    def work() -> int:
        for _ in range(50):
            classify(control, experiment)
        return 50

    return rate(work)


def figures() -> Iterator[Figure]:
    """Speed first, then errors and sizes of the sequential test."""
    for samples in (10, 30, 60, 300):
        yield Figure(f"classify, {samples} x {samples} samples", _classifications(samples), "classifications/s")
    by_rank, by_mean = fixed_sizes()
    null, shifted = simulate(0.0, RUNS), simulate(SHIFT, RUNS)
    yield Figure("false alarms without a shift", null.alarms, "share", f"<= {ERROR}", f"{RUNS:,} runs, any look")
    yield Figure("samples until nothing is ruled out", null.median, "samples", note="median, without a shift")
    yield Figure("power for half a deviation", shifted.alarms, "share", f"~ {POWER}", f"{RUNS:,} runs")
    note = f"median {shifted.median:g}, mean {shifted.mean:.1f}"
    yield Figure("sequential / rank-sum of fixed size", shifted.median / by_rank, "", "<= 0.6", f"{note} of {by_rank}")
    yield Figure("sequential / t test of fixed size", shifted.median / by_mean, "", "", f"{note} of {by_mean}")
    yield from _share_figures()


def _share_figures() -> Iterator[Figure]:
    """A canary of 5 % of the load against its control, `BLOCKS` blocks of 100 events."""
    for share in (0.002, 0.02, 0.4):
        found = simulate_shares(share, share)
        yield Figure(
            f"canary: false alarms, both fail {share:.1%}", found.higher, "share", f"<= {ERROR}", f"{RUNS:,} runs"
        )
    missed = simulate_shares(0.0, HARM)
    yield Figure(
        "canary: passed though worse by 1 %", missed.no_difference, "share", f"<= {ShareTest.miss}", f"{RUNS:,} runs"
    )
    good, bad = simulate_shares(0.0, 0.0), simulate_shares(0.0, 0.1)
    yield Figure("canary: events until a good one passes", good.canary_events, "events", note="median, nothing fails")
    yield Figure("canary: events until a bad one is found", bad.canary_events, "events", note="median, it fails 10 %")
