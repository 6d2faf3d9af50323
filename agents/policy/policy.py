"""The policy agent: on every proposed plan a decision, with the facts that it saw and the rules that ruled.

It denies by default. What needs approval is previewed, then put to people; an approval counts when it is signed, by one
of the group, for this plan and these facts, in time and once. With enough of them the plan is judged again on the facts
of that moment: when they deny, so does the policy, whatever was approved. Only a broken glass overrules a denial. An
authorisation ends by its time, and is revoked when a halt covers it, when its plan is withdrawn or its incident closes,
and when telemetry is lost, as long as nothing has begun. Steps that are approved as they are reached are held until
then; see `held_steps`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.agents.policy import held_steps
from autopilot.agents.policy.approvals import refusal, requests_of, strayed
from autopilot.agents.policy.budgets import longest_window_us
from autopilot.agents.policy.catalogue import TAKERS
from autopilot.agents.policy.feedback import FEEDBACK
from autopilot.agents.policy.governance import (
    activate,
    break_glass,
    change_autonomy,
    glass_for,
    never_overruled,
    notice,
    take_bundle_event,
)
from autopilot.agents.policy.holding import Counted, Holding, PolicyState
from autopilot.agents.policy.judgement import Judge
from autopilot.agents.policy.ledger import HISTORY_US, Spending
from autopilot.agents.policy.noting import NOTED
from autopilot.agents.policy.states import HOLDING, HoldingState, Trigger
from autopilot.policies.bundle import Ruling
from autopilot.policies.engine import Verdict
from autopilot.policies.obligations import APPROVAL
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.effector import PreviewCompleted
from autopilot.schemas.events.executor import StepHeld
from autopilot.schemas.events.governance import BreakGlass, RemedyAutonomyChanged
from autopilot.schemas.events.observer import SignalRaised
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected, ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import IncidentClosed, PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalUse,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    PreviewRequested,
)
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.plan_hash import refused_plan

PREVIEW_US: Final = 10_000_000
"""How long the effector has for a preview before people are asked without one."""

Handler = Callable[[PolicyState, Recorded[Any]], list[Output]]


class PolicyAgent(FoldingAgent[PolicyState]):
    """Decides plans. With a `candidate`, `bundle@version`, as if that version ruled under its name."""

    name = "policy"
    reads = Topic.LOG
    state_type = TypeAdapter(PolicyState)

    def __init__(self, candidate: str = "") -> None:
        self._judge = Judge(candidate)
        self._handlers: dict[type[Payload], Handler] = {
            Tick: self._tick,
            ConfigurationActivated: partial(_noted, activate),
            **{kind: partial(_noted, note) for kind, note in NOTED.items()},
            **FEEDBACK,
            SignalRaised: self._signal_raised,
            IncidentClosed: self._incident_closed,
            StepHeld: self._step_held,
            PlanProposed: self._plan_proposed,
            PlanWithdrawn: self._plan_withdrawn,
            PreviewCompleted: self._preview_completed,
            ApprovalGranted: self._approval_granted,
            ApprovalRejected: self._approval_rejected,
            Halt: self._halt,
            Resume: self._resume,
            **dict.fromkeys(TAKERS, take_bundle_event),
            RemedyAutonomyChanged: change_autonomy,
            BreakGlass: self._break_glass,
        }
        self.handles = frozenset(self._handlers)

    def initial_state(self) -> PolicyState:
        """Nothing is known, and nothing is allowed."""
        return PolicyState()

    def handle(self, state: PolicyState, recorded: Recorded[Any]) -> tuple[PolicyState, Sequence[Output]]:
        """See `Agent.handle`."""
        return state, self._handlers[type(recorded.payload)](state, recorded)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _plan_proposed(self, state: PolicyState, recorded: Recorded[PlanProposed]) -> list[Output]:
        plan, envelope = recorded.payload, recorded.envelope
        refused = refused_plan(plan, state.holdings)
        if refused is not None:
            return [refused]
        holding = Holding(plan, envelope.domain, envelope.service, envelope.producer)
        return self._decide(state, holding, envelope.event_id)

    def _decide(self, state: PolicyState, holding: Holding, cause_id: str) -> list[Output]:
        """The first judgement of a plan."""
        decision, verdict = self._judge.of(state, holding, cause_id)
        if verdict.ruling is not Ruling.NEEDS_APPROVAL or glass_for(state, holding.service, verdict):
            return self._conclude(state, holding, decision, verdict)
        plan = holding.plan
        deadline_us = state.now_us + PREVIEW_US
        state.holdings[plan.plan_id] = holding.moved(Trigger.PREVIEW, state.now_us, deadline_us=deadline_us)
        asked = PreviewRequested(plan_id=plan.plan_id, incident_id=plan.incident_id, plan_hash=plan.plan_hash)
        return [_draft(holding, asked)]

    def _conclude(self, state: PolicyState, holding: Holding, decision: Decision, verdict: Verdict) -> list[Output]:
        """Authorises or denies, as the verdict says, or authorises what a broken glass lets through."""
        if verdict.ruling is Ruling.ALLOW:
            return self._authorize(state, holding, decision, verdict)
        glass = glass_for(state, holding.service, verdict)
        if glass is not None:
            return self._overrule(state, holding, decision, verdict, glass.event_id, glass.invoked_by)
        reason = verdict.reason
        if verdict.ruling is Ruling.NEEDS_APPROVAL:
            reason = f"the evidence moved since it was approved: {reason}"
        return self._deny(state, holding, decision, reason)

    def _overrule(
        self, state: PolicyState, holding: Holding, decision: Decision, verdict: Verdict, event_id: str, by: str
    ) -> list[Output]:
        """Authorises what the bundles do not allow, and says so aloud."""
        text = f"{by} overruled `{verdict.ruling}` for {holding.plan.summary}: {verdict.reason}"
        told = notice(event_id, holding.plan.plan_id, text, holding.domain, holding.service, holding.plan.incident_id)
        return [*self._authorize(state, holding, decision, verdict, overruled_by=event_id), told]

    def _authorize(
        self, state: PolicyState, holding: Holding, decision: Decision, verdict: Verdict, *, overruled_by: str = ""
    ) -> list[Output]:
        plan = holding.plan
        held = [] if overruled_by else held_steps.held_steps_of(holding, verdict)
        not_after_us = held_steps.not_after_us(plan, held, state.now_us)
        authorized = PlanAuthorized(
            decision=decision,
            obligations=[o for o in verdict.obligations if not (overruled_by and o.name == APPROVAL)],
            approvals=holding.uses,
            not_after_us=not_after_us,
            overruled_by=overruled_by,
            held_steps=held,
        )
        state.holdings[plan.plan_id] = holding.moved(
            Trigger.AUTHORIZE,
            state.now_us,
            deadline_us=not_after_us,
            decision_id=decision.decision_id,
            held_steps=tuple(held),
        )
        spending = Spending(
            state.now_us, decision.decision_id, holding.service, plan.risk_class.value, max(plan.cost, 1)
        )
        state.ledger.spend(holding.domain, spending)
        return [_draft(holding, authorized)]

    def _deny(self, state: PolicyState, holding: Holding, decision: Decision, reason: str) -> list[Output]:
        state.holdings[holding.plan.plan_id] = holding.moved(Trigger.DENY, state.now_us)
        return [_draft(holding, PlanDenied(decision=decision, reason=reason))]

    # -- approvals ---------------------------------------------------------------------------------------------------

    def _preview_completed(self, state: PolicyState, recorded: Recorded[PreviewCompleted]) -> list[Output]:
        preview = recorded.payload
        holding = state.holdings.get(preview.plan_id)
        if holding is None or holding.state is not HoldingState.PREVIEWING:
            return []
        if preview.plan_hash != holding.plan.plan_hash:
            return [Rejection("plan_hash", f"`{preview.plan_hash}`", f"that of the plan, `{holding.plan.plan_hash}`")]
        return self._ask(state, holding, preview, recorded.envelope.event_id)

    def _ask(
        self, state: PolicyState, holding: Holding, preview: PreviewCompleted | None, cause_id: str
    ) -> list[Output]:
        """Puts a plan to people, if the facts of now still ask for that."""
        decision, verdict = self._judge.of(state, holding, cause_id)
        if verdict.ruling is not Ruling.NEEDS_APPROVAL or verdict.approval is None:
            return self._conclude(state, holding, decision, verdict)
        requests = requests_of(holding.plan, decision, verdict.approval, verdict.reason, preview, state.now_us)
        kept = preview if verdict.approval.when_reached else None
        held = tuple(held_steps.held_later(holding.plan, verdict.approval))
        state.holdings[holding.plan.plan_id] = replace(holding, preview=kept, held_steps=held).moved(
            Trigger.ASK, state.now_us, deadline_us=requests[0].expires_at_us, requests=requests
        )
        return [_draft(holding, request) for request in requests]

    def _approval_granted(self, state: PolicyState, recorded: Recorded[ApprovalGranted]) -> list[Output]:
        granted = recorded.payload
        holding = state.holdings.get(granted.plan_id)
        refused = refusal(granted, recorded.signed_by, holding, state.authority, state.now_us)
        request = holding.request(granted.approval_id) if holding is not None else None
        if refused or holding is None or request is None:
            return [_refused(recorded, holding, refused)]
        use = ApprovalUse(approver=granted.approver, event_id=recorded.envelope.event_id, step_id=request.step_id)
        holding = state.holdings[granted.plan_id] = holding.with_approval(Counted(request.approval_id, use))
        if holding.state is HoldingState.HELD:
            return held_steps.go_on(self._judge, state, holding, recorded.envelope.event_id)
        decision, verdict = self._judge.of(state, holding, recorded.envelope.event_id)
        moved = strayed(request, decision)
        if moved:
            return self._deny(state, holding, decision, f"the evidence moved since it was shown: {moved}")
        if verdict.ruling is not Ruling.DENY and holding.approved < request.needed:
            return []
        return self._conclude(state, holding, decision, verdict)

    def _approval_rejected(self, state: PolicyState, recorded: Recorded[ApprovalRejected]) -> list[Output]:
        rejected = recorded.payload
        holding = state.holdings.get(rejected.plan_id)
        refused = refusal(rejected, recorded.signed_by, holding, state.authority, state.now_us)
        if refused or holding is None:
            return [_refused(recorded, holding, refused)]
        refusal_text = f"{rejected.approver} refused it" + (f": {rejected.comment}" if rejected.comment else "")
        if holding.state is HoldingState.HELD:
            return held_steps.turn_back(state, holding, refusal_text)
        return self._deny(state, holding, holding.requests[0].decision, refusal_text)

    def _step_held(self, state: PolicyState, recorded: Recorded[StepHeld]) -> list[Output]:
        return held_steps.reached(self._judge, state, recorded)

    def _break_glass(self, state: PolicyState, recorded: Recorded[BreakGlass]) -> list[Output]:
        freed, outputs = break_glass(state, recorded)
        by, event_id = recorded.payload.invoked_by, recorded.envelope.event_id
        for holding in freed:
            decision, verdict = self._judge.of(state, holding, event_id)
            within = verdict.ruling is Ruling.ALLOW or never_overruled(verdict)
            if holding.state is HoldingState.HELD and within:
                outputs += held_steps.go_on(self._judge, state, holding, event_id)
            elif holding.state is HoldingState.HELD:
                outputs += held_steps.overrule(state, holding, decision, verdict, event_id, by)
            elif within:
                outputs += self._conclude(state, holding, decision, verdict)
            else:
                outputs += self._overrule(state, holding, decision, verdict, event_id, by)
        return outputs

    # -- endings -----------------------------------------------------------------------------------------------------

    def _tick(self, state: PolicyState, recorded: Recorded[Tick]) -> list[Output]:
        state.now_us = recorded.payload.at_us
        state.ledger.forget(state.now_us, longest_window_us(self._judge.standing(state).budgets))
        for service in [name for name, glass in state.glasses.items() if glass.until_us <= state.now_us]:
            del state.glasses[service]
        outputs: list[Output] = []
        for holding in list(state.holdings.values()):
            outputs += self._passed(state, holding, recorded.envelope.event_id)
        return outputs

    def _passed(self, state: PolicyState, holding: Holding, cause_id: str) -> list[Output]:
        """What the time means for one plan."""
        if holding.ended:
            if holding.changed_at_us <= state.now_us - HISTORY_US:
                del state.holdings[holding.plan.plan_id]
            return []
        if holding.deadline_us > state.now_us:
            return []
        if holding.state in (HoldingState.STARTED, HoldingState.HELD):
            request = next(iter(holding.asked), None) if holding.held_step else None
            return held_steps.expired(state, holding, request) if request is not None else []
        if holding.state is HoldingState.PREVIEWING:
            return self._ask(state, holding, None, cause_id)
        if holding.state is HoldingState.AWAITING:
            got = f"{holding.approved} of {holding.requests[0].needed} approvals"
            return self._deny(state, holding, holding.requests[0].decision, f"the request expired with {got}")
        state.holdings[holding.plan.plan_id] = holding.moved(Trigger.LAPSE, state.now_us)
        return []

    def _plan_withdrawn(self, state: PolicyState, recorded: Recorded[PlanWithdrawn]) -> list[Output]:
        holding = state.holdings.get(recorded.payload.plan_id)
        return self._let_go(state, holding, f"the plan was withdrawn: {recorded.payload.reason}") if holding else []

    def _let_go(self, state: PolicyState, holding: Holding, reason: str) -> list[Output]:
        """Ends what nobody wants any more; an authorisation is revoked unless its execution is between its steps."""
        if holding.state is HoldingState.HELD:
            return held_steps.turn_back(state, holding, reason)
        if HOLDING.accepts(holding.state, Trigger.WITHDRAW):
            state.holdings[holding.plan.plan_id] = holding.moved(Trigger.WITHDRAW, state.now_us)
        if not HOLDING.accepts(holding.state, Trigger.REVOKE):
            return []
        state.holdings[holding.plan.plan_id] = holding.moved(Trigger.REVOKE, state.now_us)
        state.ledger.refund(holding.domain, holding.decision_id)
        revoked = AuthorizationRevoked(
            decision_id=holding.decision_id,
            plan_id=holding.plan.plan_id,
            incident_id=holding.plan.incident_id,
            reason=reason,
        )
        return [_draft(holding, revoked)]

    def _revoke_all(self, state: PolicyState, wanted: Callable[[Holding], bool], reason: str) -> list[Output]:
        outputs: list[Output] = []
        for holding in list(state.holdings.values()):
            if wanted(holding):
                outputs += self._let_go(state, holding, reason)
        return outputs

    def _incident_closed(self, state: PolicyState, recorded: Recorded[IncidentClosed]) -> list[Output]:
        incident_id = recorded.payload.incident_id
        state.world.incidents.pop(incident_id, None)
        outputs: list[Output] = []
        for plan_id, holding in list(state.holdings.items()):
            if holding.plan.incident_id == incident_id:
                if HOLDING.accepts(holding.state, Trigger.TURN_BACK) and not holding.ended:
                    outputs += held_steps.turn_back(state, holding, "its incident was closed")
                else:
                    outputs += self._let_go(state, holding, "its incident was closed")
                del state.holdings[plan_id]
        return outputs

    def _signal_raised(self, state: PolicyState, recorded: Recorded[SignalRaised]) -> list[Output]:
        service = recorded.envelope.service
        state.world.raised(service, recorded.payload)
        if not state.world.lost(service):
            return []
        waiting = (HoldingState.AUTHORIZED, HoldingState.HELD)
        reason = f"telemetry of {service} was lost"
        return self._revoke_all(state, lambda h: h.service == service and h.state in waiting, reason)

    def _halt(self, state: PolicyState, recorded: Recorded[Halt]) -> list[Output]:
        refused = state.authority.halt(recorded)
        if refused is not None:
            return [refused]
        order = recorded.payload
        reason = f"halted by {order.ordered_by}: {order.reason}"
        return self._revoke_all(
            state, lambda h: h.state is HoldingState.AUTHORIZED and state.authority.halted(h.domain), reason
        )

    def _resume(self, state: PolicyState, recorded: Recorded[Resume]) -> list[Output]:
        refused = state.authority.resume(recorded)
        if refused is not None:
            return [refused]
        return held_steps.resumed(self._judge, state, recorded.envelope.event_id)


def _noted(
    note: Callable[[PolicyState, Recorded[Any]], None], state: PolicyState, recorded: Recorded[Any]
) -> list[Output]:
    note(state, recorded)
    return []


def _draft(holding: Holding, payload: Payload) -> Draft:
    return Draft(payload, holding.domain, holding.service, holding.plan.incident_id)


def _refused(recorded: Recorded[ApprovalGranted | ApprovalRejected], holding: Holding | None, reason: str) -> Output:
    answer = recorded.payload
    incident_id = holding.plan.incident_id if holding is not None else ""
    payload = ApprovalRefused(
        approval_id=answer.approval_id,
        incident_id=incident_id,
        event_id=recorded.envelope.event_id,
        given_by=answer.approver,
        reason=reason,
    )
    domain = holding.domain if holding is not None else recorded.envelope.domain
    service = holding.service if holding is not None else recorded.envelope.service
    return Draft(payload, domain, service, incident_id)
