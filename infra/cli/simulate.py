"""`autopilot simulate`: the five agents over recorded telemetry, without Kafka and without any effect."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from autopilot.infra.archive.manifest import ArchiveError
from autopilot.infra.cli.output import AsJson, announce, print_json, print_table, refuse
from autopilot.infra.simulate.declared import read_configuration, read_effects
from autopilot.infra.simulate.files import Columns, InputError, read_labels
from autopilot.infra.simulate.report import as_score, clock, duration
from autopilot.infra.simulate.run import REPORT, Result, prepare, write
from autopilot.infra.simulate.run import simulate as run_simulation
from autopilot.infra.simulate.sources import recording_of
from autopilot.streams.simulation.simulation import GAP_US, Options

Telemetry = Annotated[
    str, typer.Option("--telemetry", metavar="SOURCE", help="Parquet or CSV, a folder, an archive, or the live topic.")
]
Config = Annotated[Path, typer.Option("--config", metavar="DIR", help="Configuration documents.", exists=True)]
Labels = Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="CSV: service,start,end[,kind,noticed].")]
Effects = Annotated[
    Path | None, typer.Option("--effects", metavar="FILE", help="YAML of what actions do.", exists=True)
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where log, report and plots go.")]
Named = Annotated[
    str, typer.Option("--columns", help="Names of columns that differ, such as metric=name,attributes=pod+zone.")
]


def simulate(
    telemetry: Telemetry,
    config: Config,
    labels: Labels = None,
    effects: Effects = None,
    out: Out = Path("simulation"),
    seed: Annotated[int, typer.Option(min=0, help="The same seed and input give the same bytes.")] = 0,
    name: Annotated[str, typer.Option(help="Of the run; the configuration folder's name if left out.")] = "",
    columns: Named = "",
    gap: Annotated[int, typer.Option(min=1, help="Seconds without any sample that the clock skips.")] = GAP_US // 10**6,
    as_json: AsJson = False,
) -> None:
    """Run the agents over recorded telemetry under a virtual clock, and report what they would have done.

    Without --effects nothing that is done changes anything: what would have been done, against what happened. DIR gets
    `report.md`, `.html` and `.json`, a plot for each incident, and `log`, an archive that every command reads.
    Exit code 2 when the input cannot be used.
    Example: autopilot simulate --telemetry july.parquet --config config --labels incidents.csv --out july
    """
    try:
        documents, findings = read_configuration(config)
        if findings:
            refuse("\n".join(f"error: {finding}" for finding in findings))
        known = read_labels(labels) if labels else None
        model = read_effects(effects)
        prepare(out)
        announce(f"reading {telemetry}")
        recording = recording_of(telemetry, _columns(columns))
        options = Options(name or config.resolve().name, seed, model, Path(telemetry).name, gap_us=gap * 10**6)
        with Progress(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("simulating", total=recording.points)
            result = run_simulation(
                recording,
                documents,
                known,
                options,
                lambda done, points: shown.update(task, completed=done, total=points),
            )
    except (InputError, ArchiveError, ValueError) as error:
        refuse(f"error: {error}")
    announce(f"writing {out}")
    write(result, known or [], documents, options, out)
    _print(result, out, as_json)


_NAMES: dict[str, Callable[[Columns, str], Columns]] = {
    "service": lambda columns, name: replace(columns, service=name),
    "metric": lambda columns, name: replace(columns, metric=name),
    "timestamp": lambda columns, name: replace(columns, timestamp=name),
    "value": lambda columns, name: replace(columns, value=name),
    "attributes": lambda columns, names: replace(columns, attributes=tuple(names.split("+"))),
}


def _columns(text: str) -> Columns:
    """The columns' names. Raises `InputError`."""
    columns = Columns()
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name in _NAMES and value:
            columns = _NAMES[name](columns, value)
        else:
            raise InputError("--columns", 0, name, value, "service, metric, timestamp, value or attributes, and a name")
    return columns


def _print(result: Result, out: Path, as_json: bool) -> None:
    page = out / f"{REPORT}.html"
    if as_json:
        against = as_score(result.score) if result.score is not None else None
        print_json({"report": str(page), "incidents": len(result.course.incidents), "against_labels": against})
        return
    rows = (
        (
            clock(each.opened_us), each.service, "; ".join(s.text for s in each.actions if s.what == "StepRequested"),
            each.outcomes[-1].what if each.outcomes else "", each.resolution,
        )
        for each in result.course.incidents.values()
    )  # fmt: skip
    print_table(("opened", "service", "would have been done", "verdict", "resolution"), rows, "no incident")
    if result.score is not None:
        scored = result.score
        typer.echo(
            f"{scored.detected} of {len(scored.detections)} labelled windows detected, {scored.missed} missed,"
            f" {len(scored.false_alarms)} false incidents, median delay {duration(scored.median_delay_ms)}"
        )
    typer.echo(f"report: {page}")
