"""What the policy has seen of incidents, signals, telemetry quality and breakers, and the facts that follow.

Bounded: a signal is dropped when it clears, an incident when it closes, a breaker when it closes; qualities are one for
each service.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from autopilot.policies.facts import Value
from autopilot.schemas.events.executor import BreakerClosed, BreakerOpened
from autopilot.schemas.events.observer import (
    BurnWindow,
    Quality,
    SignalCleared,
    SignalKind,
    SignalRaised,
    SignalUpdated,
    TelemetryQualityChanged,
)
from autopilot.schemas.events.planner import IncidentOpened, PlanProposed, SignalLinked

_UNKNOWN: Final = "unknown"
_RANKS: Final = {"page": 0, "ticket": 1, "info": 2, _UNKNOWN: 3}
_US_PER_MS: Final = 1_000


@dataclass(frozen=True)
class Signal:
    """A signal that has not cleared."""

    service: str
    kind: SignalKind
    severity: str
    burn_milli: int


@dataclass(frozen=True)
class Incident:
    """An open incident."""

    severity: str
    started_at_us: int
    signal_ids: tuple[str, ...]


@dataclass
class World:
    """Signals and incidents by id, qualities by service, breakers by domain and name with the time of their probe."""

    signals: dict[str, Signal] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    qualities: dict[str, Quality] = field(default_factory=dict)
    breakers: dict[str, dict[str, int]] = field(default_factory=dict)

    # -- what happened -----------------------------------------------------------------------------------------------

    def raised(self, service: str, event: SignalRaised) -> None:
        """A signal was raised."""
        self.qualities[service] = event.quality
        self.signals[event.signal_id] = Signal(service, event.kind, event.severity.value, _burn(event.windows))

    def updated(self, service: str, event: SignalUpdated) -> None:
        """A signal changed; one that is not known is no signal."""
        self.qualities[service] = event.quality
        signal = self.signals.get(event.signal_id)
        if signal is not None:
            severity, burn_milli = event.severity.value, _burn(event.windows)
            self.signals[event.signal_id] = replace(signal, severity=severity, burn_milli=burn_milli)

    def cleared(self, service: str, event: SignalCleared) -> None:
        """A signal ended."""
        self.qualities[service] = event.quality
        self.signals.pop(event.signal_id, None)

    def quality_changed(self, service: str, event: TelemetryQualityChanged) -> None:
        """Quality crossed a level."""
        self.qualities[service] = event.quality

    def opened(self, event: IncidentOpened) -> None:
        """An incident began."""
        self.incidents[event.incident_id] = Incident(event.severity, event.started_at_us, tuple(event.signal_ids))

    def linked(self, event: SignalLinked) -> None:
        """A signal joined an incident."""
        incident = self.incidents.get(event.incident_id)
        if incident is not None and event.signal_id not in incident.signal_ids:
            self.incidents[event.incident_id] = replace(incident, signal_ids=(*incident.signal_ids, event.signal_id))

    def breaker_opened(self, domain: str, event: BreakerOpened) -> None:
        """A breaker opened."""
        self.breakers.setdefault(domain, {})[event.breaker] = event.until_us

    def breaker_closed(self, domain: str, event: BreakerClosed) -> None:
        """A breaker closed."""
        self.breakers.get(domain, {}).pop(event.breaker, None)

    # -- facts -------------------------------------------------------------------------------------------------------

    def lost(self, service: str) -> bool:
        """Whether telemetry of the service is reported lost, or nothing was ever known of it."""
        return service not in self.qualities or any(
            signal.service == service and signal.kind is SignalKind.TELEMETRY_LOST for signal in self.signals.values()
        )

    def telemetry_facts(self, service: str) -> dict[str, Value]:
        """The facts of telemetry quality."""
        quality = self.qualities.get(service)
        return {
            "telemetry_freshness_bp": quality.freshness_bp if quality else 0,
            "telemetry_completeness_bp": quality.completeness_bp if quality else 0,
            "telemetry_validity_bp": quality.validity_bp if quality else 0,
            "telemetry_order_bp": quality.order_bp if quality else 0,
            "telemetry_lost": self.lost(service),
        }

    def incident_facts(self, incident_id: str, now_us: int) -> dict[str, Value]:
        """The facts of an incident; `unknown` when it is not open."""
        incident = self.incidents.get(incident_id)
        if incident is None:
            return {
                "incident_severity": _UNKNOWN,
                "incident_age_ms": 0,
                "incident_max_burn_milli": 0,
                "incident_signals": 0,
            }
        live = [self.signals[signal] for signal in incident.signal_ids if signal in self.signals]
        severities = [signal.severity for signal in live] or [incident.severity]
        known = [severity for severity in severities if severity in _RANKS]
        return {
            "incident_severity": min(known, key=_RANKS.__getitem__, default=_UNKNOWN),
            "incident_age_ms": max(now_us - incident.started_at_us, 0) // _US_PER_MS,
            "incident_max_burn_milli": max((signal.burn_milli for signal in live), default=0),
            "incident_signals": len(live),
        }

    def breaker_open(self, domain: str, plan: PlanProposed, now_us: int) -> bool:
        """Whether a breaker of one of the plan's targets and verbs is open and not due for a probe."""
        breakers = self.breakers.get(domain, {})
        actions = [step.action for step in plan.steps]
        return any(breakers.get(f"{a.driver}/{a.verb}/{a.target}", 0) > now_us for a in actions)


def _burn(windows: list[BurnWindow]) -> int:
    return max((window.long_burn_milli for window in windows), default=0)


def plan_facts(plan: PlanProposed) -> dict[str, Value]:
    """The facts of a plan."""
    actions = [step.action for step in plan.steps]
    return {
        "plan_actions": ",".join(sorted({f"{action.driver}.{action.verb}" for action in actions})),
        "plan_targets": ",".join(sorted({f"{action.driver}/{action.target}" for action in actions})),
        "plan_remedy": plan.remedy,
        "plan_risk_class": plan.risk_class.value,
        "plan_reversible": plan.reversible,
        "plan_cost": plan.cost,
        "plan_confidence_bp": plan.confidence_bp,
        "plan_blast_radius_bp": plan.blast_radius_bp,
        "plan_blast_radius_instances": plan.blast_radius_instances,
        "plan_steps": len(plan.steps),
        "plan_attempt": plan.attempt,
    }
