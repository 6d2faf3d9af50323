"""Planner decisions a second in the in-process runner: from the record of a signal to those of incident and plan.

    python -m bench planner

The catalogue has twelve remedies: nine with steps, three with a goal for which a plan is searched (drain, restart and
undrain; a canary in three stages; scale out, shift, then restart). Every service has three targets in a state of its
own, so that what is kept of one search serves few others. A decision is a `PlanProposed` with its steps, its hash, its
alternatives and why not, encoded and signed as for Kafka, like the incident and the locks beside it; reading the signal
and opening the incident are part of it. Between two rounds all signals clear; that is not counted.

What a decision costs depends on what is new in it, so there are three figures: the same trouble again at targets in the
same state, where what was chosen stands; with one instance more or less since, where every remedy is judged
anew, though no search is; and the first round of all, in which every search is done and every expression is evaluated.
"""

import cProfile
import gc
import pstats
import statistics
import time
from collections.abc import Iterator

from planner import goals, shop
from scenario import START_US

from autopilot.agents.planner import Planner
from autopilot.schemas.configuration import Remedy, RemedyCatalogue, Service, TargetRef, document
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.observer import SignalCleared
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess
from bench.measure import Figure

SERVICES, ROUNDS = 500, 9
NAMES = [f"svc-{number:03d}" for number in range(SERVICES)]
_SPARE = {"restart": "restart-spared"}


def catalogue() -> RemedyCatalogue:
    """Twelve remedies, three of them with a goal."""
    parts = (goals.ROLLING, goals.CANARY, _renamed(goals.SPARE))
    fixed = [_variant(remedy, number) for number, remedy in enumerate(shop.REMEDIES * 3)]
    variables = {variable.name: variable for part in parts for variable in part.variables}
    operators = [operator for part in parts for operator in part.operators]
    searched = [
        remedy.model_copy(update={"operators": [operator.name for operator in part.operators]})
        for part in parts
        for remedy in part.remedies
    ]
    return RemedyCatalogue(
        name="twelve",
        variables=list(variables.values()),
        operators=operators,
        constraints=[constraint for part in parts for constraint in part.constraints],
        remedies=[*fixed, *searched],
    )


def _renamed(part: RemedyCatalogue) -> RemedyCatalogue:
    operators = [one.model_copy(update={"name": _SPARE.get(one.name, one.name)}) for one in part.operators]
    return part.model_copy(update={"operators": operators})


def _variant(remedy: Remedy, number: int) -> Remedy:
    """The same remedy under another name, a little less sure."""
    failures = remedy.prior_failures_milli + 100 * number
    return remedy.model_copy(update={"name": f"{remedy.name}-{number}", "prior_failures_milli": failures})


def _documents() -> list[Document]:
    services = tuple(_service(name) for name in NAMES)
    others = [one for one in shop.documents(services) if one.kind != "RemedyCatalogue"]
    return [*others, document(catalogue().model_dump(mode="json"))]


def _service(name: str) -> Service:
    targets = [
        TargetRef(driver=goals.GROUP, target=name, role="stable"),
        TargetRef(driver=goals.GROUP, target=f"{name}-canary", role="canary"),
        TargetRef(driver=goals.BALANCER, target=f"be-{name}"),
    ]
    return shop.service(name, [], targets=targets)


def _observed(name: str, number: int, running: int) -> Iterator[TargetObserved]:
    """The service's targets, each in a state of its own."""
    group = {
        "release": f"v{number}",
        "previous_release": f"v{number - 1}",
        "desired": "3",
        "running": str(running),
        "max": "8",
    }
    spare = {"desired": str(number % 4), "running": str(number % 4), "max": "8", "release": f"v{number}"}
    balancer = {"percent.a": str(number % 97 + 1), "percent.new": str(number % 5), "percent.spare": str(number % 89)}
    for driver, target, state in (
        (goals.GROUP, name, group),
        (goals.GROUP, f"{name}-canary", spare),
        (goals.BALANCER, f"be-{name}", balancer),
    ):
        yield TargetObserved(driver=driver, target=target, state=state, revision="")


def world() -> InProcess:
    """A planner that knows its fleet, its catalogue and all targets."""
    runner = InProcess([Planner()], start_us=START_US, keys=[shop.ADA, SigningKey.generate(Planner.name)])
    runner.configure(_documents(), author=shop.ADA)
    _observe_all(runner, running=3)
    return runner


def _observe_all(runner: InProcess, running: int) -> None:
    for number, name in enumerate(NAMES, start=1):
        for observed in _observed(name, number, running):
            runner.append(observed, domain="shop", service=name)
    runner.settle()


def _raise_all(runner: InProcess, turn: int) -> None:
    for name in NAMES:
        signal = shop.raised(name, signal_id=f"sig-{name}-{turn}").payload
        runner.append(signal, domain="shop", service=name)


def _clear_all(runner: InProcess, turn: int) -> None:
    for name in NAMES:
        cleared = SignalCleared(signal_id=f"sig-{name}-{turn}", reason="within the objective", quality=shop.GOOD)
        runner.append(cleared, domain="shop", service=name)
    runner.settle()
    runner.advance(seconds=3_600)


def rounds(runner: InProcess, turns: range, *, changing: bool = False) -> list[float]:
    """Decisions a second of processor time, one figure for each round; `changing`: targets change before it."""
    rates = []
    for turn in turns:
        if changing:
            _observe_all(runner, running=2 + turn % 2)
        _raise_all(runner, turn)
        gc.collect()
        started = time.process_time()
        runner.settle()
        rates.append(SERVICES / (time.process_time() - started))
        _clear_all(runner, turn)
    return rates


def figures() -> Iterator[Figure]:
    """The first round, in which every search is done, and the medians of those that follow."""
    runner = world()
    first, *same = rounds(runner, range(ROUNDS))
    changed = rounds(runner, range(ROUNDS, 2 * ROUNDS), changing=True)
    plans = [recorded.payload for recorded in runner.read(Topic.LOG, PlanProposed)]
    assert len(plans) == 2 * ROUNDS * SERVICES, f"{len(plans)} plans"
    steps = statistics.fmean(len(plan.steps) for plan in plans)
    told = statistics.fmean(len(plan.alternatives) for plan in plans)
    note = f"12 remedies, 3 with goals; {steps:.1f} steps and {told:.0f} alternatives each"
    yield Figure("planner, decisions", statistics.median(same), "decisions/s", ">= 5,000", note)
    yield Figure(
        "planner, all judged anew",
        statistics.median(changed),
        "decisions/s",
        note="an instance more or less at each service",
    )
    yield Figure("planner, every search new", first, "decisions/s", note="the first round of all")


def profile() -> None:
    """Where the time goes."""
    runner = world()
    _raise_all(runner, 0)
    profiler = cProfile.Profile()
    profiler.enable()
    runner.settle()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    profile()
