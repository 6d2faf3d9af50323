"""Signals become incidents, join them, and end them."""

from dataclasses import replace

from autopilot.agents.planner.flapping import Rhythm, condition_of
from autopilot.agents.planner.grouping import why_fits
from autopilot.agents.planner.incident import INCIDENT, Incident, Phase, Signal, Trigger, urgency
from autopilot.agents.planner.look_at import for_telemetry_lost
from autopilot.agents.planner.planning import plan, reconsider, withdraw
from autopilot.agents.planner.state import Turn
from autopilot.schemas.events.observer import (
    EvidenceRange,
    Severity,
    SignalCleared,
    SignalKind,
    SignalRaised,
    SignalUpdated,
)
from autopilot.schemas.events.planner import IncidentOpened, NoPlanFound, SignalLinked
from autopilot.schemas.identity import derived_id

RESOLUTIONS = {
    Phase.VERIFIED: ("remediated", "a remedy was verified and every signal has cleared"),
    Phase.ESCALATED: ("escalated", "every signal has cleared after a person was told"),
    Phase.BLIND: ("telemetry_restored", "the telemetry is back"),
}
"""How an incident ends whose signals cleared, by the phase that it was in; in any other it recovered by itself."""


def raised(turn: Turn, payload: SignalRaised) -> None:
    """Links the signal to the incident that it fits, or opens one; a signal raised twice is one."""
    if payload.signal_id not in turn.state.of_signal and payload.signal_id not in turn.state.loose:
        _place(turn, _signal(turn, payload))


def updated(turn: Turn, payload: SignalUpdated) -> None:
    """Takes over the signal's new strength; one that only informed may now open an incident."""
    loose = turn.state.loose.pop(payload.signal_id, None)
    if loose is not None:
        _place(turn, _renewed(loose, payload))
        return
    incident = _incident_of(turn, payload.signal_id)
    if incident is None:
        return
    signals = tuple(_renewed(s, payload) if s.signal_id == payload.signal_id else s for s in incident.signals)
    incident = turn.keep(replace(incident, signals=signals))
    _say_linked(turn, incident, payload.signal_id, "updated", payload.summary)
    reconsider(turn, incident)


def cleared(turn: Turn, payload: SignalCleared) -> None:
    """Takes the signal away; with its last one an incident ends unless something is being done in it."""
    turn.state.loose.pop(payload.signal_id, None)
    incident = _incident_of(turn, payload.signal_id)
    if incident is None:
        return
    del turn.state.of_signal[payload.signal_id]
    signals = tuple(signal for signal in incident.signals if signal.signal_id != payload.signal_id)
    incident = turn.keep(replace(incident, signals=signals))
    _say_linked(turn, incident, payload.signal_id, "cleared", payload.reason)
    if signals:
        reconsider(turn, incident)
    elif INCIDENT.accepts(incident.phase, Trigger.CLEARED):
        _recover(turn, incident)
    if incident.phase == Phase.BLIND:
        _see_again(turn, turn.recorded.envelope.service)


def _recover(turn: Turn, incident: Incident) -> None:
    """Ends the incident, and its plan if nothing has come of it yet."""
    if incident.phase == Phase.DECIDING:
        incident = withdraw(turn, incident, "every signal has cleared")
    resolution, reason = RESOLUTIONS.get(incident.phase, ("recovered", "every signal has cleared by itself"))
    turn.close(incident, resolution, reason)


def _see_again(turn: Turn, service: str) -> None:
    """Looks again for the service whose telemetry is back."""
    for incident_id in list(turn.state.of_service.get(service, ())):
        incident = turn.state.incidents[incident_id]
        if incident.phase == Phase.ESCALATED:
            reconsider(turn, incident)


def _signal(turn: Turn, payload: SignalRaised) -> Signal:
    envelope = turn.recorded.envelope
    return Signal(
        signal_id=payload.signal_id,
        domain=envelope.domain or turn.view.domain_of(envelope.service),
        service=envelope.service,
        kind=payload.kind,
        severity=payload.severity,
        slo=payload.slo,
        sli=payload.sli,
        summary=payload.summary,
        started_at_us=payload.started_at_us,
        confidence_bp=payload.confidence_bp,
        quality_bp=payload.quality.worst_bp,
        burn_milli=max((window.long_burn_milli for window in payload.windows), default=0),
        evidence=_last(payload.evidence),
    )


def _renewed(signal: Signal, payload: SignalUpdated) -> Signal:
    return replace(
        signal,
        severity=payload.severity,
        summary=payload.summary,
        confidence_bp=payload.confidence_bp,
        quality_bp=payload.quality.worst_bp,
        burn_milli=max((window.long_burn_milli for window in payload.windows), default=0),
        evidence=_last(payload.evidence),
    )


def _place(turn: Turn, signal: Signal) -> None:
    condition = condition_of(signal)
    rhythm = turn.state.rhythms.get(condition, Rhythm())
    turn.state.rhythms[condition] = rhythm.with_raised(turn.now_us, turn.view.flapping)
    fitting = _fitting(turn, signal)
    if fitting is not None:
        _link(turn, *fitting, signal)
    elif signal.severity == Severity.INFO:
        turn.state.loose[signal.signal_id] = signal
    else:
        _open(turn, signal)


def _last(evidence: list[EvidenceRange]) -> str:
    """Where the newest record of the evidence stands."""
    if not evidence:
        return ""
    newest = max(evidence, key=lambda one: (one.last_offset, one.topic, one.partition))
    return f"{newest.topic}[{newest.partition}]@{newest.last_offset}"


def _incident_of(turn: Turn, signal_id: str) -> Incident | None:
    return turn.state.incidents.get(turn.state.of_signal.get(signal_id, ""))


def _fitting(turn: Turn, signal: Signal) -> tuple[Incident, str] | None:
    """The incident that the signal fits and why: one of its own service first, then the one that was opened first."""
    if signal.kind == SignalKind.TELEMETRY_LOST:
        ids = list(turn.state.incidents)
    else:
        services = [signal.service, *turn.view.related(signal.service)]
        ids = list(dict.fromkeys(i for service in services for i in turn.state.of_service.get(service, ())))
    fitting = [
        (incident, why)
        for incident in map(turn.state.incidents.__getitem__, ids)
        if (why := why_fits(incident, signal, turn.view)) is not None
    ]
    return min(fitting, key=lambda found: _preference(found[0], signal), default=None)


def _preference(incident: Incident, signal: Signal) -> tuple[bool, int, str]:
    return signal.service not in incident.starts, incident.opened_at_us, incident.incident_id


def _link(turn: Turn, incident: Incident, why: str, signal: Signal) -> None:
    incident = turn.keep(_with(turn, incident, signal))
    _say_linked(turn, incident, signal.signal_id, "linked", why)
    reconsider(turn, incident)


def _open(turn: Turn, signal: Signal) -> None:
    fresh = Incident(
        incident_id=derived_id("inc", turn.recorded.envelope.event_id),
        domain=signal.domain,
        opened_at_us=turn.now_us,
        started_at_us=signal.started_at_us,
        signals=(signal,),
        starts={signal.service: max(signal.started_at_us, 0)},
    )
    _enter(turn, fresh, signal)
    incident = turn.keep(fresh)
    opened = IncidentOpened(
        incident_id=incident.incident_id,
        signal_ids=[signal.signal_id],
        severity=signal.severity,
        title=f"{signal.service}: {signal.summary}",
        started_at_us=incident.started_at_us,
    )
    turn.say(opened, incident, signal.service)
    if signal.kind == SignalKind.TELEMETRY_LOST:
        _blind(turn, incident)
    elif turn.limits.correlation_delay_ms == 0:
        plan(turn, incident)


def _blind(turn: Turn, incident: Incident) -> None:
    """Says where to look for the telemetry. No plan: what is not seen is not acted on."""
    look_at = for_telemetry_lost(sorted(incident.signals, key=urgency), turn.view)
    lost = NoPlanFound(incident_id=incident.incident_id, reason="telemetry_lost", considered=[], look_at=look_at)
    turn.move(incident, Trigger.TELEMETRY_LOST)
    turn.say(lost, incident, incident.signals[0].service)


def _with(turn: Turn, incident: Incident, signal: Signal) -> Incident:
    """The incident with one more signal, entered into the indexes."""
    _enter(turn, incident, signal)
    latest = max(signal.started_at_us, incident.starts.get(signal.service, 0))
    return replace(
        incident,
        signals=(*incident.signals, signal),
        starts={**incident.starts, signal.service: latest},
        started_at_us=min(incident.started_at_us, signal.started_at_us),
    )


def _enter(turn: Turn, incident: Incident, signal: Signal) -> None:
    """Enters a signal of the incident into the indexes."""
    turn.state.of_signal[signal.signal_id] = incident.incident_id
    ids = turn.state.of_service.setdefault(signal.service, [])
    if incident.incident_id not in ids:
        ids.append(incident.incident_id)


def _say_linked(turn: Turn, incident: Incident, signal_id: str, change: str, reason: str) -> None:
    service = turn.recorded.envelope.service
    linked = SignalLinked(incident_id=incident.incident_id, signal_id=signal_id, change=change, reason=reason)
    turn.say(linked, incident, service)
