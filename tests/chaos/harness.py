"""Running the platform under fire: processes that are killed and come back, incidents that keep coming."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from fleet import FileFleet
from loop import ADMINISTRATOR, bundle, fleet_documents, signers, telemetry
from processes import AGENTS, MORTALS, PARTITIONS

from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened
from autopilot.schemas.identity import digest_of
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

PROGRAM = Path(__file__).with_name("processes.py")
REGISTRY = BundledRegistry()


class Platform:
    """The processes, by name. One that ends on its own or is killed is started again."""

    def __init__(self, kafka: Mapping[str, str], folder: Path, logs: Path) -> None:
        self._arguments = [kafka["bootstrap.servers"], str(folder)]
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kills: list[str] = []

    def start(self, name: str) -> None:
        """Starts a process; its output goes to a file of its own."""
        self._logs.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in _PATHS)}
        with (self._logs / f"{name}.log").open("ab") as log:
            command = [sys.executable, str(PROGRAM), name, *self._arguments]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start_all(self) -> None:
        """Starts everything."""
        for name in (*AGENTS, "effector", "clock"):
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
        for name in ("clock", *AGENTS, "effector"):
            if name in self._processes:
                self._processes[name].send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_PATHS = (Path(__file__).parent, Path(__file__).parents[1] / "unit")


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
        documents = [*fleet_documents(self.fleet.names, domains), signers(), bundle()]
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


def run_incidents(
    world: World, platform: Platform, tally: Tally, *, incidents: int, kills: int, seed: int, deadline_s: float
) -> None:
    """Breaks services until `incidents` were opened and closed, killing a process every so often; then waits.

    Raises `TimeoutError` when the incidents are not all closed by the deadline.
    """
    dice = random.Random(seed)
    victims = _victims(dice, kills)
    started, broken = time.monotonic(), 0
    next_kill = started + 6
    while len(tally.closed) < incidents or victims:
        if time.monotonic() - started > deadline_s:
            raise TimeoutError(f"{len(tally.closed)} of {incidents} incidents closed, {len(victims)} kills left")
        tally.update()
        busy = {service for incident, service in tally.opened.items() if incident not in tally.closed}
        broken += _break_some(world.fleet, dice, busy, incidents - broken)
        if victims and time.monotonic() >= next_kill:
            platform.kill(victims.pop())
            next_kill = time.monotonic() + dice.uniform(3, 6)
        platform.revive()
        _progress(started, broken, tally, platform)
        time.sleep(1.0)


def _victims(dice: random.Random, kills: int) -> list[str]:
    rounds = -(-kills // len(MORTALS))
    victims = [name for _ in range(rounds) for name in dice.sample(MORTALS, len(MORTALS))]
    return victims[:kills]


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
