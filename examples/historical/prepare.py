"""Writes a data set as `autopilot simulate` reads it: telemetry in long form, labels, and a calibrated configuration.

python -m examples.historical.prepare --data ../shared/data --set online-boutique --out /tmp/boutique
"""

import argparse
import csv
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from autopilot.streams.simulation.labels import Label
from autopilot.streams.simulation.recording import Recording
from examples.historical.calibrate import documents
from examples.historical.sets import DataSet, all_sets, moment

TELEMETRY, LABELS, CONFIG = "telemetry.parquet", "labels.csv", "config"
MADE_BY = "# Made by `python -m examples.historical.prepare` from the quiet period alone: see calibrate.py.\n"


def write_set(data: DataSet, folder: Path, until_us: int = 2**62) -> None:
    """Writes a data set up to a time; it is calibrated on the whole of it."""
    (folder / CONFIG).mkdir(parents=True, exist_ok=True)
    write_telemetry(data.recording, folder / TELEMETRY, until_us)
    write_labels([label for label in data.labels if label.end_us <= until_us], folder / LABELS)
    for content in documents(data.recording, data.plan):
        text = yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)
        (folder / CONFIG / f"{content['kind'].lower()}.yaml").write_text(MADE_BY + text, encoding="utf-8")


def write_telemetry(recording: Recording, path: Path, until_us: int) -> None:
    """One row for each sample."""
    parts = [(one, one.between(-1, until_us)[1]) for one in recording.series]
    lengths = [end for _, end in parts]
    columns = {
        "service": np.repeat([one.id.service for one, _ in parts], lengths),
        "metric": np.repeat([one.id.metric for one, _ in parts], lengths),
        "unit": np.repeat([one.id.unit for one, _ in parts], lengths),
        "kind": np.repeat([one.id.kind.value for one, _ in parts], lengths),
        "timestamp": pa.array(
            np.concatenate([one.timestamps_us[:end] for one, end in parts]), pa.timestamp("us", "UTC")
        ),
        "value": np.concatenate([one.values[:end] for one, end in parts]),
    }
    pq.write_table(pa.table(columns), path, compression="zstd", compression_level=19)


def write_labels(labels: list[Label], path: Path) -> None:
    """One row for each window."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("service", "start", "end", "kind", "noticed"))
        for label in labels:
            noticed = "" if label.noticed_us is None else _text(label.noticed_us)
            rows.writerow((label.service, _text(label.start_us), _text(label.end_us), label.kind, noticed))


def _text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> int:
    """Writes one set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Nezha and PetShop files")
    parser.add_argument("--set", dest="name", required=True, help="online-boutique, train-ticket or petshop")
    parser.add_argument("--until", default="", help="leave out what is later, such as 2022-08-22T08:10")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = [data for data in all_sets(options.data) if data.plan.name == options.name]
    if not found:
        print(f"error: `--set` is `{options.name}`, expected online-boutique, train-ticket or petshop", file=sys.stderr)
        return 2
    write_set(found[0], options.out, moment(options.until) if options.until else 2**62)
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
