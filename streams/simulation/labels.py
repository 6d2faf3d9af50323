"""What is known to have happened, and what a run made of it: detected, missed, false alarms, delay and lead. Pure.

A label is detected by the first signal that is raised within its window, about any service: a fault in one service is
rightly seen in its callers. Whether the signal was about the labelled service is said beside it. An incident is a false
alarm when none of its signals was raised within a window. Lost telemetry is neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.streams.simulation.course import Alarm, Incident


@dataclass(frozen=True, order=True)
class Label:
    """Something that happened to a service from `start_us` up to `end_us`, microseconds since the epoch."""

    start_us: int
    end_us: int
    service: str
    kind: str = ""
    noticed_us: int | None = None
    """When people or their tools noticed it, where that is known."""


@dataclass(frozen=True)
class Detection:
    """What became of one label. Durations in milliseconds; None where it was missed or nobody's notice is known."""

    label: Label
    alarm: Alarm | None
    delay_ms: int | None
    """From its start to the signal."""
    lead_ms: int | None
    """From the signal to when people noticed; negative when they were first."""
    same_service: bool


@dataclass(frozen=True)
class Score:
    """All labels, in order of time, and the incidents that were about none of them."""

    detections: tuple[Detection, ...]
    false_alarms: tuple[Incident, ...]
    covered_bp: int
    """Share of the recorded time that lies in some window: an alarm at random hits one that often."""
    alarms: int
    """Signals about services, in all."""
    strays: int
    """Of these, raised outside every window."""

    @property
    def detected(self) -> int:
        """How many labels were detected."""
        return sum(1 for each in self.detections if each.alarm is not None)

    @property
    def missed(self) -> int:
        """How many were not."""
        return len(self.detections) - self.detected

    @property
    def median_delay_ms(self) -> int | None:
        """The middle delay of those detected; the lower one of two."""
        delays = sorted(each.delay_ms for each in self.detections if each.delay_ms is not None)
        return delays[(len(delays) - 1) // 2] if delays else None

    @property
    def median_lead_ms(self) -> int | None:
        """The middle lead time of those detected whose notice is known; the lower one of two."""
        leads = sorted(each.lead_ms for each in self.detections if each.lead_ms is not None)
        return leads[(len(leads) - 1) // 2] if leads else None


def score(
    labels: Sequence[Label], alarms: Sequence[Alarm], incidents: Sequence[Incident], recorded: Sequence[tuple[int, int]]
) -> Score:
    """Holds a run's alarms and incidents against the labels. `recorded` are the stretches with telemetry."""
    ordered = sorted(labels)
    counted = sorted((alarm for alarm in alarms if alarm.about_service), key=lambda alarm: alarm.at_us)
    within = {
        alarm.signal_id for alarm in counted if any(label.start_us <= alarm.at_us <= label.end_us for label in ordered)
    }
    about_service = {alarm.signal_id for alarm in counted}
    false = [
        incident
        for incident in incidents
        if about_service.intersection(incident.signal_ids) and not within.intersection(incident.signal_ids)
    ]
    detections = tuple(_detect(label, counted) for label in ordered)
    strays = len(counted) - len(within)
    return Score(detections, tuple(false), _covered_bp(ordered, recorded), len(counted), strays)


def _detect(label: Label, alarms: Sequence[Alarm]) -> Detection:
    hits = [alarm for alarm in alarms if label.start_us <= alarm.at_us <= label.end_us]
    if not hits:
        return Detection(label, None, None, None, False)
    first = hits[0]
    lead = None if label.noticed_us is None else (label.noticed_us - first.at_us) // 1000
    same = any(alarm.service == label.service for alarm in hits)
    return Detection(label, first, (first.at_us - label.start_us) // 1000, lead, same)


def _covered_bp(labels: Sequence[Label], recorded: Sequence[tuple[int, int]]) -> int:
    """By merging the windows; they are in order."""
    merged: list[list[int]] = []
    for label in labels:
        if merged and label.start_us <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], label.end_us)
        else:
            merged.append([label.start_us, label.end_us])
    whole = sum(end - start for start, end in recorded)
    inside = sum(
        max(0, min(end, until) - max(start, since)) for start, end in merged for since, until in recorded
    )  # fmt: skip
    return inside * 10_000 // whole if whole else 0
