"""Signals: raised, updated and cleared, never twice for the same thing.

    quiet --fires--> raised --severity or strength changes--> raised (updated) --all that fired ended--> quiet

While a service's telemetry is lost nothing is said about its objectives: what is not seen neither burns nor recovers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from autopilot.agents.observer.burn_rate import AlertView, began_us, confidence_bp, head_us, may_fire, view
from autopilot.agents.observer.indicators import ObjectivePlan
from autopilot.agents.observer.quality import assess, newest_required_us
from autopilot.agents.observer.series import NEVER
from autopilot.agents.observer.state import RaisedSignal, ServiceState
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Position
from autopilot.schemas.events.observer import (
    Severity,
    SignalCleared,
    SignalKind,
    SignalRaised,
    SignalUpdated,
)
from autopilot.schemas.identity import derived_id

STRONGER = 2
"""How many times the reported burn rate must be reached before it is reported again."""
URGENCY = {Severity.INFO: 0, Severity.TICKET: 1, Severity.PAGE: 2}


@dataclass(frozen=True, slots=True)
class Moment:
    """When and because of which record something is decided."""

    now_us: int
    position: Position
    event_id: str


def _said(service: ServiceState, payload: Payload) -> Draft:
    return Draft(payload, service.memory.domain, service.name)


def _percent(milli: int, whole: int) -> str:
    return f"{milli * 10_000 // whole / 100:.2f}%" if whole else "no events"


def _summary(plan: ObjectivePlan, seen: AlertView) -> str:
    objective = plan.objective
    return (
        f"`{objective.name}` of `{objective.service}` burns its error budget {seen.short_milli / 1000:.1f} times too"
        f" fast over {seen.alert.short_window_ms / 1000:g} s and {seen.long_milli / 1000:.1f} times over"
        f" {seen.alert.long_window_ms / 1000:g} s (threshold {seen.alert.burn_rate_milli / 1000:g}):"
        f" {_percent(seen.short.bad, seen.short.total)} of {seen.short.total // 1000} events were bad"
    )


def _leading_first(views: list[AlertView], leading: AlertView) -> list[AlertView]:
    return [leading, *(seen for seen in views if seen is not leading)]


def _leading(views: list[AlertView]) -> AlertView:
    """The most urgent of the views, the first among equals."""
    return max(views, key=lambda seen: URGENCY[seen.alert.severity])


# -- burning objectives ------------------------------------------------------------------------------------------------


def judge(service: ServiceState, numbers: Iterable[int], moment: Moment) -> list[Draft]:
    """What there is to say about these objectives now."""
    if service.memory.lost is not None:
        return []
    burning, signals = may_fire(service, moment.now_us), service.memory.signals
    said: list[Draft] = []
    for number in numbers:
        plan = service.plan.objectives[number]
        raised = signals.get(plan.objective.name)
        if plan.alerts and (raised is not None or number in burning):
            said += _judge_one(service, plan, raised, view(service, number, moment.now_us), moment)
    return said


def _judge_one(
    service: ServiceState, plan: ObjectivePlan, raised: RaisedSignal | None, views: list[AlertView], moment: Moment
) -> list[Draft]:
    fired = [place for place, seen in enumerate(views) if seen.fires]
    if raised is not None:
        return _follow(service, plan, raised, views, fired, moment)
    return [_raise(service, plan, views, fired, moment)] if fired else []


def _raise(
    service: ServiceState, plan: ObjectivePlan, views: list[AlertView], fired: list[int], moment: Moment
) -> Draft:
    leading = _leading([views[place] for place in fired])
    place = next(number for number, seen in enumerate(views) if seen is leading)
    objective, quality = plan.objective, assess(service, moment.now_us).quality
    head = head_us(service, moment.now_us)
    signal = RaisedSignal(
        signal_id=derived_id("sig", service.name, SignalKind.SLO_BURN, objective.name, moment.event_id),
        severity=leading.alert.severity,
        reported_milli=leading.short_milli,
        fired=fired,
    )
    service.memory.signals[objective.name] = signal
    payload = SignalRaised(
        signal_id=signal.signal_id,
        kind=SignalKind.SLO_BURN,
        severity=signal.severity,
        slo=objective.name,
        sli=objective.sli.value,
        summary=_summary(plan, leading),
        windows=[seen.window for seen in _leading_first(views, leading)],
        confidence_bp=confidence_bp(leading, objective.objective_bp, quality.worst_bp),
        quality=quality,
        started_at_us=began_us(service, plan, place, head),
        evidence=service.evidence(moment.position, head - leading.alert.long_window_ms * 1000),
    )
    return _said(service, payload)


def _follow(
    service: ServiceState,
    plan: ObjectivePlan,
    raised: RaisedSignal,
    views: list[AlertView],
    fired: list[int],
    moment: Moment,
) -> list[Draft]:
    """Clears, updates or leaves alone a raised signal. An alert goes on until fresh events say that it ended."""
    going_on = sorted(set(fired) | {place for place in raised.fired if not views[place].ended})
    if not going_on:
        return [_clear(service, plan, raised, views, moment)]
    leading = _leading([views[place] for place in going_on])
    changed = leading.alert.severity != raised.severity
    stronger = leading.fires and leading.short_milli >= STRONGER * max(raised.reported_milli, 1)
    reported = leading.short_milli if changed or stronger else raised.reported_milli
    service.memory.signals[plan.objective.name] = RaisedSignal(
        signal_id=raised.signal_id, severity=leading.alert.severity, reported_milli=reported, fired=going_on
    )
    if not changed and not stronger:
        return []
    quality = assess(service, moment.now_us).quality
    since = head_us(service, moment.now_us) - leading.alert.long_window_ms * 1000
    payload = SignalUpdated(
        signal_id=raised.signal_id,
        severity=leading.alert.severity,
        summary=_summary(plan, leading),
        windows=[seen.window for seen in _leading_first(views, leading)],
        confidence_bp=confidence_bp(leading, plan.objective.objective_bp, quality.worst_bp),
        quality=quality,
        evidence=service.evidence(moment.position, since),
    )
    return [_said(service, payload)]


def _clear(
    service: ServiceState, plan: ObjectivePlan, raised: RaisedSignal, views: list[AlertView], moment: Moment
) -> Draft:
    worst = max(views, key=lambda seen: seen.short_milli)
    del service.memory.signals[plan.objective.name]
    service.memory.cleared_us[plan.objective.name] = head_us(service, moment.now_us)
    reason = (
        f"`{plan.objective.name}` burns {worst.short_milli / 1000:.1f} times over"
        f" {worst.alert.short_window_ms / 1000:g} s (threshold {worst.alert.burn_rate_milli / 1000:g}):"
        f" {_percent(worst.short.bad, worst.short.total)} of {worst.short.total // 1000} events were bad"
    )
    quality = assess(service, moment.now_us).quality
    return _said(service, SignalCleared(signal_id=raised.signal_id, reason=reason, quality=quality))


# -- lost telemetry ----------------------------------------------------------------------------------------------------


def watch_telemetry(service: ServiceState, moment: Moment) -> list[Draft]:
    """Says when a service's required telemetry is lost, and when it is back."""
    contract, memory = service.contract, service.memory
    newest = newest_required_us(service)
    age_us = moment.now_us - max(newest, memory.known_since_us)
    if memory.lost is None:
        return [_lose(service, newest, age_us, moment)] if age_us >= contract.lost_after_ms * 1000 else []
    if newest == NEVER or moment.now_us - newest >= min(contract.stale_after_ms, contract.lost_after_ms) * 1000:
        return []
    signal, memory.lost = memory.lost, None
    reason = f"telemetry of `{service.name}` is back: newest sample {(moment.now_us - newest) // 1000} ms ago"
    quality = assess(service, moment.now_us).quality
    return [_said(service, SignalCleared(signal_id=signal.signal_id, reason=reason, quality=quality))]


def _lose(service: ServiceState, newest_us: int, age_us: int, moment: Moment) -> Draft:
    memory = service.memory
    wanted = ", ".join(f"`{name}`" for name in service.contract.required_metrics) or "any metric"
    last = "none was ever seen" if newest_us == NEVER else "the last is older"
    signal = RaisedSignal(
        signal_id=derived_id("sig", service.name, SignalKind.TELEMETRY_LOST, moment.event_id),
        severity=Severity.TICKET,
        reported_milli=0,
        fired=[],
    )
    memory.lost = signal
    payload = SignalRaised(
        signal_id=signal.signal_id,
        kind=SignalKind.TELEMETRY_LOST,
        severity=signal.severity,
        slo="",
        sli="",
        summary=(
            f"telemetry lost: no usable sample of {wanted} from `{service.name}` for {age_us // 1000} ms"
            f" ({last}); this says nothing about the service itself"
        ),
        windows=[],
        confidence_bp=10_000,
        quality=assess(service, moment.now_us).quality,
        started_at_us=max(newest_us, memory.known_since_us),
        evidence=service.evidence(moment.position, newest_us) if newest_us != NEVER else [],
    )
    return _said(service, payload)


# -- changed configuration ---------------------------------------------------------------------------------------------


def withdraw(service: ServiceState, names: set[str], reason: str, moment: Moment) -> list[Draft]:
    """Clears the signals of these objectives, which are judged no longer."""
    signals, cleared_us = service.memory.signals, service.memory.cleared_us
    gone = [signals.pop(name) for name in list(signals) if name in names]
    for name in names & cleared_us.keys():
        del cleared_us[name]
    return _cleared(service, gone, reason, moment)


def withdraw_all(service: ServiceState, reason: str, moment: Moment) -> list[Draft]:
    """Clears every signal of a service that is kept here no longer, or under another domain."""
    memory = service.memory
    gone = [*memory.signals.values(), *([memory.lost] if memory.lost is not None else [])]
    memory.signals, memory.lost, memory.cleared_us = {}, None, {}
    return _cleared(service, gone, reason, moment)


def _cleared(service: ServiceState, gone: list[RaisedSignal], reason: str, moment: Moment) -> list[Draft]:
    quality = assess(service, moment.now_us).quality
    payloads = [SignalCleared(signal_id=signal.signal_id, reason=reason, quality=quality) for signal in gone]
    return [_said(service, payload) for payload in payloads]
