"""A whole simulation: from declared input to a folder with its log, report and plots."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopilot.infra.simulate import plots, report
from autopilot.infra.simulate.files import InputError
from autopilot.infra.simulate.log_output import write_topics
from autopilot.infra.simulate.sources import from_records
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.events.people import Document
from autopilot.streams.simulation.course import Course, course_of
from autopilot.streams.simulation.labels import Label, Score, score
from autopilot.streams.simulation.recording import Recording
from autopilot.streams.simulation.simulation import Options, Progress, Simulation

LOG, PLOTS, REPORT = "log", "plots", "report"
MAX_PLOTS = 100
"""Incidents that are plotted; further ones stand in the report without a plot."""


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    simulation: Simulation
    course: Course
    score: Score | None


def simulate(
    recording: Recording,
    documents: Sequence[Document],
    labels: Sequence[Label] | None,
    options: Options,
    progress: Progress = lambda _done, _all: None,
) -> Result:
    """Runs the agents. Raises ValueError when recording and fleet map have no service in common."""
    simulation = Simulation(recording, documents, options)
    simulation.run(progress)
    course = course_of(simulation.events())
    scored = None
    if labels is not None:
        alarms, incidents = list(course.alarms.values()), list(course.incidents.values())
        scored = score(labels, alarms, incidents, simulation.recorded_stretches())
    return Result(simulation, course, scored)


def prepare(out: Path) -> None:
    """Makes room for the output. Raises `InputError` for a folder that holds something else."""
    if out.exists() and any(out.iterdir()) and not (out / f"{REPORT}.json").exists():
        raise InputError(out, 0, "--out", str(out), "a new or empty folder, or one of an earlier simulation")
    for part in (LOG, PLOTS):
        shutil.rmtree(out / part, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


def write(result: Result, labels: Sequence[Label], documents: Sequence[Document], options: Options, out: Path) -> None:
    """Writes log, plots and report into a prepared folder."""
    manifest = write_topics(result.simulation.runner, out / LOG, options.seed)
    drawn = _draw(result, labels, documents, options, out)
    facts: dict[str, Any] = {
        "run": options.run,
        "seed": options.seed,
        "source": options.source,
        "effects": options.model.model_dump(mode="json"),
        "configuration": {f"{doc.kind}/{doc.name}": doc.digest for doc in documents},
        "log": [file.model_dump(mode="json") for file in manifest.files],
        "plots": drawn,
    }
    content = report.data(result.simulation, result.course, result.score, facts)
    _write_text(out / f"{REPORT}.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    parts = list(report.blocks(options.name, result.simulation, result.course, result.score, options.model, drawn))
    _write_text(out / f"{REPORT}.md", report.as_markdown(parts))
    _write_text(out / f"{REPORT}.html", report.as_html(f"Simulation {options.name}", parts))


def _draw(
    result: Result, labels: Sequence[Label], documents: Sequence[Document], options: Options, out: Path
) -> dict[str, str]:
    """Paths of the plots within the folder, by incident."""
    (out / PLOTS).mkdir()
    recorded = result.simulation.recording
    objectives = {one.name: one for one in Configuration().with_activated(documents).objectives()}
    seen = from_records(result.simulation.runner) if options.model.effects else None
    shown = plots.Shown(recorded, seen, objectives, labels, result.course)
    drawn = {}
    for incident in list(result.course.incidents.values())[:MAX_PLOTS]:
        path = f"{PLOTS}/{incident.incident_id}.svg"
        if plots.plot(shown, incident, out / path):
            drawn[incident.incident_id] = path
    return drawn


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
