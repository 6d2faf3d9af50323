"""The public data sets of real incidents as recordings in long form, with labels and a quiet period.

- Nezha (IntelligentDDS, MIT): pod metrics per minute of Online Boutique on 2022-08-22 and of TrainTicket on 2023-01-29,
  with injected faults. The set gives no end of a fault: a window lasts eight minutes or until the next fault. Times of
  2023-01-29 are the texts of `inject_time`, read as UTC like the metrics; its `inject_timestamp` is off by eight hours.
  Success rates read 0 throughout and are left out.
- PetShop (Amazon, CC-BY-4.0), low traffic: five-minute latency, requests and availability, 26 incidents of one frame of
  25 minutes each, with rows from before the issue. A window is the frame; `noticed` is the incident's own time.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from autopilot.schemas.events.telemetry import SeriesKind
from autopilot.streams.simulation.labels import Label
from autopilot.streams.simulation.recording import Recording, SeriesId
from examples.historical.calibrate import Plan, Watched

MINUTE_US = 60_000_000
FAULT_US = 8 * MINUTE_US
LATENCY_FLOOR_S = 0.1
"""Nobody is called for a latency below a tenth of a second."""

_NEZHA = {
    "PodServerLatencyP95(s)": ("latency.server.p95", "s"),
    "PodClientLatencyP95(s)": ("latency.client.p95", "s"),
    "CpuUsageRate(%)": ("cpu.usage.rate", "%"),
    "MemoryUsageRate(%)": ("memory.usage.rate", "%"),
    "PodWorkload(Ops)": ("workload", "1/s"),
}
_NEZHA_WATCHED = (
    Watched("latency.server.p95", "latency", LATENCY_FLOOR_S),
    Watched("latency.client.p95", "latency", LATENCY_FLOOR_S),
    Watched("cpu.usage.rate", "saturation", 10.0),
)
_PETSHOP_WATCHED = (
    Watched("latency.average", "latency", LATENCY_FLOOR_S),
    Watched("latency.p95", "latency", LATENCY_FLOOR_S),
    Watched("availability", "availability", 1.0, below=True),
)


@dataclass(frozen=True)
class DataSet:
    """A recording with what is known of it. False alarms are counted in `judged_us`: what was not calibrated on."""

    recording: Recording
    labels: list[Label]
    plan: Plan
    note: str


def moment(text: str) -> int:
    """Microseconds since the epoch of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def nezha(data: Path, day: str, name: str, quiet: tuple[str, str]) -> DataSet:
    """One day of Nezha."""
    recording = _nezha_recording(data / f"nezha_{day}_pods.parquet")
    plan = Plan(name, name, 60_000, _NEZHA_WATCHED, (moment(quiet[0]), moment(quiet[1])))
    return DataSet(recording, _nezha_labels(data / f"nezha_{day}_faults.csv"), plan, f"quiet {quiet[0]} to {quiet[1]}")


def service_of(pod: str) -> str:
    """The service of a pod: its name without the two parts that Kubernetes adds."""
    return pod.rsplit("-", 2)[0]


def _nezha_recording(path: Path) -> Recording:
    table = pq.read_table(path)
    pods = np.array(table["PodName"].to_pylist())
    times = table["ts"].cast("int64").to_numpy() // 1_000
    columns = {}
    for pod in np.unique(pods).tolist():
        rows = pods == pod
        for source, (metric, unit) in _NEZHA.items():
            values = table[source].to_numpy()[rows].astype(float)
            there = np.isfinite(values)
            identity = SeriesId(service_of(pod), metric, SeriesKind.GAUGE, unit, (("pod", pod),))
            columns[identity] = (times[rows][there], values[there])
    return Recording.of(columns)


def _nezha_labels(path: Path) -> list[Label]:
    rows = list(_rows(path))
    starts = [moment(row["inject_time"]) for row in rows]
    ends = [min(start + FAULT_US, follows) for start, follows in zip(starts, [*starts[1:], 2**62], strict=True)]
    return [
        Label(start, end, service_of(row["inject_pod"]), row["inject_type"])
        for start, end, row in zip(starts, ends, rows, strict=True)
    ]


def petshop(data: Path) -> DataSet:
    """The low-traffic part of PetShop: incidents in April, the quiet days in August."""
    table = pq.read_table(data / "petshop_low_traffic.parquet").to_pydict()
    columns: dict[SeriesId, tuple[list[int], list[float]]] = {}
    frames: dict[str, tuple[int, int]] = {}
    for segment, at, service, metric, stat, value in zip(*table.values(), strict=True):
        at_us = int(at) * 1_000_000
        name = "availability" if metric == "availability" else f"{metric}.{stat}".lower()
        unit = {"latency": "s", "availability": "%"}.get(metric, "1")
        kind = SeriesKind.DELTA if metric == "requests" else SeriesKind.GAUGE
        times, values = columns.setdefault(SeriesId(plain(service), name, kind, unit, ()), ([], []))
        times.append(at_us)
        values.append(value)
        start, end = frames.get(segment, (at_us, at_us))
        frames[segment] = (min(start, at_us), max(end, at_us))
    recording = Recording.of({key: (np.array(times), np.array(values)) for key, (times, values) in columns.items()})
    start, end = frames["low_traffic/noissue"]
    plan = Plan("petshop", "petshop", 300_000, _PETSHOP_WATCHED, (start - 1, (start + end) // 2))
    labels = [_petshop_label(row, frames[row["segment"]]) for row in _rows(data / "petshop_low_traffic_incidents.csv")]
    return DataSet(recording, sorted(labels), plan, "quiet: the first half of the two days without an issue")


def _petshop_label(row: dict[str, Any], frame: tuple[int, int]) -> Label:
    cause = f"{row['metric']}: {plain(row['root_cause'])}"
    return Label(frame[0], frame[1] + 5 * MINUTE_US, plain(row["node"]), cause, int(row["ts"]) * 1_000_000)


def plain(name: str) -> str:
    """A name that a fleet map takes."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return "-".join(part for part in kept.split("-") if part)[:64].strip("-")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def all_sets(data: Path) -> Iterator[DataSet]:
    """Every set, one after the other."""
    yield nezha(data, "2022-08-22", "online-boutique", ("2022-08-22 08:30", "2022-08-22 16:00"))
    yield nezha(data, "2023-01-29", "train-ticket", ("2023-01-29 16:15", "2023-01-29 20:00"))
    yield petshop(data)
