"""From the breaking sample to the step applied: the whole loop on a real Kafka, restarting what really runs.

Observer, planner, policy, executor, verifier, effector and clock are processes of their own, as in production. Each
service sends a sample a second at an instant of its own; one after another they break, and each stays broken until it
was restarted. One of each domain does so in advance, uncounted: it shows that the whole loop is up, however long its
processes need on a loaded machine. What is measured ends with a time that the target itself tells (`bench/grounds.py`),
on the machine's one clock. A signal is raised when the loop has detected: what follows, up to the step applied, is
beyond the detection window.

Beside it ansible-rulebook restarts processes of a supervisord on a webhook (`bench/rulebook.py`), when it is installed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from loop import ADMINISTRATOR, EFFECTOR, bundle, fleet_documents, signers, telemetry

from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.worker import EffectorWorker
from autopilot.infra.platform.topics import recreate_topics
from autopilot.schemas.configuration import (
    Fleet,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyStep,
    TargetRef,
    document,
)
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import StepSucceeded
from autopilot.schemas.events.observer import SignalRaised
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read
from bench import rulebook
from bench.grounds import Ground, kubernetes, supervisord, why_no_kubernetes
from bench.loop_latency import PARTITIONS, agents
from bench.measure import Figure, percentile
from examples.kubernetes.cluster import ClusterError

ON_SUPERVISORD, ON_KUBERNETES = 40, 16
"""Services on each ground that are counted."""
REHEARSAL_S = 15
"""Before the first services break, so that something is known of them, and again before those that are counted."""
UP_WITHIN_S = 180
"""How long the loop may take to restart the first services."""
PATIENCE_S = 30
"""How long the last service that breaks is waited for, and then the records of what was done."""
REGISTRY = BundledRegistry()


@contextmanager
def effector(kafka: Mapping[str, str], ground: Ground) -> Iterator[None]:
    """The effector, as a process, with the ground's driver."""
    with tempfile.TemporaryDirectory() as folder:
        targets = Path(folder) / "targets.yaml"
        targets.write_text(yaml.safe_dump({"drivers": [dict(ground.entry)]}))
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.reaction", kafka["bootstrap.servers"], str(targets)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def documents(names: list[str], ground: Ground) -> list[Document]:
    """The fleet of the loop's tests, on the ground's targets, mended by a restart."""
    driver = str(ground.entry["driver"])
    found = []
    for doc in [*fleet_documents(names, PARTITIONS), signers(), bundle()]:
        changed = doc
        if doc.kind == "Fleet":
            fleet = Fleet.model_validate_json(doc.content)
            services = [
                one.model_copy(update={"targets": [TargetRef(driver=driver, target=ground.target(one.name))]})
                for one in fleet.services
            ]
            changed = document(fleet.model_copy(update={"services": services}).model_dump(mode="json"))
        if doc.kind == "RemedyCatalogue":
            catalogue = RemedyCatalogue.model_validate_json(doc.content)
            restarting = catalogue.model_copy(update={"remedies": [_restart(catalogue.remedies[0], driver)]})
            changed = document(restarting.model_dump(mode="json"))
        found.append(changed)
    return sorted(found, key=lambda doc: (doc.kind, doc.name))


def _restart(like: Remedy, driver: str) -> Remedy:
    step = RemedyStep(id="restart", driver=driver, action=RemedyAction(verb="restart"), timeout_ms=30_000)
    content = {**like.model_dump(), "name": "restart", "summary": "restart it", "precondition": "has_target"}
    return Remedy.model_validate({**content, "steps": [step.model_dump()]})


@dataclass(frozen=True)
class Reaction:
    """One service: when it broke, was seen to be broken, and what came of it. Microseconds since the epoch."""

    broke_us: int
    raised_us: int
    reached_us: tuple[int, ...]
    """The marks of its ground, in order."""
    recorded_us: int
    """When the effector's `StepSucceeded` was in the log."""


def reactions(kafka: Mapping[str, str], ground: Ground, names: list[str]) -> list[Reaction]:
    """Breaks each service once, and gives what came of those that are counted and were restarted."""
    author = Publisher(kafka=kafka, registry=REGISTRY, producer="ada", partitions=PARTITIONS, key=ADMINISTRATOR)
    author.broadcast(
        Draft(ConfigurationActivated(revision="r", documents=documents(names, ground), author="ada", comment=""), "")
    )
    author.close()
    with agents(kafka), effector(kafka, ground):
        broke = _feed(kafka, ground, names)
        _await_records(kafka, broke)
    raised, recorded = _first(kafka, SignalRaised, broke), _first(kafka, StepSucceeded, broke)
    reached = {name: [_first_after(mark.times_us(name), broke[name]) for mark in ground.marks] for name in broke}
    return [
        Reaction(broke[name], raised[name], tuple(reached[name]), recorded[name])
        for name in names[PARTITIONS:]
        if name in raised and name in recorded and all(reached[name])
    ]


class Course:
    """Which services are broken in which second: the first of each domain, and once these run anew one by one."""

    def __init__(self, ground: Ground, names: Sequence[str]) -> None:
        self._ground = ground
        self._breaks = dict.fromkeys(names[:PARTITIONS], REHEARSAL_S)
        self._counted = list(names[PARTITIONS:])
        """Those whose second is not known yet."""
        self.broke_us: dict[str, int] = {}
        self._mended: set[str] = set()

    def is_bad(self, name: str, second: int, now_us: int) -> bool:
        """Whether the service is broken now, from its second on until it runs anew."""
        if second < self._breaks.get(name, second + 1):
            return False
        broke_us = self.broke_us.setdefault(name, now_us)
        if name not in self._mended and _first_after(self._ground.marks[-1].times_us(name), broke_us):
            self._mended.add(name)
        return name not in self._mended

    def goes_on(self, second: int) -> bool:
        """Whether there is a next second. Raises `RuntimeError` when the loop does not come up."""
        broken = self._breaks.keys() - self._mended
        if self._counted:
            if second > REHEARSAL_S + UP_WITHIN_S:
                raise RuntimeError(f"the loop has not restarted {sorted(broken)} within {UP_WITHIN_S} s")
            if not broken:
                first = second + REHEARSAL_S
                self._breaks |= {n: first + int(self._ground.every_s * i) for i, n in enumerate(self._counted)}
                self._counted = []
            return True
        return bool(broken) and second <= max(self._breaks.values()) + PATIENCE_S


def _feed(kafka: Mapping[str, str], ground: Ground, names: list[str]) -> dict[str, int]:
    """Sends every service's samples, each at its own instant of the second, until all that broke run anew.

    Gives when each broke, microseconds since the epoch.
    """
    publisher = Publisher(kafka=kafka, registry=REGISTRY, producer="bench-fleet", partitions=PARTITIONS)
    course = Course(ground, names)
    phases = sorted(((number * 0.6180339) % 1, name) for number, name in enumerate(names))
    begin, second = time.time(), 0
    while course.goes_on(second):
        for phase, name in phases:
            time.sleep(max(begin + second + phase - time.time(), 0))
            now_us = time.time_ns() // 1_000
            publisher.publish(Draft(telemetry(name, now_us, bad=course.is_bad(name, second, now_us)), "", name))
            publisher.flush()
        second += 1
    publisher.close()
    return course.broke_us


def _await_records(kafka: Mapping[str, str], broke: Mapping[str, int]) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and len(_first(kafka, StepSucceeded, broke)) < len(broke):
        time.sleep(1)


def _first(
    kafka: Mapping[str, str], kind: type[SignalRaised] | type[StepSucceeded], broke: Mapping[str, int]
) -> dict[str, int]:
    """When the first such event of each service since it broke was recorded, microseconds since the epoch."""
    found: dict[str, int] = {}
    for recorded in read(kafka, REGISTRY, Topic.LOG, types=[kind]):
        name = recorded.envelope.service
        if name in broke and recorded.recorded_at_ms >= broke[name] // 1_000:
            found.setdefault(name, recorded.recorded_at_ms * 1_000)
    return found


def _first_after(times_us: Sequence[int], after_us: int) -> int:
    return next((at for at in times_us if at > after_us), 0)


def figures_on(kafka: Mapping[str, str], grounds: AbstractContextManager[Ground], names: list[str]) -> Iterator[Figure]:
    """The figures of one ground; the first services of `names`, one for each domain, are not counted."""
    with grounds as ground:
        load = os.getloadavg()[0]
        seen = reactions(kafka, ground, names)
        if not seen:
            raise RuntimeError(f"none of {len(names)} services on {ground.name} was restarted")
        note = f"{len(seen)} of {len(names) - PARTITIONS} services, load {load:.1f} to {os.getloadavg()[0]:.1f}"
        spans: dict[str, Callable[[Reaction], int]] = {
            "breaking sample to signal (detection)": lambda one: one.raised_us - one.broke_us
        }
        for place, mark in enumerate(ground.marks):
            spans[f"signal to {mark.name}"] = lambda one, place=place: one.reached_us[place] - one.raised_us
        spans["signal to step recorded as done"] = lambda one: one.recorded_us - one.raised_us
        spans[f"breaking sample to {ground.marks[0].name}"] = lambda one: one.reached_us[0] - one.broke_us
        for name, span in spans.items():
            values = [span(one) for one in seen]
            goal = "< 1,000" if name == f"signal to {ground.marks[0].name}" else ""
            yield Figure(f"{ground.name}: {name}, p50", percentile(values, 0.50) / 1_000, "ms", goal, note)
            yield Figure(f"{ground.name}: {name}, p99", percentile(values, 0.99) / 1_000, "ms", "", note)


def figures(kafka: Mapping[str, str]) -> Iterator[Figure]:
    """The loop on supervisord and on Kubernetes, and ansible-rulebook on another supervisord."""
    names = _names(PARTITIONS + ON_SUPERVISORD)
    yield from figures_on(kafka, supervisord(names), names)
    yield from _on_kubernetes(kafka)
    yield from _rulebook()


def _names(services: int) -> list[str]:
    return [f"svc-{number:02}" for number in range(services)]


def _on_kubernetes(kafka: Mapping[str, str]) -> Iterator[Figure]:
    names = _names(PARTITIONS + ON_KUBERNETES)
    why_not = why_no_kubernetes()
    if not why_not:
        recreate_topics(kafka, PARTITIONS)
        try:
            yield from figures_on(kafka, kubernetes(names), names)
        except ClusterError as error:
            why_not = str(error)
    if why_not:
        yield Figure("Kubernetes: signal to restart accepted by the API server", None, "ms", "< 1,000", why_not)


def _rulebook() -> Iterator[Figure]:
    name = "ansible-rulebook: webhook to process restarted"
    if not rulebook.is_installed():
        yield Figure(name, None, "ms", "", "not installed")
        return
    with ExitStack() as ending:
        ground = ending.enter_context(supervisord(_names(rulebook.TRIALS)))
        waits = rulebook.waits_ms(ground.root, _names(rulebook.TRIALS), ground.starts_us)
    if not waits:
        raise RuntimeError("ansible-rulebook has restarted nothing")
    note = f"{len(waits)} of {rulebook.TRIALS} webhooks, {rulebook.version()}"
    yield Figure(f"{name}, p50", percentile(waits, 0.50), "ms", "", note)
    yield Figure(f"{name}, p99", percentile(waits, 0.99), "ms", "", note)


def main() -> None:
    """The effector's process: `python -m bench.reaction BOOTSTRAP TARGETS`."""
    bootstrap, targets = sys.argv[1:3]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kafka = {"bootstrap.servers": bootstrap}
    drivers = read_drivers(Path(targets))
    EffectorWorker(kafka=kafka, registry=REGISTRY, partitions=PARTITIONS, drivers=drivers, key=EFFECTOR).run(stop)


if __name__ == "__main__":
    main()
