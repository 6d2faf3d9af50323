"""What happened in a period, for people who answer for it: a pure fold over recorded events.

Decisions by policy version, what people approved, refused, halted or changed, what went wrong, and what could not be
handled; each entry cites the positions at which it stands, so that anybody can look. What is said in every partition,
as a broadcast is, is one entry, and so is what stands there in copies. Whether signatures hold is not judged here:
`autopilot audit verify` does.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from autopilot.projections.compliance_lines import Said, line_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import planner, policy, runtime
from autopilot.schemas.identity import LIVE_RUN

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
    """Asked for approval, however many requests that took; each of these is later authorised or denied as well."""
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
        self._entered: dict[tuple[str, ...], Entry] = {}
        self._turns: dict[tuple[int, str, str, str], dict[str, int]] = {}
        self._counted: set[tuple[str, str]] = set()
        self._incidents: set[tuple[type[Payload], str]] = set()

    def take(self, recorded: Said) -> None:
        report, at_ms = self._report, recorded.recorded_at_ms
        kind = type(recorded.payload)
        if kind is not runtime.Tick:
            report.events += 1
            report.first_ms = min(report.first_ms or at_ms, at_ms)
            report.last_ms = max(report.last_ms, at_ms)
        if isinstance(recorded.payload, planner.IncidentOpened | planner.IncidentClosed):
            self._incidents.add((kind, recorded.payload.incident_id))
        line = line_of(recorded)
        if line is not None:
            section, what, subject, by, detail = line
            entry = Entry(at_ms, what, subject, by, detail, [str(recorded.position)])
            if self._enter(recorded, section, entry) and kind in _VERDICTS:
                self._count(recorded)

    def finish(self) -> Report:
        told = [kind for kind, _ in self._incidents]
        self._report.incidents_opened = told.count(planner.IncidentOpened)
        self._report.incidents_closed = told.count(planner.IncidentClosed)
        self._report.policies = [self._policies[key] for key in sorted(self._policies)]
        for entries in self._report.sections.values():
            entries.sort(key=lambda entry: (entry.at_ms, entry.positions))
        return self._report

    def _enter(self, recorded: Said, section: str, entry: Entry) -> bool:
        """Whether it is an entry of its own. Only what reads the same is a copy: an id alone can be forged."""
        told = (self._identity(recorded), section, entry.what, entry.subject, entry.by, entry.detail)
        known = self._entered.setdefault(told, entry)
        if known is not entry:
            known.positions.extend(entry.positions)
            return False
        self._report.sections[section].append(entry)
        return True

    def _identity(self, recorded: Said) -> str:
        """Its event, one in a broadcast and in a copy; of an upgrade, said in each partition, its number there."""
        said = recorded.payload
        if not isinstance(said, runtime.AgentUpgraded):
            return recorded.envelope.event_id
        change = (recorded.position.partition, said.agent, said.previous_digest, said.code_digest)
        heard = self._turns.setdefault(change, {})
        return f"turn {heard.setdefault(recorded.envelope.event_id, len(heard))}"

    def _count(self, recorded: Said) -> None:
        decision: policy.Decision = recorded.payload.decision
        key = (decision.bundle, decision.bundle_digest)
        version = self._policies.setdefault(key, PolicyVersion(*key))
        verdict = _VERDICTS[type(recorded.payload)]
        version.positions.append(str(recorded.position))
        if (verdict, decision.decision_id) in self._counted:
            return  # another request for the same: parts of a plan are asked for one by one
        self._counted.add((verdict, decision.decision_id))
        setattr(version, verdict, getattr(version, verdict) + 1)
        for rule in decision.rules:
            version.rules[rule.rule] = version.rules.get(rule.rule, 0) + 1


_VERDICTS: dict[type[Payload], str] = {
    policy.PlanAuthorized: "authorised",
    policy.PlanDenied: "denied",
    policy.ApprovalRequested: "held",
}
