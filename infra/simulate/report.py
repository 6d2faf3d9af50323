"""The report of a simulation: plain data for programs, and pages in Markdown and HTML made of the same blocks. Pure."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from autopilot.streams.simulation.course import Course, Incident, Said
from autopilot.streams.simulation.effects import EffectModel
from autopilot.streams.simulation.labels import Detection, Score
from autopilot.streams.simulation.simulation import Simulation

LEVEL = (
    "Level of backtest: closed loop. A declared world model answers the actions; first-order (each recorded decision"
    " alone) and sequential (the recorded log refolded) are other questions, which a replay answers."
)
NO_EFFECTS = (
    "Effects: none (`recorded`). Steps are answered as done, and telemetry goes on as it was recorded: this is what"
    " would have been done, against what happened. A verdict of the verifier says whether the service recovered in the"
    " recording, not whether the action would have helped."
)
EFFECTS = (
    "Effects: declared by `{name}`. After a step, samples of the metrics that it names are no longer the recorded ones."
    " A verdict of the verifier shows what follows from these declarations, not that they are true. Labels are about"
    " the recording: what a declared effect has mended is no longer there to be detected."
)


def data(simulation: Simulation, course: Course, scored: Score | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The report for programs. Times are microseconds since the epoch, durations milliseconds."""
    return {
        "level": "closed loop",
        **facts,
        "points": simulation.recording.points,
        "rows_without_value": simulation.recording.left_out,
        "services_not_in_the_fleet_map": simulation.ignored,
        "recorded": [list(stretch) for stretch in simulation.recorded_stretches()],
        "events": dict(sorted(course.counts.items())),
        "signals": [vars(alarm) for alarm in course.alarms.values()],
        "incidents": [_plain(incident) for incident in course.incidents.values()],
        "against_labels": None if scored is None else as_score(scored),
    }


def _plain(incident: Incident) -> dict[str, Any]:
    content = dict(vars(incident))
    for part in ("plans", "decisions", "actions", "outcomes"):
        content[part] = [vars(said) for said in content[part]]
    return content


def as_score(scored: Score) -> dict[str, Any]:
    """What a run made of the labels, for programs."""
    return {
        "labels": len(scored.detections),
        "detected": scored.detected,
        "missed": scored.missed,
        "false_alarms": [incident.incident_id for incident in scored.false_alarms],
        "covered_bp": scored.covered_bp,
        "signals": scored.alarms,
        "signals_outside_windows": scored.strays,
        "median_delay_ms": scored.median_delay_ms,
        "median_lead_ms": scored.median_lead_ms,
        "detections": [
            {
                **vars(each.label),
                "signal_id": each.alarm.signal_id if each.alarm else None,
                "detected_by": f"{each.alarm.service}: {each.alarm.slo}" if each.alarm else None,
                "delay_ms": each.delay_ms,
                "lead_ms": each.lead_ms,
                "same_service": each.same_service,
            }
            for each in scored.detections
        ],
    }


# -- pages -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of plain text."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Picture:
    """A picture beside the page."""

    path: str
    text: str


Block = Heading | Paragraph | Table | Picture


def blocks(
    name: str,
    simulation: Simulation,
    course: Course,
    scored: Score | None,
    model: EffectModel,
    plots: Mapping[str, str],
) -> Iterator[Block]:
    """The report for people. `plots` are the pictures' paths by incident."""
    yield Heading(1, f"Simulation `{name}`")
    yield Paragraph(LEVEL)
    yield Paragraph(EFFECTS.format(name=model.name) if model.effects else NO_EFFECTS)
    if model.approve_after_ms is not None:
        yield Paragraph(
            f"Approvals: a simulated approver grants every request after {duration(model.approve_after_ms)}."
        )
    yield Heading(2, "What went in")
    for start, end in simulation.recorded_stretches():
        yield Paragraph(f"Telemetry from {clock(start)} to {clock(end)} (UTC).")
    yield Paragraph(
        f"{simulation.recording.points:,} samples of {len(simulation.recording.services)} services;"
        f" {simulation.recording.left_out:,} rows had no value."
    )
    if simulation.ignored:
        yield Paragraph(f"Not in the fleet map, and left out: {', '.join(simulation.ignored)}.")
    if scored is not None:
        yield from _against_labels(scored)
    yield Heading(2, f"Incidents: {len(course.incidents)}")
    rows = [_row(incident) for incident in course.incidents.values()]
    yield Table(("opened", "service", "title", "actions", "last verdict", "resolution", "closed"), rows)
    for incident in course.incidents.values():
        yield from _incident(incident, course, plots.get(incident.incident_id))


def _against_labels(scored: Score) -> Iterator[Block]:
    yield Heading(2, "Against the labels")
    yield Paragraph(
        f"{scored.detected} of {len(scored.detections)} labelled windows detected, {scored.missed} missed;"
        f" {len(scored.false_alarms)} incidents were about none of them; {scored.strays} of {scored.alarms} signals"
        f" were raised outside every window. Median delay from a window's start: {duration(scored.median_delay_ms)}."
        f" The windows cover {scored.covered_bp / 100:.1f} % of the recorded time: so often would an alarm at random"
        " fall into one."
    )
    head = ("window", "service", "kind", "detected", "delay", "lead", "by", "same service")
    yield Table(head, [_detection(each) for each in scored.detections])


def _detection(each: Detection) -> tuple[object, ...]:
    label, alarm = each.label, each.alarm
    window = f"{clock(label.start_us)} to {clock(label.end_us)[11:]}"
    if alarm is None:
        return (window, label.service, label.kind, "missed", "", "", "", "")
    found = f"{alarm.service}: {alarm.slo}"
    same = "yes" if each.same_service else "no"
    return (
        window, label.service, label.kind, clock(alarm.at_us)[11:], duration(each.delay_ms), duration(each.lead_ms),
        found, same,
    )  # fmt: skip


def _row(incident: Incident) -> tuple[object, ...]:
    done = [said.text for said in incident.actions if said.what == "StepRequested"]
    verdict = incident.outcomes[-1].what if incident.outcomes else ""
    closed = clock(incident.closed_us) if incident.closed_us else ""
    opened = clock(incident.opened_us)
    return (opened, incident.service, incident.title, "; ".join(done), verdict, incident.resolution, closed)


def _incident(incident: Incident, course: Course, plot: str | None) -> Iterator[Block]:
    yield Heading(3, f"{incident.service}, {clock(incident.opened_us)}")
    yield Paragraph(incident.title)
    yield Paragraph(
        f"{incident.incident_id}, {incident.severity}; began {clock(incident.started_us)}, opened"
        f" {clock(incident.opened_us)}; {incident.resolution}{': ' + incident.reason if incident.reason else ''}"
    )
    if plot is not None:
        yield Picture(plot, f"{incident.service} around {clock(incident.opened_us)}")
    raised = [
        Said(alarm.at_us, "SignalRaised", f"{alarm.service}: {alarm.summary}")
        for alarm in map(course.alarms.get, incident.signal_ids)
        if alarm is not None
    ]
    lines = [*raised, *incident.plans, *incident.decisions, *incident.actions, *incident.outcomes]
    lines.sort(key=lambda said: said.at_us)
    yield Table(("time", "event", "what"), [(clock(said.at_us), said.what, said.text) for said in lines])


def clock(at_us: int) -> str:
    """A virtual time in UTC, to the second."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(took_ms: int | None) -> str:
    """A duration as people read it; a dash for none."""
    if took_ms is None:
        return "-"
    sign, seconds = ("-" if took_ms < 0 else ""), abs(took_ms) // 1_000
    return f"{sign}{seconds} s" if seconds < 120 else f"{sign}{seconds // 60} min {seconds % 60} s"


# -- renderers ---------------------------------------------------------------------------------------------------------


def as_markdown(parts: Sequence[Block]) -> str:
    """The page as Markdown."""
    return "\n\n".join(_markdown(part) for part in parts) + "\n"


def _markdown(part: Block) -> str:
    if isinstance(part, Heading):
        return f"{'#' * part.level} {part.text}"
    if isinstance(part, Paragraph):
        return part.text
    if isinstance(part, Picture):
        return f"![{part.text}]({part.path})"
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in part.rows]
    rule = ["---"] * len(part.head)
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(part.head), rule, *cells])


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;width:100%;font-size:13px}td,th{border-bottom:1px solid #ddd;padding:.3rem .5rem;"
    "text-align:left;vertical-align:top}h3{margin-top:2.5rem}img{max-width:100%}"
)


def as_html(title: str, parts: Sequence[Block]) -> str:
    """The page as HTML, with its style and without scripts."""
    body = "\n".join(_html(part) for part in parts)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _html(part: Block) -> str:
    if isinstance(part, Heading):
        return f"<h{part.level}>{html.escape(part.text)}</h{part.level}>"
    if isinstance(part, Paragraph):
        return f"<p>{html.escape(part.text)}</p>"
    if isinstance(part, Picture):
        return f'<img src="{html.escape(part.path)}" alt="{html.escape(part.text)}">'
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in part.head)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>\n" for row in part.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>"
