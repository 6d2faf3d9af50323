"""Finding a plan for an incident, taking one back, and saying that there is none."""

from dataclasses import replace

from autopilot.agents.planner.case import Case, attempt_key
from autopilot.agents.planner.flapping import Rhythm, condition_of
from autopilot.agents.planner.grouping import suspect_of
from autopilot.agents.planner.incident import ACTING, INCIDENT, Incident, OpenPlan, Phase, Trigger, urgency
from autopilot.agents.planner.look_at import for_no_remedy
from autopilot.agents.planner.proposal import Proposal
from autopilot.agents.planner.remedies import Choice
from autopilot.agents.planner.state import Turn
from autopilot.schemas.configuration import Autonomy, Service, canonical
from autopilot.schemas.events.planner import (
    Alternative,
    NoPlanFound,
    PlanProposed,
    PlanWithdrawn,
    Verification,
)
from autopilot.schemas.identity import derived_id, digest_of
from autopilot.schemas.plan_hash import hash_of


def plan(turn: Turn, incident: Incident) -> None:
    """Proposes the best plan for an open incident, lets it wait or says that there is none; without signals it ends."""
    if not incident.signals:
        turn.close(incident, "recovered", "every signal has cleared")
        return
    suspect = suspect_of(incident.signals, turn.view)
    service = turn.view.services.get(suspect)
    obstacle = _obstacle(turn, incident, suspect, service)
    if obstacle is None and (until_us := _flaps_until_us(turn, incident, suspect)):
        incident = turn.keep(replace(incident, retry_at_us=until_us))
        obstacle = f"`{suspect}` flaps: what is wrong has come and gone {turn.view.flapping.raises} times by now"
    if obstacle is not None or service is None:
        say_no_plan(turn, incident, suspect, obstacle or "")
        return
    blocker = _treating_a_dependency(turn, incident, suspect)
    if blocker:
        reason = f"`{suspect}` depends on what the other incident acts on"
        turn.wait(incident, blocker, [], suspect, reason)
        return
    choice = _search(turn, incident, service)
    if choice.best is None:
        turn.keep(incident := replace(incident, retry_at_us=choice.retry_at_us))
        say_no_plan(turn, incident, suspect, "no remedy applies", choice.rejected)
    elif held := [target for target in choice.best.targets if target in turn.state.holders]:
        blocker = turn.state.holders[held[0]]
        turn.wait(incident, blocker, held, suspect, f"a plan of the other incident holds {', '.join(held)}")
    else:
        _propose(turn, incident, suspect, choice, choice.best)


def reconsider(turn: Turn, incident: Incident) -> None:
    """Looks again after something changed: moves an undecided plan to a new suspect, seeks one where there was none."""
    if incident.phase == Phase.DECIDING and incident.plan is not None:
        suspect = suspect_of(incident.signals, turn.view)
        if suspect != incident.plan.service:
            reason = f"the suspect is now `{suspect}`, no longer `{incident.plan.service}`"
            plan(turn, withdraw(turn, incident, reason))
    elif INCIDENT.accepts(incident.phase, Trigger.RETRY) and not incident.handed_over:
        plan(turn, turn.move(incident, Trigger.RETRY))


def renew(turn: Turn, incident: Incident) -> None:
    """Takes back an undecided plan whose steps would now be others, or that another remedy now surpasses.

    While its remedy does not apply at all, as when a target is just starting, the plan stays: it may again in a moment.
    """
    service = turn.view.services.get(incident.plan.service) if incident.plan else None
    if incident.plan is None or service is None:
        return
    choice = _search(turn, incident, service)
    if choice.best is None or all(one.remedy != incident.plan.remedy for one in choice.standings):
        return
    surpassed = choice.best.remedy.name != incident.plan.remedy
    if surpassed or choice.best.steps_digest != incident.plan.steps_digest:
        plan(turn, withdraw(turn, incident, f"the target of `{service.name}` has changed since it was made"))


def withdraw(turn: Turn, incident: Incident, reason: str) -> Incident:
    """The incident without its undecided plan."""
    if incident.plan is None:
        return incident
    payload = PlanWithdrawn(plan_id=incident.plan.plan_id, incident_id=incident.incident_id, reason=reason)
    turn.say(payload, incident, incident.plan.service)
    return turn.move(incident, Trigger.PLAN_WITHDRAWN)


def tried(incident: Incident, what_came_of_it: str) -> Incident:
    """The incident remembering that its plan's remedy is not to be tried again."""
    if incident.plan is None:
        return incident
    key = attempt_key(incident.plan.remedy, incident.plan.service)
    return replace(incident, tried={**incident.tried, key: what_came_of_it})


def hand_over(turn: Turn, incident: Incident, trigger: Trigger, reason: str) -> None:
    """Leaves the incident to a person after `trigger`: nothing further is proposed in it."""
    suspect = incident.plan.service if incident.plan else next(iter(incident.starts), "")
    incident = turn.move(incident, trigger, handed_over=True)
    say_no_plan(turn, incident, suspect, reason)
    if not incident.signals:
        turn.close(turn.state.incidents[incident.incident_id], "escalated", reason)


def say_no_plan(
    turn: Turn, incident: Incident, suspect: str, reason: str, considered: list[Alternative] | None = None
) -> None:
    """Says what a person should look at, unless just that was said last."""
    considered = considered or []
    if INCIDENT.accepts(incident.phase, Trigger.NO_PLAN_FOUND):
        incident = turn.move(incident, Trigger.NO_PLAN_FOUND)
    said = digest_of(canonical([reason, [[one.remedy, one.why_not] for one in considered]]))
    if said == incident.said:
        return
    turn.keep(incident := replace(incident, said=said))
    look_at = for_no_remedy(incident, suspect, considered, turn.state.targets, turn.view)
    payload = NoPlanFound(incident_id=incident.incident_id, reason=reason, considered=considered, look_at=look_at)
    turn.say(payload, incident, suspect)


def _obstacle(turn: Turn, incident: Incident, suspect: str, service: Service | None) -> str | None:
    """Why no plan is even sought, or None."""
    if service is None:
        return f"the fleet map does not know `{suspect}`"
    if service.autonomy == Autonomy.OBSERVE:
        return f"`{suspect}` is only observed: its autonomy is `observe`"
    if len(incident.tried) >= turn.limits.attempts:
        return f"{len(incident.tried)} remedies were tried without success"
    if turn.halted(incident):
        return f"`{incident.domain}` is halted: nothing may begin until it is resumed"
    if turn.blind(suspect):
        return f"the telemetry of `{suspect}` is lost: what is not seen is not acted on"
    if incident.plans >= turn.limits.plans:
        return f"{incident.plans} plans were made without success"
    return None


def _flaps_until_us(turn: Turn, incident: Incident, suspect: str) -> int:
    """Until when one of the suspect's conditions counts as flapping; 0 when none does."""
    conditions = (condition_of(signal) for signal in incident.signals if signal.service == suspect)
    rhythms = (turn.state.rhythms.get(condition, Rhythm()) for condition in conditions)
    return max((one.flaps_until_us(turn.now_us, turn.view.flapping) for one in rhythms), default=0)


def _treating_a_dependency(turn: Turn, incident: Incident, suspect: str) -> str:
    """Another incident that acts on something that the suspect depends on: its end may be all that is needed."""
    for name in sorted(turn.view.reaches.get(suspect, ())):
        for other_id in turn.state.of_service.get(name, ()):
            other = turn.state.incidents[other_id]
            if other_id == incident.incident_id or other.domain != incident.domain or other.plan is None:
                continue
            if other.phase in ACTING and other.plan.service == name:
                return other_id
    return ""


def _search(turn: Turn, incident: Incident, service: Service) -> Choice:
    signals = sorted((s for s in incident.signals if s.service == service.name), key=urgency)
    state = turn.state
    case = Case(
        incident,
        signals,
        service,
        state.targets,
        state.tallies,
        state.used_at_us,
        state.ended_at_us,
        state.autonomies,
        turn.now_us,
    )
    return turn.view.judgements.choice(case)


def _propose(turn: Turn, incident: Incident, suspect: str, choice: Choice, best: Proposal) -> None:
    attempt = incident.plans + 1
    verification = _verification(turn, incident, suspect, best)
    remedy = best.remedy
    payload = PlanProposed(
        plan_id=derived_id("plan", incident.incident_id, str(attempt)),
        incident_id=incident.incident_id,
        plan_hash=hash_of(best.steps_text, verification),
        remedy=remedy.name,
        remedy_digest=best.entry.digest,
        summary=best.summary,
        steps=best.steps,
        verification=verification,
        risk_class=best.rating.risk_class,
        reversible=best.rating.reversible,
        blast_radius_bp=best.blast_radius_bp,
        blast_radius_instances=best.instances,
        cost=best.rating.cost,
        confidence_bp=best.standing.bound_bp,
        basis=best.basis,
        alternatives=choice.alternatives,
        attempt=attempt,
        expires_at_us=turn.now_us + turn.limits.plan_lifetime_ms * 1000,
    )
    held = OpenPlan(
        plan_id=payload.plan_id,
        remedy=remedy.name,
        service=suspect,
        targets=best.targets,
        expires_at_us=payload.expires_at_us,
        patience_ms=best.longest_ms + verification.deadline_ms + turn.limits.stall_margin_ms,
        steps_digest=best.steps_digest,
        leaves_nothing=best.leaves_nothing,
    )
    turn.move(incident, Trigger.PLAN_PROPOSED, plan=held, plans=attempt, retry_at_us=0, said="")
    turn.say(payload, incident, suspect)
    turn.lock(incident, held)


def _verification(turn: Turn, incident: Incident, suspect: str, best: Proposal) -> Verification:
    """The SLOs that burn must recover; where none does, every SLO of the service must be met.

    The trouble is there as a whole from the latest start of what is raised: an incident is older where it began
    elsewhere, or where something came back in it.
    """
    answered = [signal for signal in incident.signals if signal.service == suspect]
    burning = sorted({signal.slo for signal in answered if signal.slo})
    written = best.remedy.verification
    return Verification(
        slo_names=burning or list(turn.view.objectives.get(suspect, ())),
        guard_metrics=written.guard_metrics,
        before_ms=written.before_ms,
        settle_ms=written.settle_ms,
        after_ms=written.after_ms,
        deadline_ms=written.deadline_ms,
        trouble_since_us=max((signal.started_at_us for signal in answered), default=0),
    )
