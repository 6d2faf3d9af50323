"""Running the platform under fire: processes that are killed and come back, incidents that keep coming."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from fleet import FileFleet
from invariants import MUST_BE_TOLD, untold
from loop import ADMINISTRATOR, BUNDLE, fleet_documents, signers, telemetry
from processes import AGENTS, CHANNELS, MORTALS, PARTITIONS

from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.policies.bundle import PolicyBundle
from autopilot.schemas.configuration import document
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationRequested
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.identity import digest_of
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

EVERYTHING = (*MORTALS, "clock")
PROGRAM = Path(__file__).with_name("processes.py")
REGISTRY = BundledRegistry()
BROKER = "broker"


class Platform:
    """The processes, by name. One that ends on its own or is killed is started again."""

    def __init__(self, kafka: Mapping[str, str], folder: Path, logs: Path, program: Path = PROGRAM) -> None:
        self._program = program
        self._arguments = [kafka["bootstrap.servers"], str(folder)]
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kills: list[str] = []

    def start(self, name: str) -> None:
        """Starts a process; its output goes to a file of its own."""
        self._logs.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in _PATHS)}
        with (self._logs / f"{name}.log").open("ab") as log:
            command = [sys.executable, str(self._program), name, *self._arguments]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start_all(self) -> None:
        """Starts everything."""
        for name in EVERYTHING:
            self.start(name)

    def kill(self, name: str) -> None:
        """SIGKILL, and a new start."""
        process = self._processes[name]
        process.kill()
        process.wait()
        self.kills.append(name)
        self.start(name)

    def revive(self) -> list[str]:
        """Starts again whatever has ended on its own, and names it."""
        ended = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in ended:
            self.start(name)
        return ended

    def stop(self) -> None:
        """Ends everything gracefully, the clock first; kills what does not end."""
        for names in (("clock",), (*AGENTS, "effector"), ("notifier", "projector", "sealer", "kpis")):
            self._stop([self._processes[name] for name in names if name in self._processes])

    def _stop(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_PATHS = (Path(__file__).parent, Path(__file__).parents[1] / "unit")


def telling_bundle() -> Document:
    """The loop's policy, which besides has the owner told of each action."""
    rules = yaml.safe_load(BUNDLE)
    tell = {"name": "notify", "parameters": {"to": "{service_owner}"}}
    rules["rules"].append({"id": "tell", "effect": "obligate", "when": "true", "obligation": tell, "message": "told"})
    return document(PolicyBundle.model_validate(rules).model_dump(mode="json"))


def open_channel(folder: Path, url: str) -> None:
    """One channel for everything, for the notifier of the processes in `folder`."""
    channel = {"name": "pager", "kind": "webhook", "url": url, "max_attempts": 50}
    (folder / CHANNELS).write_text(yaml.safe_dump({"channels": [channel]}))


def await_told(kafka: Mapping[str, str], platform: Platform, arrived: Callable[[], Mapping[str, int]]) -> None:
    """Returns once everything that was to be told is asked for, answered, and has arrived, or the time is up."""
    until = time.monotonic() + 120
    types = [*MUST_BE_TOLD, NotificationRequested, NotificationDelivered]
    while untold(list(read(kafka, REGISTRY, "autopilot.log", types=types)), arrived()):
        if time.monotonic() > until:
            return
        platform.revive()
        time.sleep(0.5)


class World:
    """The fleet's telemetry, once a second, and its faults."""

    def __init__(self, kafka: Mapping[str, str], fleet: FileFleet) -> None:
        self._kafka = kafka
        self.fleet = fleet
        self._publisher = Publisher(kafka=kafka, registry=REGISTRY, producer="fleet", partitions=PARTITIONS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._emit)

    def configure(self, domains: int) -> None:
        """Activates the configuration, as its administrator."""
        documents = [*fleet_documents(self.fleet.names, domains), signers(), telling_bundle()]
        documents.sort(key=lambda doc: (doc.kind, doc.name))
        revision = digest_of("\n".join(doc.digest for doc in documents))
        activation = ConfigurationActivated(revision=revision, documents=documents, author="ada", comment="")
        author = Publisher(
            kafka=self._kafka, registry=REGISTRY, producer="ada", partitions=PARTITIONS, key=ADMINISTRATOR
        )
        author.broadcast(Draft(activation, ""))
        author.close()

    def start(self) -> None:
        """Begins to send telemetry."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the telemetry."""
        self._stop.set()
        self._thread.join()
        self._publisher.close()

    def _emit(self) -> None:
        while not self._stop.is_set():
            now_us = time.time_ns() // 1_000
            for name in self.fleet.names:
                self._publisher.publish(Draft(telemetry(name, now_us, bad=self.fleet.is_bad(name)), "", name))
            self._publisher.flush()
            self._stop.wait(1.0 - time.time() % 1.0)


class Tally:
    """How many incidents were opened and closed, followed as the log grows."""

    def __init__(self, kafka: Mapping[str, str]) -> None:
        self._kafka = kafka
        self._next = dict.fromkeys(range(PARTITIONS), 0)
        self.opened: dict[str, str] = {}
        self.closed: dict[str, str] = {}

    @property
    def is_any_open(self) -> bool:
        """Whether an incident was opened and not closed."""
        return not self.opened.keys() <= self.closed.keys()

    def update(self) -> None:
        """Reads what has come since."""
        events = read(
            self._kafka, REGISTRY, "autopilot.log", types=[IncidentOpened, IncidentClosed], start=dict(self._next)
        )
        for recorded in events:
            self._next[recorded.position.partition] = recorded.position.offset + 1
            payload = recorded.payload
            if isinstance(payload, IncidentOpened):
                self.opened[payload.incident_id] = recorded.envelope.service
            elif isinstance(payload, IncidentClosed):
                self.closed[payload.incident_id] = payload.resolution


@dataclass(frozen=True)
class Plan:
    """How hard a run is. `seed` decides which services break and who is killed when."""

    incidents: int
    kills: int
    broker_restarts: int
    seed: int

    @property
    def deadline_s(self) -> float:
        """When a run has taken too long."""
        return 300 + 2 * self.incidents


def run_incidents(world: World, platform: Platform, tally: Tally, broker: EmbeddedKafka, plan: Plan) -> None:
    """Breaks services, killing a process every so often, until enough incidents were opened and all of them are closed.

    Raises `TimeoutError` when the incidents are not all closed by the deadline.
    """
    dice = random.Random(plan.seed)
    victims = _victims(dice, plan)
    started, broken = time.monotonic(), 0
    next_kill = started + 6
    while victims or min(broken, len(tally.closed)) < plan.incidents or tally.is_any_open or world.fleet.is_any_bad:
        if time.monotonic() - started > plan.deadline_s:
            raise TimeoutError(f"{len(tally.closed)} of {plan.incidents} incidents closed, {len(victims)} kills left")
        tally.update()
        busy = {service for incident, service in tally.opened.items() if incident not in tally.closed}
        broken += _break_some(world.fleet, dice, busy, plan.incidents - broken)
        if victims and time.monotonic() >= next_kill:
            _strike(victims.pop(), platform, broker)
            next_kill = time.monotonic() + dice.uniform(3, 6)
        platform.revive()
        _progress(started, broken, tally, platform)
        time.sleep(1.0)


def _strike(victim: str, platform: Platform, broker: EmbeddedKafka) -> None:
    if victim != BROKER:
        platform.kill(victim)
        return
    print("      the broker is restarted", flush=True)
    broker.stop()
    broker.start()
    platform.kills.append(BROKER)


def _victims(dice: random.Random, plan: Plan) -> list[str]:
    """Who is struck, last first: everything mortal in turn, the broker spread between."""
    rounds = -(-plan.kills // len(MORTALS))
    victims = [name for _ in range(rounds) for name in dice.sample(MORTALS, len(MORTALS))][: plan.kills]
    for restart in range(plan.broker_restarts):
        victims.insert((restart + 1) * len(victims) // (plan.broker_restarts + 1), BROKER)
    return victims


def _break_some(fleet: FileFleet, dice: random.Random, busy: set[str], most: int) -> int:
    """Breaks a few services that are well and have no open incident, and gives how many."""
    well = [name for name in fleet.names if name not in busy and not fleet.is_bad(name)]
    chosen = dice.sample(well, min(len(well), 12, most)) if most > 0 else []
    for name in chosen:
        fleet.switch(name, "bad", "fault")
    return len(chosen)


def _progress(started: float, broken: int, tally: Tally, platform: Platform) -> None:
    seconds = int(time.monotonic() - started)
    if seconds % 10 == 0:
        print(
            f"{seconds:4d} s  broken {broken}  opened {len(tally.opened)}  closed {len(tally.closed)}"
            f"  killed {len(platform.kills)}",
            flush=True,
        )
