"""A plot for each incident, as SVG that has the same bytes each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from autopilot.infra.simulate.report import clock
from autopilot.schemas.configuration import Objective, ThresholdIndicator
from autopilot.streams.simulation.course import Course, Incident
from autopilot.streams.simulation.labels import Label
from autopilot.streams.simulation.recording import RecordedSeries, Recording

LEAD_IN_US = 30 * 60_000_000
"""Shown before an incident, and after its end."""
_NO_METADATA = {"Date": None, "Creator": None}


@dataclass(frozen=True)
class Shown:
    """What all plots of a run have in common. `seen` is what the agents saw where effects changed it."""

    recorded: Recording
    seen: Recording | None
    objectives: dict[str, Objective]
    labels: Sequence[Label]
    course: Course


def plot(shown: Shown, incident: Incident, path: Path) -> bool:
    """Draws the indicator that raised the incident; false where there is none to draw."""
    alarms = [alarm for name in incident.signal_ids if (alarm := shown.course.alarms.get(name)) is not None]
    objective = next((shown.objectives[alarm.slo] for alarm in alarms if alarm.slo in shown.objectives), None)
    if objective is None:
        return False
    indicator = objective.indicator
    selector = indicator.metric if isinstance(indicator, ThresholdIndicator) else indicator.bad or indicator.total
    end_us = incident.closed_us or incident.opened_us + LEAD_IN_US
    window = (incident.started_us - LEAD_IN_US, end_us + LEAD_IN_US)
    with mpl.rc_context({"svg.hashsalt": "autopilot", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.0, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for one in shown.recorded.of_service(objective.service, selector.metric):
            _line(axes, one, window, incident.opened_us, recorded=True)
        for one in shown.seen.of_service(objective.service, selector.metric) if shown.seen is not None else ():
            _line(axes, one, window, incident.opened_us, recorded=False)
        _bounds(axes, objective)
        _moments(axes, shown, incident, window)
        _dress(axes, f"{objective.service}: {selector.metric}", incident.opened_us, window)
        figure.savefig(path, format="svg", metadata=_NO_METADATA)
    return True


def _line(axes: Axes, one: RecordedSeries, window: tuple[int, int], opened_us: int, *, recorded: bool) -> None:
    first, last = one.between(*window)
    times = [_minutes(at, opened_us) for at in one.timestamps_us[first:last].tolist()]
    axes.plot(
        times,
        one.values[first:last].tolist(),
        label="recorded" if recorded else "simulated",
        color="0.6" if recorded else "tab:blue",
        linewidth=2.5 if recorded else 1.2,
    )


def _bounds(axes: Axes, objective: Objective) -> None:
    indicator = objective.indicator
    if isinstance(indicator, ThresholdIndicator):
        for bound in (indicator.bad_above, indicator.bad_below):
            if bound is not None:
                axes.axhline(bound, color="tab:red", linestyle="--", linewidth=1, label=f"bound {bound:g}")


def _moments(axes: Axes, shown: Shown, incident: Incident, window: tuple[int, int]) -> None:
    opened_us = incident.opened_us
    for label in shown.labels:
        if label.end_us > window[0] and label.start_us < window[1]:
            start, end = max(label.start_us, window[0]), min(label.end_us, window[1])
            span = (_minutes(start, opened_us), _minutes(end, opened_us))
            own = label.service == incident.service
            name = "its labelled window" if own else "another's"
            axes.axvspan(*span, color="tab:orange", alpha=0.35 if own else 0.1, linewidth=0, label=name)
    axes.axvline(0.0, color="tab:red", linewidth=1, label="incident opened")
    for said in incident.actions:
        if said.what == "StepRequested":
            at = _minutes(said.at_us, opened_us)
            axes.axvline(at, color="tab:green", linewidth=1.5, linestyle=":", label="action")
    if incident.closed_us is not None:
        at = _minutes(incident.closed_us, opened_us)
        axes.axvline(at, color="0.4", linewidth=1, linestyle="-.", label="closed")


def _dress(axes: Axes, title: str, opened_us: int, window: tuple[int, int]) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(f"minutes from {clock(opened_us)} UTC")
    axes.set_xlim(_minutes(window[0], opened_us), _minutes(window[1], opened_us))
    named: dict[str, Artist] = {}
    for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
        named.setdefault(str(name), handle)
    axes.legend(list(named.values()), list(named), loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _minutes(at_us: int, opened_us: int) -> float:
    return (at_us - opened_us) / 60_000_000
