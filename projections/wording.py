"""The words for an event: one line that says what it means, made of nothing but its own content."""

from collections.abc import Callable, Mapping
from typing import Any

from autopilot.schemas.basis_points import percent
from autopilot.schemas.contract import Payload
from autopilot.schemas.events import (
    effector,
    executor,
    governance,
    notifications,
    observer,
    people,
    planner,
    policy,
    runtime,
    telemetry,
    verifier,
)


def why(payload: Payload) -> str:
    """What the event means, in one line; of a type that has no words, its name."""
    return WORDS.get(type(payload), _type_name)(payload)


def _type_name(payload: Payload) -> str:
    return payload.event_type()


def _text(pattern: str) -> Callable[[Any], str]:
    """A line that needs nothing but the payload's own fields."""
    return lambda payload: pattern.format(p=payload)


def _raised(p: observer.SignalRaised) -> str:
    return f"{p.summary} ({p.severity}, confidence {percent(p.confidence_bp)})"


def _planned(p: planner.PlanProposed) -> str:
    steps = ", ".join(f"{s.action.verb} {s.action.target}" for s in p.steps)
    basis = f"{p.basis.verified} verified, {p.basis.rejected} rejected"
    return f"{p.summary}: {steps} (confidence {percent(p.confidence_bp)} on {basis}; risk {p.risk_class})"


def _no_plan(p: planner.NoPlanFound) -> str:
    return f"{p.reason}; look at: {', '.join(p.look_at) or 'nothing known'}"


def _targets(p: planner.TargetsLocked | planner.TargetsReleased) -> str:
    return ", ".join(p.targets)


def _decided(p: policy.PlanAuthorized | policy.StepAuthorized) -> str:
    rules = ", ".join(rule.rule for rule in p.decision.rules)
    approved = ", ".join(use.approver for use in p.approvals)
    what = f"{p.step_id} " if isinstance(p, policy.StepAuthorized) else ""
    return f"{what}permitted by {p.decision.bundle}: {rules}" + (f"; approved by {approved}" if approved else "")


def _requested(p: executor.StepRequested) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in sorted(p.action.parameters.items()))
    return f"{p.phase} {p.step_id}: {p.action.verb} {p.action.target}({parameters}), try {p.attempt}"


def _succeeded(p: effector.StepSucceeded) -> str:
    done = "changed" if p.changed else "was so already"
    return f"{p.phase} {p.step_id} {done}, took {p.took_ms} ms"


def _checked(p: verifier.OutcomeVerified | verifier.OutcomeRejected | verifier.OutcomeInconclusive) -> str:
    checks = "; ".join(f"{check.name} {check.verdict}" for check in p.outcome.checks)
    judged = f"stage {p.outcome.step_id}" if p.outcome.step_id else p.outcome.phase
    return f"{judged}: {p.outcome.reason}" + (f" ({checks})" if checks else "")


def _previewed(p: effector.PreviewCompleted) -> str:
    changes = ", ".join(f"{c.field}: {c.before} -> {c.after}" for c in p.changes)
    return changes or p.reason or "nothing would change"


def _approval(p: people.ApprovalGranted | people.ApprovalRejected) -> str:
    verb = "approved" if isinstance(p, people.ApprovalGranted) else "refused"
    return f"{verb} by {p.approver}" + (f": {p.comment}" if p.comment else "")


def _measured(p: observer.MeasurementTaken) -> str:
    counts = ", ".join(f"{s.name} {len(s.values)} buckets" for s in p.samples)
    return f"{p.purpose}: {counts or 'no data'}"


WORDS: Mapping[type[Payload], Callable[[Any], str]] = {
    observer.SignalRaised: _raised,
    observer.SignalUpdated: _text("{p.summary} ({p.severity})"),
    observer.SignalCleared: _text("{p.reason}"),
    observer.TelemetryQualityChanged: _text("{p.reason}"),
    observer.MeasurementTaken: _measured,
    telemetry.MeasurementRequested: _text("samples {p.purpose} the execution"),
    planner.IncidentOpened: _text("{p.title} ({p.severity})"),
    planner.SignalLinked: _text("signal {p.change}: {p.reason}"),
    planner.IncidentClosed: _text("{p.resolution}: {p.reason}"),
    governance.BreakGlass: _text("{p.invoked_by}: {p.reason}"),
    governance.GovernanceRefused: _text("{p.refused_type} of {p.given_by} about {p.subject}: {p.reason}"),
    governance.NoticeGiven: _text("{p.to}: {p.text}"),
    governance.RemedyAutonomyChanged: _text("{p.remedy} on {p.service} is now {p.autonomy}: {p.reason}"),
    governance.RemedyAutonomyLowered: _text("{p.remedy} on {p.service}: {p.before} -> {p.autonomy}; {p.reason}"),
    governance.RemedyPromotionProposed: _text("{p.remedy} on {p.service} could be {p.proposed}: {p.reason}"),
    planner.PlanProposed: _planned,
    planner.PlanWithdrawn: _text("{p.reason}"),
    planner.NoPlanFound: _no_plan,
    planner.TargetsLocked: _targets,
    planner.TargetsReleased: lambda p: f"{_targets(p)}: {p.reason}",
    planner.IncidentHeld: _text("waits for {p.waits_for}: {p.reason}"),
    policy.PreviewRequested: _text("what would plan {p.plan_id} change?"),
    policy.ApprovalRequested: _text("{p.needed} of {p.group} must approve: {p.summary}"),
    policy.PlanAuthorized: _decided,
    policy.StepAuthorized: _decided,
    policy.PlanDenied: _text("{p.reason}"),
    policy.AuthorizationRevoked: _text("{p.reason}"),
    policy.ApprovalRefused: _text("{p.given_by}: {p.reason}"),
    executor.ExecutionStarted: _text("{p.steps} steps under decision {p.decision_id}"),
    executor.StepRequested: _requested,
    executor.StageReached: _text("{p.step_id} waits for its verdict"),
    executor.StepHeld: _text("{p.step_id} waits for an authorisation of its own"),
    executor.RollbackStarted: _text("{p.reason}"),
    executor.ExecutionCompleted: _text("every step has succeeded"),
    executor.ExecutionFailed: _text("{p.reason}"),
    executor.ExecutionRolledBack: _text("{p.reason}"),
    executor.BreakerOpened: _text("{p.breaker} after {p.failures} failures: {p.reason}"),
    executor.BreakerClosed: _text("{p.breaker}: {p.reason}"),
    effector.TargetObserved: _text("{p.driver} {p.target}"),
    effector.PreviewCompleted: _previewed,
    effector.StepStarted: _text("{p.phase} {p.step_id}, try {p.attempt} ({p.crash_class})"),
    effector.StepSucceeded: _succeeded,
    effector.StepFailed: _text("{p.phase} {p.step_id}: {p.failure}, {p.reason}"),
    effector.StepIndeterminate: _text("{p.phase} {p.step_id}: {p.reason}"),
    verifier.OutcomeVerified: _checked,
    verifier.OutcomeRejected: _checked,
    verifier.OutcomeInconclusive: _checked,
    people.ApprovalGranted: _approval,
    people.ApprovalRejected: _approval,
    notifications.NotificationRequested: _text("{p.reason} ({p.urgency}): {p.title}"),
    notifications.NotificationDelivered: _text("by {p.channel}"),
    notifications.NotificationFailed: _text("by {p.channel}: {p.reason}"),
    runtime.AgentFaulted: _text("{p.agent} parked {p.parked}: {p.error}"),
}
"""How an event of each type is put into words."""
