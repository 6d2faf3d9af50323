"""What happened in a period, for people who answer for it: a pure fold over recorded events.

Decisions by policy version, what people approved, refused, halted or changed, what went wrong, and what could not be
handled; each entry cites the positions at which it stands, so that anybody can look. A broadcast stands in every
partition and is one entry. Whether signatures hold is not judged here: `autopilot audit verify` does.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import effector, executor, governance, people, planner, policy, runtime, verifier
from autopilot.schemas.identity import LIVE_RUN

Said = Recorded[Any]

SECTIONS = {
    "configuration": "Configuration that came into force",
    "decisions": "Decisions",
    "approvals": "Approvals",
    "overrides": "Overrides: decisions that were taken back, by people or because evidence moved",
    "halts": "Halts and resumes",
    "executions": "Executions",
    "outcomes": "Outcomes",
    "exceptions": "Exceptions: what needs or needed a person",
    "dead_letters": "Dead letters",
}
"""Section -> its title, in the order of the report."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `at_ms` is Kafka's record timestamp; `positions` are where it stands."""

    at_ms: int
    what: str
    subject: str
    """What it was about: an incident, a plan, a scope, an agent."""
    by: str
    detail: str
    positions: list[str]


@dataclass(slots=True)
class PolicyVersion:
    """What one version of a policy bundle decided."""

    bundle: str
    digest: str
    authorised: int = 0
    denied: int = 0
    held: int = 0
    """Asked for approval; each of these is later authorised or denied as well."""
    rules: dict[str, int] = field(default_factory=dict)
    """Rule that fired -> how often."""
    positions: list[str] = field(default_factory=list)


@dataclass
class Report:
    """A period's report."""

    run: str
    from_ms: int | None
    to_ms: int | None
    events: int = 0
    first_ms: int = 0
    last_ms: int = 0
    incidents_opened: int = 0
    incidents_closed: int = 0
    policies: list[PolicyVersion] = field(default_factory=list)
    sections: dict[str, list[Entry]] = field(default_factory=lambda: {name: [] for name in SECTIONS})

    def as_json(self) -> str:
        """The report for programs."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


def report_of(
    events: Iterable[Recorded[Payload]],
    dead_letters: Iterable[Recorded[Payload]] = (),
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    run: str = LIVE_RUN,
) -> Report:
    """The report of the events recorded from `from_ms` up to, not including, `to_ms`. In any order of partitions."""
    fold = _Fold(Report(run, from_ms, to_ms))
    for recorded in [*_within(events, from_ms, to_ms, run), *_within(dead_letters, from_ms, to_ms, run)]:
        fold.take(recorded)
    return fold.finish()


def _within(
    events: Iterable[Recorded[Payload]], from_ms: int | None, to_ms: int | None, run: str
) -> Iterable[Recorded[Payload]]:
    for recorded in events:
        at_ms = recorded.recorded_at_ms
        early = from_ms is not None and at_ms < from_ms
        late = to_ms is not None and at_ms >= to_ms
        if recorded.envelope.run == run and not early and not late:
            yield recorded


class _Fold:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._policies: dict[tuple[str, str], PolicyVersion] = {}
        self._broadcast: dict[str, Entry] = {}

    def take(self, recorded: Said) -> None:
        report, at_ms = self._report, recorded.recorded_at_ms
        kind = type(recorded.payload)
        if kind is not runtime.Tick:
            report.events += 1
            report.first_ms = min(report.first_ms or at_ms, at_ms)
            report.last_ms = max(report.last_ms, at_ms)
        report.incidents_opened += kind is planner.IncidentOpened
        report.incidents_closed += kind is planner.IncidentClosed
        if kind in _VERDICTS:
            self._count(recorded)
        handler = _HANDLERS.get(kind)
        if handler is not None:
            section, what, subject, by, detail = handler(recorded)
            self._enter(recorded, section, Entry(at_ms, what, subject, by, detail, [str(recorded.position)]))

    def finish(self) -> Report:
        self._report.policies = [self._policies[key] for key in sorted(self._policies)]
        for entries in self._report.sections.values():
            entries.sort(key=lambda entry: (entry.at_ms, entry.positions))
        return self._report

    def _enter(self, recorded: Said, section: str, entry: Entry) -> None:
        if recorded.payload.broadcast:
            known = self._broadcast.setdefault(recorded.envelope.event_id, entry)
            if known is not entry:
                known.positions.extend(entry.positions)
                return
        self._report.sections[section].append(entry)

    def _count(self, recorded: Said) -> None:
        decision: policy.Decision = recorded.payload.decision
        key = (decision.bundle, decision.bundle_digest)
        version = self._policies.setdefault(key, PolicyVersion(*key))
        verdict = _VERDICTS[type(recorded.payload)]
        setattr(version, verdict, getattr(version, verdict) + 1)
        version.positions.append(str(recorded.position))
        for rule in decision.rules:
            version.rules[rule.rule] = version.rules.get(rule.rule, 0) + 1


_VERDICTS: dict[type[Payload], str] = {
    policy.PlanAuthorized: "authorised",
    policy.PlanDenied: "denied",
    policy.ApprovalRequested: "held",
}

Line = tuple[str, str, str, str, str]
"""Section, what happened, about what, by whom, and in what way."""


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
    said: executor.BreakerOpened = recorded.payload
    return "exceptions", _words(said), said.breaker, recorded.envelope.producer, said.reason


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
    runtime.DeadLettered: _dead_letter,
}
