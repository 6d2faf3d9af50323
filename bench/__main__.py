"""Every benchmark, one after the other: `python -m bench [NAME ...]`.

Figures are per core unless they say otherwise; compare only figures of one run.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import recreate_topics
from bench import (
    codec,
    consumers,
    loop_latency,
    observer,
    planner,
    policy,
    projections,
    reaction,
    recovery,
    replay,
    seals,
    security,
    signatures,
    simulation,
    verification,
    verifier,
)
from bench.measure import Figure, print_figures

PARTITIONS = 4

ALONE: dict[str, tuple[str, Callable[[], Iterator[Figure]]]] = {
    "codec": ("contracts", codec.figures),
    "observer": ("telemetry through the observer", observer.figures),
    "replay": ("replaying what was recorded", replay.figures),
    "simulation": ("telemetry through a whole simulation", simulation.figures),
    "planner": ("from a signal to a plan", planner.figures),
    "policy": ("policies: live decisions, and 10,000,000 in bulk", policy.figures),
    "seals": ("sealing and verifying, but for Kafka", seals.figures),
    "security": ("Kafka with TLS, passwords and access control lists, and without", security.figures),
    "signatures": ("what processes sign, on one core", signatures.figures),
    "verification": ("classes, and a test for every moment beside one of a fixed size", verification.figures),
    "verifier": ("from windows to verdicts, in the in-process runner", verifier.figures),
}
ON_KAFKA: dict[str, tuple[str, Callable[[Mapping[str, str]], Iterator[Figure]]]] = {
    "consumers": ("the same telemetry records, four consumers", consumers.figures),
    "loop": ("from signal to step, all agents on this machine's cores", loop_latency.figures),
    "projections": ("views from the log, per core", projections.figures),
    "reaction": ("from the breaking sample to the step applied", reaction.figures),
    "recovery": ("recovery", recovery.figures),
}


def main() -> None:
    """Runs the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join([*ALONE, *ON_KAFKA])}")
    names = parser.parse_args().names or [*ALONE, *ON_KAFKA]
    for name in names:
        if name in ALONE:
            title, figures = ALONE[name]
            print_figures(title, figures())
    wanted = [name for name in names if name in ON_KAFKA]
    if wanted:
        _on_kafka(wanted)


def _on_kafka(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker = EmbeddedKafka(Path(folder))
        broker.start(print)
        kafka = {"bootstrap.servers": broker.bootstrap}
        try:
            for name in names:
                recreate_topics(kafka, PARTITIONS)
                title, on_kafka = ON_KAFKA[name]
                print_figures(title, on_kafka(kafka))
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
