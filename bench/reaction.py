"""From the breaking sample to the step applied: the whole loop on a real Kafka, restarting real processes.

Observer, planner, policy, executor, verifier, effector and clock are processes of their own, as in production. Each
service sends a sample a second at an instant of its own; one after another they break. What is measured ends when the
restarted process itself says that it runs, on the machine's one clock. A signal is raised when the loop has detected:
what follows, up to the restarted process, is beyond the detection window.

`Ground` is what the services run on: targets, how a targets file names them, and when each was last started.

Beside it ansible-rulebook restarts the same processes on a webhook (`bench/rulebook.py`), when it is installed.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml
from loop import ADMINISTRATOR, bundle, fleet_documents, signers, telemetry

from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.worker import EffectorWorker
from autopilot.schemas.configuration import Fleet, Remedy, RemedyAction, RemedyCatalogue, RemedyStep, document
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import StepSucceeded
from autopilot.schemas.events.observer import SignalRaised
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read
from bench import rulebook
from bench.loop_latency import PARTITIONS, agents
from bench.measure import Figure, percentile

SERVICES = 40
EVERY_S = 1.5
"""Between two services that break."""
WARM_UP_S = 15
BROKEN_S = 4
PATIENCE_S = 20
REGISTRY = BundledRegistry()


class Ground(Protocol):
    """What the services run on."""

    name: str
    entry: Mapping[str, object]
    """The entry of a targets file for its driver."""

    def starts_us(self, service: str) -> list[int]:
        """When the service was started, microseconds since the epoch, oldest first, by its own account."""
        ...


CONF = """
[unix_http_server]
file={root}/s.sock
[supervisord]
nodaemon=true
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
childlogdir={root}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{root}/s.sock
"""
PROGRAM = """
[program:{name}]
command=/bin/sh -c "date +%%s%%N >> {root}/{name}.starts; exec sleep 6000"
startsecs=0
"""


@dataclass(frozen=True)
class Supervisord:
    """A supervisord of the bench's own, one process for each service."""

    root: Path
    name: str = "supervisord"

    @property
    def entry(self) -> Mapping[str, object]:
        """See `Ground`."""
        return {"driver": "supervisord", "url": f"unix://{self.root}/s.sock"}

    def starts_us(self, service: str) -> list[int]:
        """See `Ground`."""
        file = self.root / f"{service}.starts"
        return [int(line) // 1_000 for line in file.read_text().split()] if file.exists() else []


@contextmanager
def supervisord(names: Sequence[str]) -> Iterator[Supervisord]:
    """Starts it with its processes, and ends both. A unix socket's path must be short, so the folder's is."""
    ground = Supervisord(Path(tempfile.mkdtemp(prefix="re")))
    conf = ground.root / "supervisord.conf"
    programs = [PROGRAM.format(name=name, root=ground.root) for name in names]
    conf.write_text(CONF.format(root=ground.root) + "".join(programs))
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(conf)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        _await_all(ground, names)
        yield ground
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(ground.root)


def _await_all(ground: Ground, names: Sequence[str]) -> None:
    until = time.monotonic() + 60
    while not all(ground.starts_us(name) for name in names):
        if time.monotonic() > until:
            raise RuntimeError(f"{ground.name} has not started all of {len(names)} processes within a minute")
        time.sleep(0.1)


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


def documents(names: list[str], driver: str) -> list[Document]:
    """The fleet of the loop's tests, on another driver, mended by a restart."""
    found = []
    for doc in [*fleet_documents(names, PARTITIONS), signers(), bundle()]:
        changed = doc
        if doc.kind == "Fleet":
            fleet = Fleet.model_validate_json(doc.content.replace('"driver":"files"', f'"driver":"{driver}"'))
            changed = document(fleet.model_dump(mode="json"))
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
    """One service: when it broke, was seen to be broken, and ran anew. Microseconds since the epoch."""

    broke_us: int
    raised_us: int
    applied_us: int


def reactions(kafka: Mapping[str, str], ground: Ground, names: list[str]) -> list[Reaction]:
    """Breaks each service once, and gives what came of those that were restarted."""
    author = Publisher(kafka=kafka, registry=REGISTRY, producer="ada", partitions=PARTITIONS, key=ADMINISTRATOR)
    activated = ConfigurationActivated(
        revision="r", documents=documents(names, str(ground.entry["driver"])), author="ada", comment=""
    )
    author.broadcast(Draft(activated, ""))
    author.close()
    with agents(kafka), effector(kafka, ground):
        time.sleep(12)
        broke = _feed(kafka, names)
        _await_restarts(kafka, names)
    raised = _first(kafka, SignalRaised)
    starts = {name: [at for at in ground.starts_us(name) if at > broke[name]] for name in names}
    return [Reaction(broke[name], raised[name], starts[name][0]) for name in names if starts[name] and name in raised]


def _feed(kafka: Mapping[str, str], names: list[str]) -> dict[str, int]:
    """Sends every service's samples, each at its own instant of the second; when each broke."""
    publisher = Publisher(kafka=kafka, registry=REGISTRY, producer="bench-fleet", partitions=PARTITIONS)
    begin, broke = time.time(), {}
    seconds = WARM_UP_S + int(EVERY_S * len(names)) + BROKEN_S
    phases = {name: (number * 0.6180339) % 1 for number, name in enumerate(names)}
    breaks = {name: WARM_UP_S + int(EVERY_S * number) for number, name in enumerate(names)}
    due = sorted((second + phases[name], second, name) for second in range(seconds) for name in names)
    for at, second, name in due:
        time.sleep(max(begin + at - time.time(), 0))
        now_us = time.time_ns() // 1_000
        bad = breaks[name] <= second < breaks[name] + BROKEN_S
        if second == breaks[name]:
            broke[name] = now_us
        publisher.publish(Draft(telemetry(name, now_us, bad=bad), "", name))
        publisher.flush()
    publisher.close()
    return broke


def _await_restarts(kafka: Mapping[str, str], names: list[str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and len(_first(kafka, StepSucceeded)) < len(names):
        time.sleep(1)


def _first(kafka: Mapping[str, str], kind: type[SignalRaised] | type[StepSucceeded]) -> dict[str, int]:
    found: dict[str, int] = {}
    for recorded in read(kafka, REGISTRY, Topic.LOG, types=[kind]):
        found.setdefault(recorded.envelope.service, recorded.recorded_at_ms * 1_000)
    return found


def figures_on(kafka: Mapping[str, str], grounds: AbstractContextManager[Ground], names: list[str]) -> Iterator[Figure]:
    """The figures of one ground."""
    with grounds as ground:
        seen = reactions(kafka, ground, names)
        if not seen:
            raise RuntimeError(f"none of {len(names)} services on {ground.name} was restarted")
        note = f"{len(seen)} of {len(names)} services, {ground.name}"
        spans = {
            "breaking sample to signal (detection)": [one.raised_us - one.broke_us for one in seen],
            "signal to process restarted (beyond detection)": [one.applied_us - one.raised_us for one in seen],
            "breaking sample to process restarted": [one.applied_us - one.broke_us for one in seen],
        }
        for name, values in spans.items():
            goal = "< 1,000" if "beyond" in name else ""
            yield Figure(f"{name}, p50", percentile(values, 0.50) / 1_000, "ms", goal, note)
            yield Figure(f"{name}, p99", percentile(values, 0.99) / 1_000, "ms", "", note)


def figures(kafka: Mapping[str, str]) -> Iterator[Figure]:
    """The loop on supervisord, and ansible-rulebook on one like it."""
    names = [f"svc-{number:02}" for number in range(SERVICES)]
    yield from figures_on(kafka, supervisord(names), names)
    if not rulebook.is_installed():
        yield Figure("ansible-rulebook: webhook to process restarted", 0, "ms", "", "not installed: not measured")
        return
    with ExitStack() as ending:
        ground = ending.enter_context(supervisord(names[: rulebook.TRIALS]))
        waits = rulebook.waits_ms(ground.root, names[: rulebook.TRIALS], ground.starts_us)
    if not waits:
        raise RuntimeError("ansible-rulebook has restarted nothing")
    note = f"{len(waits)} of {rulebook.TRIALS} webhooks, {rulebook.version()}"
    yield Figure("ansible-rulebook: webhook to process restarted, p50", percentile(waits, 0.50), "ms", "", note)
    yield Figure("ansible-rulebook: webhook to process restarted, p99", percentile(waits, 0.99), "ms", "", note)


def main() -> None:
    """The effector's process: `python -m bench.reaction BOOTSTRAP TARGETS`."""
    bootstrap, targets = sys.argv[1:3]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kafka = {"bootstrap.servers": bootstrap}
    drivers = read_drivers(Path(targets))
    EffectorWorker(kafka=kafka, registry=REGISTRY, partitions=PARTITIONS, drivers=drivers, observe_every_s=1.0).run(
        stop
    )


if __name__ == "__main__":
    main()
