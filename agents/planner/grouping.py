"""Which incident a signal belongs to, and which of an incident's services is the suspect.

A signal fits an open incident of its domain when the incident has had a signal of the same service, or of a service
that depends on it or that it depends on (directly or through others), whose start is within the correlation window of
its own. Lost telemetry says nothing of the service, so it never shares an incident with anything else; what was lost in
one domain within the window is one incident, for a collector or a network takes many services at once.

The suspect is the deepest dependency that itself burns: a service of the incident with a raised signal from which no
other such service is reached. Services that depend on each other in a circle count as equally deep.
"""

from collections.abc import Iterable

from autopilot.agents.planner.fleet import FleetView
from autopilot.agents.planner.incident import Incident, Phase, Signal, urgency
from autopilot.schemas.events.observer import SignalKind

CORRELATION_WINDOW_US = 300_000_000
"""Starts of related services' signals that are at most this far apart belong together: 5 minutes."""


def why_fits(incident: Incident, signal: Signal, view: FleetView) -> str | None:
    """Why the signal belongs to the incident, or None when it does not."""
    if incident.domain != signal.domain:
        return None
    lost = signal.kind == SignalKind.TELEMETRY_LOST
    if lost != (incident.phase == Phase.BLIND):
        return None
    if signal.service in incident.starts:
        return f"same service `{signal.service}`"
    for service, started_at_us in incident.starts.items():
        if abs(started_at_us - signal.started_at_us) > CORRELATION_WINDOW_US:
            continue
        if lost:
            return f"telemetry of `{service}` was lost at about the same time"
        if view.depends(service, signal.service):
            return f"`{service}` depends on `{signal.service}`"
        if view.depends(signal.service, service):
            return f"`{signal.service}` depends on `{service}`"
    return None


def suspect_of(signals: Iterable[Signal], view: FleetView) -> str:
    """The suspect among the services of raised signals; of equally deep ones the one with the most urgent signal."""
    by_urgency = sorted(signals, key=urgency)
    burning = list(dict.fromkeys(signal.service for signal in by_urgency))
    deepest = [one for one in burning if not any(_below(one, other, view) for other in burning)]
    return (deepest or burning)[0]


def _below(one: str, other: str, view: FleetView) -> bool:
    """Whether `other` lies strictly below `one`: `one` depends on it and not the other way round."""
    return one != other and view.depends(one, other) and not view.depends(other, one)
