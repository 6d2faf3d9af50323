"""Runs `simulate` over the Nezha and PetShop sets and prints what was detected, missed and cried for nothing.

    python -m examples.historical.evaluate --data ../shared/data [--out DIR]

Nothing is tuned on the labels: see calibrate.py. An alarm counts for a window whichever service it is about; how many
of the windows had one about the labelled service stands beside it. `covered` is the share of the recorded time that
lies in some window, so that one can see what alarms at random would come to. A false incident is one none of whose
signals was raised within a window; signals raised outside are counted one by one beside it.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autopilot.infra.simulate.declared import read_configuration
from autopilot.infra.simulate.files import Columns, read_labels, read_recording
from autopilot.infra.simulate.report import duration
from autopilot.infra.simulate.run import Result, prepare, simulate, write
from autopilot.streams.simulation.simulation import Options
from examples.historical.prepare import CONFIG, LABELS, TELEMETRY, write_set
from examples.historical.sets import DataSet, all_sets

HEAD = (
    "set", "labels", "detected", "by that service", "missed", "false incidents", "signals outside", "hours", "covered",
    "median delay", "median lead", "samples", "seconds",
)  # fmt: skip
PETSHOP_GAP_US = 360_000_000
"""PetShop's frames stand five minutes or more apart from each other: the clock jumps between them."""


def evaluate(data: DataSet, work: Path, out: Path | None) -> tuple[Result, float]:
    """Runs one set through its files, as the command does; gives the result and the seconds that the agents took."""
    write_set(data, work)
    documents, findings = read_configuration(work / CONFIG)
    if findings:
        raise ValueError(str(findings[0]))
    labels = read_labels(work / LABELS)
    options = Options(data.plan.name, source=data.plan.name, gap_us=max(PETSHOP_GAP_US, data.plan.interval_ms * 1200))
    recording = read_recording(work / TELEMETRY, Columns())
    started = time.perf_counter()
    result = simulate(recording, documents, labels, options)
    took = time.perf_counter() - started
    if out is not None:
        prepare(out)
        write(result, labels, documents, options, out)
    return result, took


def row(data: DataSet, result: Result, took: float) -> tuple[str, ...]:
    """A line of the table."""
    scored = result.score
    assert scored is not None
    hours = sum(end - start for start, end in result.simulation.recorded_stretches()) / 3.6e9
    return (
        data.plan.name,
        str(len(scored.detections)),
        str(scored.detected),
        str(sum(each.same_service for each in scored.detections)),
        str(scored.missed),
        str(len(scored.false_alarms)),
        f"{scored.strays} of {scored.alarms}",
        f"{hours:.1f}",
        f"{scored.covered_bp / 100:.1f} %",
        duration(scored.median_delay_ms),
        duration(scored.median_lead_ms),
        f"{result.simulation.recording.points:,}",
        f"{took:.1f}",
    )


def main() -> int:
    """Runs every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Nezha and PetShop files")
    parser.add_argument("--out", type=Path, help="also write each run's log, report and plots here")
    options = parser.parse_args()
    if not (options.data / "petshop_low_traffic.parquet").exists():
        print(
            f"error: `--data` is `{options.data}`, expected a folder with the Nezha and PetShop files", file=sys.stderr
        )
        return 2
    table = Table(*HEAD, box=None)
    for data in all_sets(options.data):
        print(f".. {data.plan.name} ({data.note})", file=sys.stderr)
        with tempfile.TemporaryDirectory() as work:
            result, took = evaluate(data, Path(work), options.out / data.plan.name if options.out else None)
        table.add_row(*row(data, result, took))
    console = Console(width=220)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
