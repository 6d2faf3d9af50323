"""Rebuilding views from Kafka, one process on one core, beside a Faust table that builds the same view.

The log is the ordinary course of incidents through the five agents, under other ids again and again: 20 kinds of event
in the shares that the agents make. Rates count control events, decoded or passed by because no view wants them; ticks,
which every view reads for the time alone, are measured apart as a second mix, the one of a minute with one incident.
Rates are per second of processor time of the whole process, Faust's too; the note has the rate by the clock.
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from long_log import PARTITIONS, course, long_log, write

from autopilot.infra.platform.topics import recreate_topics
from autopilot.projections.catalogue import projections
from autopilot.projections.projection import Projection
from autopilot.projections.rebuild import rebuild
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import BundledRegistry
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
    known = projections(PARTITIONS)
    for name, projection in known.items():
        measured = _measure(kafka, [projection])
        yield Figure(f"rebuild `{name}`", measured.rate, "events/s", GOAL, f"{measured.rows:,} rows; {measured.wall}")
    measured = _measure(kafka, list(known.values()))
    yield Figure("rebuild all in one pass", measured.rate, "events/s", note=f"{len(known)} views; {measured.wall}")
    ours = _measure(kafka, [known["incidents"]])
    faust = _faust(kafka, total, ours.rows)
    yield Figure(
        "Faust table of the incidents", faust, "events/s", note="the same handlers, events and rows; in memory"
    )
    yield Figure("`incidents` against Faust", ours.rate / faust, "times")
    total = _fill(kafka, records, events)
    measured = _measure(kafka, list(known.values()))
    yield Figure("rebuild all, ticks among them", measured.rate, "records/s", note=_mix(records))


def _fill(kafka: Mapping[str, str], records: list[Record], events: int) -> int:
    recreate_topics(kafka, PARTITIONS)
    return write(kafka, long_log(records, -(-events // len(records))))


def _mix(records: Iterable[Record]) -> str:
    kinds = Counter(record.headers[EVENT_TYPE].decode() for record in records)
    total = kinds.total()
    return ", ".join(f"{kind} {count / total:.0%}" for kind, count in kinds.most_common(6)) + " ..."


@dataclass(frozen=True)
class Measured:
    """A rebuild: records a second of processor time, all threads of the process together, and by the clock."""

    rate: float
    by_clock: float
    rows: int

    @property
    def wall(self) -> str:
        """The rate by the clock, which depends on who else is at work."""
        return f"{self.by_clock:,.0f}/s by the clock"


def _measure(kafka: Mapping[str, str], wanted: list[Projection]) -> Measured:
    """The middle of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            started, spent = time.perf_counter(), time.process_time()
            found = rebuild(kafka, BundledRegistry(), Path(folder), wanted, lambda _done, _total: None)[0]
            spent, took = time.process_time() - spent, time.perf_counter() - started
            rounds.append(Measured(found.records / spent, found.records / took, found.rows))
    return sorted(rounds, key=lambda one: one.rate)[ROUNDS // 2]


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
