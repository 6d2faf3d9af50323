"""Rebuilding views from Kafka, one process on one core, beside a Faust table that builds the same view.

The log is the ordinary course of incidents through the five agents, under other ids again and again: 20 kinds of event
in the shares that the agents make. Rates count control events, decoded or passed by because no view wants them; ticks
are passed by their header, and are measured apart as a second mix: one tick a second beside an incident a minute.
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from long_log import PARTITIONS, course, long_log, write

from autopilot.infra.platform.topics import recreate_topics
from autopilot.projections.catalogue import projections
from autopilot.projections.rebuild import Rebuilt, rebuild
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.reader import read_raw
from autopilot.streams.record import EVENT_TYPE, Record
from bench.measure import Figure

EVENTS = 200_000
ROUNDS = 3
TICK = Tick.event_type().encode()
FAUST_PROGRAM = Path(__file__).with_name("faust_incidents.py")
GOAL = ">= 60 k/s"


def figures(kafka: Mapping[str, str], events: int = EVENTS) -> Iterator[Figure]:
    """Rates of single projections, of all at once, and of Faust."""
    records = course()
    control = [record for record in records if record.headers[EVENT_TYPE] != TICK]
    total = _fill(kafka, control, events)
    yield Figure("control events in the log", total, "events", note=_mix(control))
    yield Figure("read, nothing decoded", total / _timed(lambda: _read(kafka)), "events/s")
    known = projections(PARTITIONS)
    for name, projection in known.items():
        best = _fastest(kafka, [projection])
        yield Figure(f"rebuild `{name}`", total / best.took_s, "events/s", GOAL, f"{best.rows:,} rows")
    best = _fastest(kafka, list(known.values()))
    yield Figure("rebuild all in one pass", total / best.took_s, "events/s", GOAL, f"{len(known)} views")
    ours = _fastest(kafka, [known["incidents"]])
    faust = _faust(kafka, total, ours.rows)
    yield Figure("Faust table of the incidents", faust, "events/s", note="the same handlers, events and rows")
    yield Figure("`incidents` against Faust", total / ours.took_s / faust, "times")
    total = _fill(kafka, records, events)
    best = _fastest(kafka, list(known.values()))
    yield Figure("rebuild all, ticks among them", total / best.took_s, "records/s", note=_mix(records))


def _fill(kafka: Mapping[str, str], records: list[Record], events: int) -> int:
    recreate_topics(kafka, PARTITIONS)
    return write(kafka, long_log(records, -(-events // len(records))))


def _mix(records: Iterable[Record]) -> str:
    kinds = Counter(record.headers[EVENT_TYPE].decode() for record in records)
    total = kinds.total()
    return ", ".join(f"{kind} {count / total:.0%}" for kind, count in kinds.most_common(6)) + " ..."


def _fastest(kafka: Mapping[str, str], wanted: list) -> Rebuilt:
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(rebuild(kafka, BundledRegistry(), Path(folder), wanted, lambda _done, _total: None)[0])
    return sorted(rounds, key=lambda one: one.took_s)[ROUNDS // 2]


def _timed(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _read(kafka: Mapping[str, str]) -> int:
    return sum(1 for _ in read_raw(kafka, str(Topic.LOG)))


def _faust(kafka: Mapping[str, str], records: int, rows: int) -> float:
    command = [sys.executable, str(FAUST_PROGRAM), kafka["bootstrap.servers"], str(records)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    rate, seen = done.stdout.strip().splitlines()[-1].split()
    assert int(seen) == rows, f"Faust has {seen} incidents, the projection {rows}"
    return float(rate)


def main() -> None:
    """Runs on an embedded Kafka of its own."""
    from autopilot.infra.platform.kafka import EmbeddedKafka
    from bench.measure import print_figures

    with tempfile.TemporaryDirectory() as home:
        broker = EmbeddedKafka(Path(home))
        broker.start(print)
        try:
            print_figures("projections", list(figures({"bootstrap.servers": broker.bootstrap})))
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
