"""What people must know, as a fold of the log: pure as an agent is, and written to the log before it is delivered.

One event makes at most one notification, whose id is derived from the event's. An incident is handed to people once:
what follows from the same cause is not told again. A breaker that opens and an agent that fails again within ten
minutes are not told again either. About a broadcast partition 0 speaks, and only if the order counts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.infra.notifier import wording
from autopilot.infra.notifier.state import MAX_TITLE, Known, NoticesState, line
from autopilot.policies.obligations import NOTIFY
from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepSucceeded
from autopilot.schemas.events.executor import (
    BreakerOpened,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
)
from autopilot.schemas.events.governance import (
    BreakGlass,
    GovernanceRefused,
    NoticeGiven,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationFailed, NotificationRequested
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened, NoPlanFound, PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, PlanDenied, StepAuthorized
from autopilot.schemas.events.runtime import AgentFaulted, Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.identity import derived_id

NAME: Final = "notifier"
PAGE, NOTICE = "page", "notice"
ESCALATED: Final = "escalated"

Handler = Callable[[NoticesState, Recorded[Any]], Sequence[Output]]


def _told(
    recorded: Recorded[Any], reason: str, urgency: str, title: str, text: str, *, incident: str = "", to: str = ""
) -> list[Output]:
    """The notification about an event."""
    envelope = recorded.envelope
    payload = NotificationRequested(
        notification_id=derived_id("ntf", reason, envelope.event_id),
        reason=reason,
        urgency=urgency,
        title=line(title, MAX_TITLE),
        text=text,
        incident_id=incident,
        audience=to,
    )
    return [Draft(payload, envelope.domain, envelope.service, incident)]


def _owner(state: NoticesState, recorded: Recorded[Any]) -> str:
    return state.owners.get(recorded.envelope.service, "")


# -- what is only taken note of --------------------------------------------------------------------------------------


def _tick(state: NoticesState, recorded: Recorded[Tick]) -> list[Output]:
    state.pass_time(recorded.payload.at_us)
    return []


def _activated(state: NoticesState, recorded: Recorded[ConfigurationActivated]) -> list[Output]:
    state.authority.activate(recorded.payload)
    fleets = Configuration().with_activated(recorded.payload.documents).fleets()
    if fleets:
        state.owners = {service.name: service.owner for fleet in fleets for service in fleet.services}
    return []


def _opened(state: NoticesState, recorded: Recorded[IncidentOpened]) -> list[Output]:
    said = recorded.payload
    state.incidents[said.incident_id] = Known(line(said.title, MAX_TITLE), said.severity)
    return []


def _proposed(state: NoticesState, recorded: Recorded[PlanProposed]) -> list[Output]:
    plan = recorded.payload
    known = state.incidents.get(plan.incident_id)
    if known is not None:
        known.plan = line(f"{plan.remedy}: {plan.summary}")
        actions = {step.step_id: step.action for step in plan.steps}
        known.steps = {name: f"{action.driver}/{action.verb}/{action.target}" for name, action in actions.items()}
        known.note(f"proposed {known.plan} ({plan.risk_class.value} risk, confidence {plan.confidence_bp / 100:g} %)")
    return []


def _course(text: Callable[[Any], str]) -> Handler:
    """A handler that adds a line to an incident's course."""

    def handler(state: NoticesState, recorded: Recorded[Any]) -> list[Output]:
        said = recorded.payload
        known = state.incidents.get(getattr(said, "incident_id", "") or recorded.envelope.correlation_id)
        if known is not None:
            known.note(text(said))
        return []

    return handler


def _requested(state: NoticesState, recorded: Recorded[NotificationRequested]) -> list[Output]:
    state.request(recorded)
    return []


def _answered(state: NoticesState, recorded: Recorded[NotificationDelivered | NotificationFailed]) -> list[Output]:
    pending = state.pending.get(recorded.payload.notification_id)
    if pending is not None and recorded.payload.channel not in pending.answered:
        pending.answered.append(recorded.payload.channel)
    return []


# -- what people are told --------------------------------------------------------------------------------------------


def _approval(state: NoticesState, recorded: Recorded[ApprovalRequested]) -> list[Output]:
    asked = recorded.payload
    incident_id = asked.decision.incident_id
    text = wording.approval(asked, state.incidents.get(incident_id))
    title = f"Approve? {asked.summary}"
    return _told(recorded, "approval", PAGE, title, text, incident=incident_id, to=asked.group)


def _authorized(state: NoticesState, recorded: Recorded[PlanAuthorized]) -> list[Output]:
    """Tells whom an obligation names; of others it is only noted. Unsigned it means nothing."""
    said = recorded.payload
    if not state.authority.has(recorded.signed_by, Role.POLICY):
        return []
    known = state.incidents.get(said.decision.incident_id)
    if known is not None:
        known.note(f"authorised under {said.decision.bundle or 'no bundle'}")
    told = [obligation.parameters.get("to", "") for obligation in said.obligations if obligation.name == NOTIFY]
    if not told:
        return []
    incident_id = said.decision.incident_id
    plan = known.plan if known is not None and known.plan else f"plan {said.decision.plan_id}"
    text = wording.paragraphs(
        f"The autopilot is allowed to act by itself and does: {plan}",
        wording.so_far(known),
        wording.timeline(incident_id),
        f'To stop it: $ autopilot halt --domain {recorded.envelope.domain} --reason "..." --as YOUR-NAME',
    )
    return _told(recorded, "action", NOTICE, f"Acting: {plan}", text, incident=incident_id, to=told[0])


def _step_authorized(state: NoticesState, recorded: Recorded[StepAuthorized]) -> list[Output]:
    """Only noted: whoever is to be told was told when the plan began. Unsigned it means nothing."""
    known = state.incidents.get(recorded.payload.decision.incident_id)
    if known is not None and state.authority.has(recorded.signed_by, Role.POLICY):
        approvers = ", ".join(use.approver for use in recorded.payload.approvals)
        by = "a broken glass" if recorded.payload.overruled_by else approvers or "no approval was needed"
        known.note(f"step `{recorded.payload.step_id}` authorised: {by}")
    return []


def _no_plan(state: NoticesState, recorded: Recorded[NoPlanFound]) -> list[Output]:
    said = recorded.payload
    known = state.incidents.get(said.incident_id)
    urgency = PAGE if known is not None and known.severity == PAGE and not known.told else NOTICE
    title = f"No remedy: {known.title if known is not None else said.incident_id}"
    text = wording.no_plan(said, known)
    if known is not None:
        known.told = True
        known.note(f"nothing to propose: {said.reason}")
    return _told(recorded, "escalation", urgency, title, text, incident=said.incident_id, to=_owner(state, recorded))


def _closed(state: NoticesState, recorded: Recorded[IncidentClosed]) -> list[Output]:
    said = recorded.payload
    known = state.incidents.pop(said.incident_id, None)
    if said.resolution != ESCALATED or (known is not None and known.told):
        return []
    title = f"Yours: {known.title if known is not None else said.incident_id}"
    text = wording.escalated(said.incident_id, said.reason, known)
    return _told(recorded, "escalation", PAGE, title, text, incident=said.incident_id, to=_owner(state, recorded))


def _failed(state: NoticesState, recorded: Recorded[ExecutionFailed]) -> list[Output]:
    said = recorded.payload
    known = state.incidents.get(said.incident_id)
    text = wording.failed(said, known)
    if known is not None:
        known.note(f"the execution failed: {said.reason}")
    if not said.needs_person or not state.is_new(f"execution/{said.execution_id}", recorded.envelope.occurred_at_us):
        return []
    if known is not None:
        known.told = True
    title = f"A person must look: {known.title if known is not None else said.incident_id}"
    return _told(recorded, "escalation", PAGE, title, text, incident=said.incident_id, to=_owner(state, recorded))


def _indeterminate(state: NoticesState, recorded: Recorded[StepIndeterminate]) -> list[Output]:
    said = recorded.payload
    known = state.incidents.get(said.incident_id)
    step = known.steps.get(said.step_id, said.step_id) if known is not None else said.step_id
    text = wording.indeterminate(said.incident_id, f"`{step}` ({said.phase})", said.reason, known)
    state.is_new(f"execution/{said.execution_id}", recorded.envelope.occurred_at_us)
    if known is not None:
        known.note(f"{said.phase} step `{said.step_id}`: nobody can know whether it took effect")
        known.told = True
    title = f"Nobody can know whether {step} took effect"
    return _told(recorded, "indeterminate", PAGE, title, text, incident=said.incident_id, to=_owner(state, recorded))


def _faulted(state: NoticesState, recorded: Recorded[AgentFaulted]) -> list[Output]:
    said = recorded.payload
    if not state.is_new(f"fault/{said.agent}/{said.parked}", recorded.envelope.occurred_at_us):
        return []
    what = "a whole partition" if said.parked == "*" else said.parked
    return _told(recorded, "fault", PAGE, f"{said.agent} decides nothing for {what} any more", wording.fault(said))


def _halted(state: NoticesState, recorded: Recorded[Halt]) -> list[Output]:
    said = recorded.payload
    if state.authority.halt(recorded) is not None or recorded.position.partition != 0:
        return []
    title = f"Halted by {said.ordered_by}: {wording.scope_of(said.scope)}"
    return _told(recorded, "halt", NOTICE, title, wording.halt(said))


def _resumed(state: NoticesState, recorded: Recorded[Resume]) -> list[Output]:
    said = recorded.payload
    if state.authority.resume(recorded) is not None or recorded.position.partition != 0:
        return []
    scope, left = wording.scope_of(said.scope), sorted(state.authority.halts.get(said.scope, ()))
    title = f"Resumed by {said.ordered_by}: {scope}"
    if left:
        title = f"A halt was ended by {said.ordered_by}; still halted by {', '.join(left)}: {scope}"
    return _told(recorded, "resume", NOTICE, title, wording.resume(said))


def _breaker(state: NoticesState, recorded: Recorded[BreakerOpened]) -> list[Output]:
    said = recorded.payload
    if not state.is_new(f"breaker/{recorded.envelope.domain}/{said.breaker}", recorded.envelope.occurred_at_us):
        return []
    title = f"Breaker open: {said.breaker}"
    return _told(recorded, "breaker", NOTICE, title, wording.breaker(said), to=_owner(state, recorded))


def _notice(state: NoticesState, recorded: Recorded[NoticeGiven]) -> list[Output]:
    """What the policy says aloud: a broken glass."""
    said = recorded.payload
    incident_id = recorded.envelope.correlation_id
    text = wording.paragraphs(
        said.text,
        wording.so_far(state.incidents.get(incident_id)),
        wording.timeline(incident_id) if incident_id else "$ autopilot incidents --open",
    )
    urgency = PAGE if said.severity == PAGE else NOTICE
    return _told(recorded, "break_glass", urgency, f"Broken glass: {said.text}", text, incident=incident_id, to=said.to)


def _refused(_state: NoticesState, recorded: Recorded[GovernanceRefused]) -> list[Output]:
    said = recorded.payload
    if said.refused_type != BreakGlass.event_type():
        return []
    title = f"A break-glass of {said.given_by} does not count"
    text = f"{said.given_by} tried to break the glass for {said.subject}: {said.reason} Nothing has changed."
    return _told(recorded, "break_glass", NOTICE, title, text, to=Role.ADMINISTRATOR)


def _lowered(state: NoticesState, recorded: Recorded[RemedyAutonomyLowered]) -> list[Output]:
    said = recorded.payload
    title = f"{said.remedy} on {said.service} may go less far: {said.autonomy}"
    text = wording.paragraphs(said.reason, f"Until now: {said.before}. It rests on {len(said.evidence)} outcomes.")
    return _told(recorded, "demotion", NOTICE, title, text, to=state.owners.get(said.service, ""))


def _promotion(state: NoticesState, recorded: Recorded[RemedyPromotionProposed]) -> list[Output]:
    said = recorded.payload
    title = f"Let {said.remedy} on {said.service} go further? {said.proposed}"
    text = wording.paragraphs(
        said.reason, f"Now: {said.autonomy}. Nothing changes unless a person says so:", f"$ {said.command}"
    )
    return _told(recorded, "promotion", NOTICE, title, text, to=state.owners.get(said.service, ""))


HANDLERS: Final[Mapping[type[Payload], Handler]] = {
    Tick: _tick,
    ConfigurationActivated: _activated,
    IncidentOpened: _opened,
    PlanProposed: _proposed,
    PlanDenied: _course(lambda said: f"denied: {said.reason}"),
    ExecutionStarted: _course(lambda said: f"execution began, {said.steps} steps"),
    StepSucceeded: _course(lambda said: f"{said.phase} step `{said.step_id}` succeeded"),
    StepFailed: _course(lambda said: f"{said.phase} step `{said.step_id}` failed: {said.reason}"),
    RollbackStarted: _course(lambda said: f"rolling back: {said.reason}"),
    ExecutionCompleted: _course(lambda _: "every step has succeeded"),
    ExecutionRolledBack: _course(lambda said: f"rolled back: {said.reason}"),
    OutcomeVerified: _course(lambda said: f"verified ({said.outcome.phase})"),
    OutcomeRejected: _course(lambda said: f"it did not help ({said.outcome.phase})"),
    OutcomeInconclusive: _course(lambda said: f"inconclusive ({said.outcome.phase})"),
    NotificationRequested: _requested,
    NotificationDelivered: _answered,
    NotificationFailed: _answered,
    ApprovalRequested: _approval,
    PlanAuthorized: _authorized,
    StepAuthorized: _step_authorized,
    NoPlanFound: _no_plan,
    IncidentClosed: _closed,
    ExecutionFailed: _failed,
    StepIndeterminate: _indeterminate,
    AgentFaulted: _faulted,
    Halt: _halted,
    Resume: _resumed,
    BreakerOpened: _breaker,
    NoticeGiven: _notice,
    GovernanceRefused: _refused,
    RemedyAutonomyLowered: _lowered,
    RemedyPromotionProposed: _promotion,
}
"""Event type -> what it makes people know, or what is taken note of."""


class Notices(FoldingAgent[NoticesState]):
    """See the module."""

    name = NAME
    reads = Topic.LOG
    handles = frozenset(HANDLERS)
    state_type = TypeAdapter(NoticesState)

    def initial_state(self) -> NoticesState:
        """Nothing known."""
        return NoticesState()

    def handle(self, state: NoticesState, recorded: Recorded[Any]) -> tuple[NoticesState, Sequence[Output]]:
        """See `Agent.handle`."""
        return state, HANDLERS[type(recorded.payload)](state, recorded)
