"""A small fleet, its remedies and the events around it, for the planner's tests.

`web` depends on `cart`, `cart` on `stock`; `search` stands alone in the same domain, `far` in another.
"""

from collections.abc import Sequence
from typing import Any

import decided
import outcomes
from scenario import START_US, Said, Scenario, Told

from autopilot.agents.planner import Planner
from autopilot.schemas.configuration import (
    Autonomy,
    BurnAlert,
    Domain,
    Fleet,
    Objective,
    Principal,
    RatioIndicator,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyStep,
    Role,
    Selector,
    Service,
    ServiceLevelObjectives,
    Signers,
    TargetRef,
    document,
)
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionStarted
from autopilot.schemas.events.observer import (
    BurnWindow,
    EvidenceRange,
    Quality,
    Severity,
    SignalCleared,
    SignalKind,
    SignalRaised,
    SignalUpdated,
    SliKind,
)
from autopilot.schemas.events.people import ConfigurationActivated, Document
from autopilot.schemas.events.planner import IncidentHeld, PlanProposed, RiskClass, TargetsLocked, TargetsReleased
from autopilot.schemas.events.policy import Decision, PlanAuthorized, PlanDenied
from autopilot.schemas.events.verifier import Outcome
from autopilot.schemas.signing import SigningKey

LOCKS = (TargetsLocked, TargetsReleased, IncidentHeld)


class Course(Scenario):
    """A planner's scenario that leaves out what is said of locks; `locks` has that."""

    def drafts(self) -> list[Draft]:
        """See `Scenario.drafts`."""
        return [draft for draft in super().drafts() if not isinstance(draft.payload, LOCKS)]

    def then_nothing(self) -> "Course":
        """See `Scenario.then_nothing`."""
        assert self.drafts() == []
        return self

    def locks(self) -> list[Payload]:
        """What was said of locks."""
        return [draft.payload for draft in super().drafts() if isinstance(draft.payload, LOCKS)]


def given(planner: Planner, documents: Sequence[Document] = (), *events: Told) -> Course:
    """As `scenario.given`, for a planner."""
    course = Course(planner, "shop", "")
    ordered = sorted(documents, key=lambda doc: (doc.kind, doc.name))
    activated = [ConfigurationActivated(revision="r", documents=ordered, author="test", comment="")]
    course.events(*(activated if documents else []), *events)
    return course


POLICY = SigningKey.from_bytes("policy", b"p" * 32)
ADA = SigningKey.from_bytes("ada", b"a" * 32)
BOB = SigningKey.from_bytes("bob", b"b" * 32)
GOOD = Quality(freshness_bp=10_000, completeness_bp=10_000, validity_bp=10_000, order_bp=10_000)


def service(name: str, depends_on: list[str], **changes: Any) -> Service:
    fields: dict[str, Any] = {
        "name": name,
        "domain": "shop",
        "tier": 1,
        "owner": "team-shop",
        "autonomy": Autonomy.ACT,
        "instances": 3,
        "depends_on": depends_on,
        "targets": [TargetRef(driver="supervisord", target=name)],
    }
    return Service(**{**fields, **changes})


SERVICES = (
    service("web", ["cart"]),
    service("cart", ["stock"]),
    service("stock", []),
    service("search", []),
    service("far", [], domain="elsewhere"),
)


def step(name: str, verb: str, parameters: dict[str, str], undo: dict[str, str] | None = None) -> RemedyStep:
    compensation = None if undo is None else RemedyAction(verb=verb, parameters=undo)
    action = RemedyAction(verb=verb, parameters=parameters)
    return RemedyStep(id=name, driver="supervisord", action=action, compensation=compensation)


SWITCH = Remedy(
    name="switch-release",
    summary="go back to the previous release",
    slis=[SliKind.ERRORS, SliKind.LATENCY],
    precondition="previous_release != '' && previous_release != release",
    risk_class=RiskClass.MEDIUM,
    cost=2,
    prior_successes_milli=8_000,
    prior_failures_milli=2_000,
    steps=[step("switch-release", "switch_release", {"release": "previous_release"}, {"release": "release"})],
)
RESTART = Remedy(
    name="restart",
    summary="restart it",
    risk_class=RiskClass.LOW,
    prior_successes_milli=3_000,
    prior_failures_milli=3_000,
    steps=[step("restart", "restart", {})],
)
SCALE = Remedy(
    name="scale-out",
    summary="add an instance",
    precondition="desired < max_instances",
    risk_class=RiskClass.LOW,
    blast_radius_instances="1",
    prior_successes_milli=2_000,
    prior_failures_milli=3_000,
    steps=[step("scale", "scale", {"count": "string(desired + 1)"}, {"count": "string(desired)"})],
)
REMEDIES = (RESTART, SCALE, SWITCH)


def objective(name: str) -> Objective:
    total = Selector(metric="http.server.request.count")
    return Objective(
        name=f"{name}-errors",
        service=name,
        sli=SliKind.ERRORS,
        objective_bp=9_900,
        indicator=RatioIndicator(bad=Selector(metric="http.server.error.count"), total=total),
        alerts=[BurnAlert(long_window_ms=60_000, short_window_ms=10_000, burn_rate_milli=2_000)],
    )


def documents(services: tuple[Service, ...] = SERVICES, remedies: tuple[Remedy, ...] = REMEDIES) -> list[Document]:
    domains = [Domain(name=name) for name in sorted({one.domain for one in services})]
    signers = [
        Principal(name="policy", public_key=POLICY.public_key, roles=[Role.POLICY]),
        Principal(name="ada", public_key=ADA.public_key, roles=[Role.ADMINISTRATOR]),
        Principal(name="bob", public_key=BOB.public_key, roles=[Role.OPERATOR]),
    ]
    written = (
        Fleet(name="fleet", domains=domains, services=list(services)),
        RemedyCatalogue(name="remedies", remedies=list(remedies)),
        ServiceLevelObjectives(name="slos", objectives=[objective(one.name) for one in services]),
        Signers(name="signers", signers=signers),
    )
    return [document(one.model_dump(mode="json")) for one in written]


def raised(service_name: str, *, at: float = 0, domain: str = "shop", **changes: Any) -> Said:
    """A page that the errors of a service burn, begun `at` seconds after the scenario."""
    fields: dict[str, Any] = {
        "signal_id": f"sig-{service_name}",
        "kind": SignalKind.SLO_BURN,
        "severity": Severity.PAGE,
        "slo": f"{service_name}-errors",
        "sli": "errors",
        "summary": "errors burn",
        "windows": [
            BurnWindow(
                long_window_ms=60_000,
                short_window_ms=10_000,
                threshold_milli=2_000,
                long_burn_milli=9_000,
                short_burn_milli=9_500,
            )
        ],
        "confidence_bp": 9_000,
        "quality": GOOD,
        "started_at_us": START_US + round(at * 1_000_000),
        "evidence": [EvidenceRange(topic="autopilot.telemetry", partition=0, first_offset=1, last_offset=7)],
    }
    return Said(SignalRaised(**{**fields, **changes}), domain=domain, service=service_name)


def lost(service_name: str, *, at: float = 0) -> Said:
    return raised(
        service_name,
        at=at,
        signal_id=f"lost-{service_name}",
        kind=SignalKind.TELEMETRY_LOST,
        slo="",
        sli="",
        summary="telemetry stopped",
        windows=[],
    )


def updated(service_name: str, severity: Severity = Severity.PAGE) -> Said:
    payload = SignalUpdated(
        signal_id=f"sig-{service_name}",
        severity=severity,
        summary="errors burn faster",
        windows=[],
        confidence_bp=9_500,
        quality=GOOD,
        evidence=[],
    )
    return Said(payload, service=service_name)


def cleared(service_name: str, prefix: str = "sig") -> Said:
    payload = SignalCleared(signal_id=f"{prefix}-{service_name}", reason="within the objective", quality=GOOD)
    return Said(payload, service=service_name)


def observed(service_name: str, domain: str = "shop", **state: str) -> Said:
    whole = {"release": "v2", "previous_release": "v1", "desired": "3", "running": "3", "max": "5", **state}
    payload = TargetObserved(driver="supervisord", target=service_name, state=whole, revision="")
    return Said(payload, domain=domain, service=service_name)


def all_observed() -> list[Said]:
    return [observed(one.name, one.domain) for one in SERVICES]


def decision(plan: PlanProposed) -> Decision:
    return decided.decision(
        decision_id="dec", plan_id=plan.plan_id, incident_id=plan.incident_id, plan_hash=plan.plan_hash
    )


def authorized(plan: PlanProposed, signed_by: str | None = "policy") -> Said:
    payload = PlanAuthorized(decision=decision(plan), obligations=[], approvals=[], not_after_us=plan.expires_at_us)
    return Said(payload, signed_by=signed_by)


def denied(plan: PlanProposed) -> Said:
    return Said(PlanDenied(decision=decision(plan), reason="not now"))


def execution(plan: PlanProposed) -> list[Said]:
    """Authorised, begun and done."""
    names = {"execution_id": "exe", "plan_id": plan.plan_id, "incident_id": plan.incident_id}
    begun = ExecutionStarted(**names, decision_id="dec", steps=len(plan.steps))
    return [authorized(plan), Said(begun), Said(ExecutionCompleted(**names))]


def outcome(plan: PlanProposed, phase: str = "remedy") -> Outcome:
    return outcomes.outcome(
        phase,
        execution_id="exe",
        plan_id=plan.plan_id,
        incident_id=plan.incident_id,
        remedy=plan.remedy,
        context=plan.basis.context,
    )
