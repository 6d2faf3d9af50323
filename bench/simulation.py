"""Telemetry points a second through a whole simulation: encoding, log, decoding, five agents, ticks. One core.

    python bench/simulation.py [--minutes 30]

Dense data are what bulk is about: a fleet that reports each second, whose samples reach the observer every 30 s of
virtual time. Sparse data, one sample of each series a minute, are bound by ticks and records instead, and are shown
beside it. One service in twenty leaves its objective for five minutes, so that incidents go through all agents.
"""

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Iterator

import numpy as np

from autopilot.policies.bundle import DOCUMENT_KINDS
from autopilot.schemas.configuration import document
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.telemetry import SeriesKind
from autopilot.streams.simulation.recording import Recording, SeriesId
from autopilot.streams.simulation.simulation import Options, Simulation
from bench.measure import Figure, print_figures
from examples.historical.calibrate import Plan, Watched, documents

START_US = 1_760_000_000_000_000
METRICS = ("latency.p95", "latency.p99", "cpu.usage.rate", "memory.usage", "requests", "errors")
GOAL = "500 k/s"


def recording(services: int, instances: int, interval_s: int, minutes: int) -> Recording:
    """A fleet's telemetry with a seeded noise; the first service of each twenty breaks half way."""
    chance = np.random.Generator(np.random.PCG64(7))
    times = START_US + np.arange(0, minutes * 60, interval_s, dtype=np.int64) * 1_000_000
    middle = len(times) // 2
    columns = {}
    for number in range(services):
        for metric in METRICS:
            for instance in range(instances):
                values = 0.05 + 0.01 * chance.random(len(times))
                if number % 20 == 0 and metric == "latency.p95":
                    values[middle : middle + 300 // interval_s] = 2.0
                attributes = (("service.instance.id", str(instance)),)
                columns[SeriesId(f"svc-{number:03}", metric, SeriesKind.GAUGE, "1", attributes)] = (times, values)
    return Recording.of(columns)


def configuration(data: Recording, interval_s: int) -> list[Document]:
    """Calibrated on the first third."""
    watched = (Watched("latency.p95", "latency", 0.1), Watched("cpu.usage.rate", "saturation", 0.1))
    end = int(data.times_us[len(data.times_us) // 3])
    plan = Plan("bench", "bench", interval_s * 1000, watched, (0, end))
    return [
        document(DOCUMENT_KINDS[content["kind"]].model_validate(content).model_dump(mode="json"))
        for content in documents(data, plan)
    ]


def run(data: Recording, interval_s: int) -> tuple[float, Simulation]:
    """Points a second of CPU time, and the finished simulation."""
    simulation = Simulation(data, configuration(data, interval_s), Options("bench", tick_us=30_000_000))
    started = time.process_time()
    simulation.run()
    return data.points / (time.process_time() - started), simulation


def figures(minutes: int = 20) -> Iterator[Figure]:
    """Dense and sparse."""
    shapes = (
        ("dense: 40 services x 6 metrics x 8 instances, each second", 40, 8, 1, minutes, GOAL),
        ("sparse: 40 services x 6 metrics x 2 instances, each minute", 40, 2, 60, minutes * 12, ""),
    )
    for name, services, instances, interval_s, length, goal in shapes:
        rate, simulation = run(recording(services, instances, interval_s, length), interval_s)
        events = len(simulation.runner.topics[str(Topic.LOG)][0])
        incidents = sum(
            record.headers["event-type"] == b"IncidentOpened" for record in simulation.runner.topics[str(Topic.LOG)][0]
        )
        note = f"{simulation.recording.points:,} samples, {events:,} events in the log, {incidents} incidents"
        yield Figure(f"simulation, {name}", rate, "points/s", goal, note)


def main() -> int:
    """Prints the figures, or with --profile where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=20, help="of dense telemetry")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if not options.profile:
        print_figures("Simulation", figures(options.minutes))
        return 0
    data = recording(40, 8, 1, options.minutes)
    with cProfile.Profile() as profile:
        run(data, 1)
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    return 0


if __name__ == "__main__":
    sys.exit(main())
