"""How each kind of event reads in the report of a period: its section, what happened, about what, by whom and how."""

from collections.abc import Callable
from typing import Any

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import (
    effector,
    executor,
    governance,
    notifications,
    people,
    planner,
    policy,
    runtime,
    verifier,
)

Said = Recorded[Any]
Line = tuple[str, str, str, str, str]
"""Section, what happened, about what, by whom, and in what way."""


def line_of(recorded: Said) -> Line | None:
    """What the report says of an event; None when it says nothing."""
    handler = _HANDLERS.get(type(recorded.payload))
    return handler(recorded) if handler is not None else None


def _decision(recorded: Said, what: str, detail: str) -> Line:
    decision: policy.Decision = recorded.payload.decision
    rules = ", ".join(rule.rule for rule in decision.rules) or "no rule"
    return "decisions", what, decision.plan_id, decision.bundle or "no bundle", f"{detail} ({rules})"


def _authorised(recorded: Said) -> Line:
    if recorded.payload.overruled_by:
        return _decision(recorded, "authorised by break-glass", f"overruled by event {recorded.payload.overruled_by}")
    approvers = ", ".join(use.approver for use in recorded.payload.approvals)
    return _decision(recorded, "authorised", f"approved by {approvers}" if approvers else "without approval")


def _step_authorised(recorded: Said) -> Line:
    said: policy.StepAuthorized = recorded.payload
    approvers = ", ".join(use.approver for use in said.approvals)
    how = f"approved by {approvers}" if approvers else "without approval"
    if said.overruled_by:
        return _decision(recorded, "step authorised by break-glass", f"overruled by event {said.overruled_by}")
    return _decision(recorded, "step authorised", f"`{said.step_id}` {how}")


def _denied(recorded: Said) -> Line:
    return _decision(recorded, "denied", recorded.payload.reason)


def _held(recorded: Said) -> Line:
    asked: policy.ApprovalRequested = recorded.payload
    return _decision(recorded, "held for approval", f"{asked.needed} of group `{asked.group}`: {asked.summary}")


def _granted(recorded: Said) -> Line:
    said: people.ApprovalGranted = recorded.payload
    return "approvals", "granted", said.plan_id, said.approver, said.comment


def _rejected(recorded: Said) -> Line:
    said: people.ApprovalRejected = recorded.payload
    return "approvals", "rejected", said.plan_id, said.approver, said.comment


def _refused(recorded: Said) -> Line:
    said: policy.ApprovalRefused = recorded.payload
    return "approvals", "does not count", said.approval_id, said.given_by, said.reason


def _revoked(recorded: Said) -> Line:
    said: policy.AuthorizationRevoked = recorded.payload
    return "overrides", "authorisation revoked", said.plan_id, recorded.envelope.producer, said.reason


def _withdrawn(recorded: Said) -> Line:
    said: planner.PlanWithdrawn = recorded.payload
    return "overrides", "plan withdrawn", said.plan_id, recorded.envelope.producer, said.reason


def _halt(recorded: Said) -> Line:
    said = recorded.payload
    what = "halt" if isinstance(said, people.Halt) else "resume"
    return "halts", what, said.scope, said.ordered_by, said.reason


def _activated(recorded: Said) -> Line:
    said: people.ConfigurationActivated = recorded.payload
    names = ", ".join(f"{document.kind} `{document.name}`" for document in said.documents)
    return (
        "configuration",
        "activated",
        said.revision,
        said.author,
        f"{said.comment}: {names}" if said.comment else names,
    )


def _bundle(recorded: Said) -> Line:
    said = recorded.payload
    by = next(getattr(said, name) for name in ("author", "reviewer", "ordered_by") if hasattr(said, name))
    return "configuration", _words(said), f"{said.bundle}@{said.version}", by, said.comment


def _autonomy(recorded: Said) -> Line:
    said: governance.RemedyAutonomyChanged = recorded.payload
    subject = f"{said.remedy} on {said.service}"
    return "configuration", _words(said), subject, said.changed_by, f"{said.autonomy}: {said.reason}"


def _leveled(recorded: Said) -> Line:
    """What the policy itself says about an autonomy."""
    said = recorded.payload
    lowered = isinstance(said, governance.RemedyAutonomyLowered)
    levels = f"from {said.before} to {said.autonomy}" if lowered else f"from {said.autonomy} to {said.proposed}"
    subject = f"{said.remedy} on {said.service}"
    return "configuration", _words(said), subject, recorded.envelope.producer, f"{levels}: {said.reason}"


def _upgraded(recorded: Said) -> Line:
    said: runtime.AgentUpgraded = recorded.payload
    before = f"in place of {said.previous_digest}" if said.previous_digest else "the first"
    return "configuration", _words(said), said.agent, recorded.envelope.producer, f"code {said.code_digest}, {before}"


def _break_glass(recorded: Said) -> Line:
    said: governance.BreakGlass = recorded.payload
    subject = said.plan_id or f"{said.service} until {said.until_us} us"
    return "overrides", "break-glass", subject, said.invoked_by, said.reason


def _governance_refused(recorded: Said) -> Line:
    said: governance.GovernanceRefused = recorded.payload
    return "exceptions", f"{said.refused_type} does not count", said.subject, said.given_by, said.reason


def _execution(recorded: Said) -> Line:
    said = recorded.payload
    reason = getattr(said, "reason", "") or f"of plan {said.plan_id}"
    section = "exceptions" if getattr(said, "needs_person", False) else "executions"
    return section, _words(said), said.execution_id or said.plan_id, recorded.envelope.producer, reason


def _outcome(recorded: Said) -> Line:
    outcome: verifier.Outcome = recorded.payload.outcome
    judged = f"stage {outcome.step_id} of" if outcome.step_id else outcome.phase
    detail = f"{judged} `{outcome.remedy}`: {outcome.reason}"
    return "outcomes", _words(recorded.payload), outcome.execution_id, recorded.envelope.producer, detail


def _exception(recorded: Said) -> Line:
    said = recorded.payload
    reason = said.error if isinstance(said, runtime.AgentFaulted) else said.reason
    subject = said.parked if isinstance(said, runtime.AgentFaulted) else said.incident_id
    return "exceptions", _words(said), subject, recorded.envelope.producer, reason


def _breaker(recorded: Said) -> Line:
    said: executor.BreakerOpened | executor.BreakerClosed = recorded.payload
    return "exceptions", _words(said), said.breaker, recorded.envelope.producer, said.reason


def _untold(recorded: Said) -> Line:
    said: notifications.NotificationFailed = recorded.payload
    detail = f"`{said.channel}` after {said.attempts} attempts: {said.reason}"
    return "exceptions", _words(said), said.notification_id, recorded.envelope.producer, detail


def _dead_letter(recorded: Said) -> Line:
    said: runtime.DeadLettered = recorded.payload
    source = f"{said.source_topic}[{said.source_partition}]@{said.source_offset}"
    named = f"`{said.field}` is {said.value}" if said.field else said.value
    return "dead_letters", said.error_class, source, said.reader, f"{named}, expected {said.expected}"


def _words(payload: Payload) -> str:
    """`StepIndeterminate` as `step indeterminate`."""
    name = payload.event_type()
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


_HANDLERS: dict[type[Payload], Callable[[Said], Line]] = {
    people.ConfigurationActivated: _activated,
    **dict.fromkeys(
        (
            governance.BundleSubmitted,
            governance.BundleReviewed,
            governance.BundleShadowed,
            governance.BundleActivated,
            governance.BundleRetired,
        ),
        _bundle,
    ),
    governance.RemedyAutonomyChanged: _autonomy,
    governance.RemedyAutonomyLowered: _leveled,
    governance.RemedyPromotionProposed: _leveled,
    runtime.AgentUpgraded: _upgraded,
    governance.BreakGlass: _break_glass,
    governance.GovernanceRefused: _governance_refused,
    policy.PlanAuthorized: _authorised,
    policy.StepAuthorized: _step_authorised,
    policy.PlanDenied: _denied,
    policy.ApprovalRequested: _held,
    people.ApprovalGranted: _granted,
    people.ApprovalRejected: _rejected,
    policy.ApprovalRefused: _refused,
    policy.AuthorizationRevoked: _revoked,
    planner.PlanWithdrawn: _withdrawn,
    people.Halt: _halt,
    people.Resume: _halt,
    executor.ExecutionStarted: _execution,
    executor.ExecutionCompleted: _execution,
    executor.ExecutionRolledBack: _execution,
    executor.ExecutionFailed: _execution,
    verifier.OutcomeVerified: _outcome,
    verifier.OutcomeRejected: _outcome,
    verifier.OutcomeInconclusive: _outcome,
    planner.NoPlanFound: _exception,
    effector.StepIndeterminate: _exception,
    runtime.AgentFaulted: _exception,
    executor.BreakerOpened: _breaker,
    executor.BreakerClosed: _breaker,
    notifications.NotificationFailed: _untold,
    runtime.DeadLettered: _dead_letter,
}
