"""The planner's state of one partition, and one turn of it: an event, what is said because of it, and the bookkeeping.

Bounded by the fleet and the catalogue: incidents go when they are closed, their signals with them; targets, tallies,
uses, endings, autonomies and rhythms have one entry for each target, each remedy with a service and each objective.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from autopilot.agents.authority import Authority
from autopilot.agents.planner.case import Level
from autopilot.agents.planner.confidence import Tally
from autopilot.agents.planner.flapping import Rhythm
from autopilot.agents.planner.fleet import FleetView
from autopilot.agents.planner.incident import ACTING, INCIDENT, Incident, OpenPlan, Phase, Signal, Trigger
from autopilot.agents.planner.variables import Target
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.planner import IncidentClosed, IncidentHeld, TargetsLocked, TargetsReleased
from autopilot.schemas.identity import digest_of


@dataclass(frozen=True)
class Limits:
    """The planner's bounds. They are part of its code: a replay must use the same."""

    correlation_delay_ms: int = 0
    """How long after its opening an incident waits for a dependency's signal before it is planned for."""
    plan_lifetime_ms: int = 1_800_000
    """How long a proposed plan stands undecided."""
    attempts: int = 3
    """Remedies that may be denied, fail or be rejected in one incident before a person takes over."""
    plans: int = 10
    """Plans of one incident, the withdrawn ones among them, before a person takes over."""
    stall_margin_ms: int = 600_000
    """How much longer than its own bounds an execution may take before it counts as stalled."""
    clearing_ms: int = 3_600_000
    """How long signals may stay raised after a remedy was verified."""


RELEASED = {
    Trigger.PLAN_WITHDRAWN: "it was withdrawn",
    Trigger.PLAN_DENIED: "it was denied",
    Trigger.EXECUTION_FAILED: "its execution failed",
    Trigger.EXECUTION_ROLLED_BACK: "it was rolled back",
    Trigger.OUTCOME_VERIFIED: "it was verified",
    Trigger.OUTCOME_INCONCLUSIVE: "its outcome is inconclusive",
    Trigger.STALLED: "nothing was heard of it for too long",
    Trigger.CLEARED: "its incident has ended",
}
"""What has become of a plan that lets go of its targets, by what ended it."""


@dataclass
class PlannerState:
    """The fold of one partition."""

    now_us: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    revision: str = ""
    authority: Authority = field(default_factory=Authority)
    targets: dict[str, Target] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    of_service: dict[str, list[str]] = field(default_factory=dict)
    """Service -> the open incidents that have had a signal of it, oldest first."""
    of_signal: dict[str, str] = field(default_factory=dict)
    loose: dict[str, Signal] = field(default_factory=dict)
    """Raised signals of no incident, because they only inform."""
    holders: dict[str, str] = field(default_factory=dict)
    """Target -> the incident whose plan holds it."""
    waiting: dict[str, list[str]] = field(default_factory=dict)
    """Incident -> those that wait for it, in the order in which they began to."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    used_at_us: dict[str, int] = field(default_factory=dict)
    ended_at_us: dict[str, int] = field(default_factory=dict)
    """`remedy@context` -> when an incident ended in which it was verified."""
    autonomies: dict[str, Level] = field(default_factory=dict)
    rhythms: dict[str, Rhythm] = field(default_factory=dict)
    """Condition -> when it was raised of late."""


@dataclass
class Turn:
    """One event's handling: the state, what is known besides, and what is said."""

    state: PlannerState
    view: FleetView
    limits: Limits
    recorded: Recorded[Any]
    out: list[Output] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    """Incidents that let go of their targets in this turn."""

    @property
    def now_us(self) -> int:
        """The present: the last tick, or the event's own time before there was one."""
        return self.state.now_us or self.recorded.envelope.occurred_at_us

    def halted(self, incident: Incident) -> bool:
        """Whether nothing new may begin in the incident's domain."""
        return self.state.authority.halted(incident.domain)

    def blind(self, service: str) -> bool:
        """Whether the service's telemetry is lost."""
        incidents = (self.state.incidents[one] for one in self.state.of_service.get(service, ()))
        lost = (signal for one in incidents if one.phase == Phase.BLIND for signal in one.signals)
        return any(signal.service == service for signal in lost)

    def say(self, payload: Payload, incident: Incident, service: str) -> None:
        """Has `payload` recorded for the incident."""
        self.out.append(Draft(payload, incident.domain, service, incident.incident_id))

    def keep(self, incident: Incident) -> Incident:
        """Puts the incident into the state in place of what was there."""
        self.state.incidents[incident.incident_id] = incident
        return incident

    def move(self, incident: Incident, trigger: Trigger, **changes: Any) -> Incident:
        """The incident after `trigger`; one that no longer acts lets go of its plan. Raises as `Lifecycle.after`."""
        phase = INCIDENT.after(incident.phase, trigger)
        if incident.phase == Phase.WAITING:
            self._wait_no_longer(incident)
        if phase not in ACTING:
            self._release(incident, RELEASED.get(trigger, str(trigger)))
            changes.setdefault("plan", None)
        changes.setdefault("deadline_us", 0)
        return self.keep(replace(incident, phase=phase, **changes))

    def wait(self, incident: Incident, blocker: str, targets: list[str], service: str, reason: str) -> None:
        """Lets the incident wait until the incident `blocker` lets go of its targets, and says so once."""
        self.state.waiting.setdefault(blocker, []).append(incident.incident_id)
        said = digest_of("\n".join((blocker, *targets)))
        self.move(incident, Trigger.HELD, waits_for=blocker, said=said)
        if said != incident.said:
            held = IncidentHeld(incident_id=incident.incident_id, waits_for=blocker, targets=targets, reason=reason)
            self.say(held, incident, service)

    def lock(self, incident: Incident, plan: OpenPlan) -> None:
        """Lets the incident's plan hold its targets, and says so."""
        for target in plan.targets:
            self.state.holders[target] = incident.incident_id
        targets = list(plan.targets)
        locked = TargetsLocked(plan_id=plan.plan_id, incident_id=incident.incident_id, targets=targets)
        self.say(locked, incident, plan.service)

    def close(self, incident: Incident, resolution: str, reason: str) -> None:
        """Ends the incident and forgets it."""
        service = incident.plan.service if incident.plan else next(iter(incident.starts), "")
        self.move(incident, Trigger.CLEARED)
        for remedy in incident.helped:
            self.state.ended_at_us[remedy] = self.now_us
        del self.state.incidents[incident.incident_id]
        for name in incident.starts:
            ids = self.state.of_service[name]
            ids.remove(incident.incident_id)
            if not ids:
                del self.state.of_service[name]
        payload = IncidentClosed(incident_id=incident.incident_id, resolution=resolution, reason=reason)
        self.say(payload, incident, service)

    def _release(self, incident: Incident, reason: str) -> None:
        plan = incident.plan
        if plan is None:
            return
        held = [target for target in plan.targets if self.state.holders.get(target) == incident.incident_id]
        for target in held:
            del self.state.holders[target]
        if held:
            self.released.append(incident.incident_id)
            released = TargetsReleased(
                plan_id=plan.plan_id, incident_id=incident.incident_id, targets=held, reason=reason
            )
            self.say(released, incident, plan.service)

    def _wait_no_longer(self, incident: Incident) -> None:
        waiters = self.state.waiting[incident.waits_for]
        waiters.remove(incident.incident_id)
        if not waiters:
            del self.state.waiting[incident.waits_for]
