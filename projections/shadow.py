"""What a shadow would have decided otherwise: for each plan the first ruling of the live policy and of a candidate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized, PlanDenied, PreviewRequested
from autopilot.schemas.identity import LIVE_RUN

RULINGS: Final[Mapping[type[Payload], str]] = {
    PlanAuthorized: "allow",
    PlanDenied: "deny",
    PreviewRequested: "needs_approval",
    ApprovalRequested: "needs_approval",
}


@dataclass(frozen=True)
class Ruled:
    """The first ruling on a plan, where it stands, and why where it says."""

    ruling: str
    position: str
    reason: str = ""


@dataclass(frozen=True)
class ShadowLine:
    """One plan that both have ruled on."""

    plan_id: str
    incident_id: str
    domain: str
    service: str
    live: Ruled
    shadow: Ruled

    @property
    def differs(self) -> bool:
        """Whether the candidate would have decided otherwise."""
        return self.live.ruling != self.shadow.ruling


@dataclass
class ShadowReport:
    """A candidate beside the live policy."""

    run: str
    compared: int = 0
    differing: int = 0
    flips: dict[str, int] = field(default_factory=dict)
    """`live -> shadow`, how often."""
    only_live: int = 0
    """Plans that the shadow has not ruled on: it began later, or is behind."""
    lines: list[ShadowLine] = field(default_factory=list)


def compare(events: Iterable[Recorded[Payload]], run: str) -> ShadowReport:
    """The report of a shadow's run against the live one; `events` of both, in order within each partition."""
    ruled: dict[str, dict[str, Ruled]] = {LIVE_RUN: {}, run: {}}
    plans: dict[str, tuple[str, str, str]] = {}
    for recorded in events:
        ruling = RULINGS.get(type(recorded.payload))
        firsts = ruled.get(recorded.envelope.run)
        if ruling is None or firsts is None:
            continue
        plan_id = _plan_of(recorded.payload)
        plans.setdefault(
            plan_id, (recorded.envelope.correlation_id, recorded.envelope.domain, recorded.envelope.service)
        )
        reason = str(getattr(recorded.payload, "reason", ""))
        firsts.setdefault(plan_id, Ruled(ruling, str(recorded.position), reason))
    report = ShadowReport(run)
    for plan_id, live in ruled[LIVE_RUN].items():
        shadow = ruled[run].get(plan_id)
        if shadow is None:
            report.only_live += 1
            continue
        incident_id, domain, service = plans[plan_id]
        report.lines.append(ShadowLine(plan_id, incident_id, domain, service, live, shadow))
    report.compared = len(report.lines)
    for line in report.lines:
        if line.differs:
            flip = f"{line.live.ruling} -> {line.shadow.ruling}"
            report.flips[flip] = report.flips.get(flip, 0) + 1
    report.differing = sum(report.flips.values())
    return report


def _plan_of(payload: Any) -> str:
    return str(payload.plan_id if isinstance(payload, PreviewRequested) else payload.decision.plan_id)
