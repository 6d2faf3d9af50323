"""A small fleet, its people, and one plan: what the policy agent's tests are about."""

from collections.abc import Sequence
from typing import Any, Final

from policy_bundles import PERMIT, approval, bundle, rule
from scenario import START_US, Said, Scenario, given

from autopilot.agents.policy import PolicyAgent
from autopilot.agents.policy.standing import remedies_of
from autopilot.policies.bundle import PolicyBundle, Rule
from autopilot.schemas.configuration import (
    Autonomy,
    Calendar,
    ChangeWindow,
    Domain,
    Fleet,
    Principal,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyStep,
    RiskBudget,
    RiskBudgets,
    Role,
    Service,
    Signers,
    document,
)
from autopilot.schemas.events.effector import Change, PreviewCompleted
from autopilot.schemas.events.executor import ExecutionStarted
from autopilot.schemas.events.governance import (
    BundleActivated,
    BundleRetired,
    BundleReviewed,
    BundleShadowed,
    BundleSubmitted,
)
from autopilot.schemas.events.observer import BurnWindow, Quality, Severity, SignalKind, SignalRaised
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected, Document, Halt, Resume
from autopilot.schemas.events.planner import (
    Action,
    ConfidenceBasis,
    IncidentOpened,
    PlanProposed,
    RiskClass,
    Step,
    Verification,
)
from autopilot.schemas.events.policy import ApprovalRequested
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.plan_hash import plan_hash

HOUR_US: Final = 3_600_000_000
ALWAYS: Final = ChangeWindow(days=["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
PEOPLE: Final = {
    "ada": [Role.ADMINISTRATOR, Role.APPROVER],
    "bob": [Role.OPERATOR, Role.APPROVER],
    "cem": [Role.OPERATOR],
    "eve": [Role.AUTHOR],
    "fay": [Role.REVIEWER],
    "gil": [Role.BREAK_GLASS],
    "dee": [Role.APPROVER],
    "policy": [Role.POLICY, Role.APPROVER],
    "planner": [Role.APPROVER],
}
GOOD: Final = Quality(freshness_bp=10_000, completeness_bp=9_900, validity_bp=10_000, order_bp=10_000)
NO_LOSS: Final = rule("lost", "deny", "telemetry_lost")
ASKS: Final = bundle(PERMIT, NO_LOSS, approval("ask", 'plan_risk_class == "high"', expires_ms=600_000))


RESTART: Final = Remedy(
    name="restart",
    summary="restart it",
    risk_class=RiskClass.LOW,
    autonomy=Autonomy.ACT,
    steps=[RemedyStep(id="restart", driver="supervisord", action=RemedyAction(verb="restart"))],
)


def digest_of_remedy(remedy: Remedy = RESTART) -> str:
    """The digest of its definition."""
    return remedies_of([remedy])[remedy.name][1]


def documents(
    *bundles: PolicyBundle,
    calendar: Calendar | None = None,
    remedy: Remedy = RESTART,
    budgets: Sequence[RiskBudget] = (),
) -> list[Document]:
    """The fleet, its people, its remedy, the calendar, the budgets and the bundles."""
    services = [
        Service(name=name, domain="shop", tier=tier, owner="team", autonomy=Autonomy.ACT, instances=3)
        for name, tier in (("checkout", 1), ("frontend", 2))
    ]
    fleet = Fleet(name="fleet", domains=[Domain(name="shop")], services=services)
    signers = Signers(
        name="people",
        signers=[Principal(name=name, public_key="AA==", roles=list(roles)) for name, roles in PEOPLE.items()],
    )
    calendar = calendar or Calendar(name="calendar", change_windows=[ALWAYS])
    remedies = RemedyCatalogue(name="remedies", remedies=[remedy])
    spending = [RiskBudgets(name="budgets", budgets=list(budgets))] if budgets else []
    written = (fleet, signers, calendar, remedies, *spending, *bundles)
    return [document(each.model_dump(mode="json")) for each in written]


def signal(
    identity: str = "sig", kind: SignalKind = SignalKind.SLO_BURN, quality: Quality = GOOD, burn_milli: int = 20_000
) -> SignalRaised:
    """A signal of the checkout."""
    window = BurnWindow(
        long_window_ms=10_000,
        short_window_ms=1_000,
        threshold_milli=14_400,
        long_burn_milli=burn_milli,
        short_burn_milli=burn_milli,
    )
    return SignalRaised(
        signal_id=identity,
        kind=kind,
        severity=Severity.PAGE,
        slo="errors",
        sli="errors",
        summary="s",
        windows=[window] if kind is SignalKind.SLO_BURN else [],
        confidence_bp=9_000,
        quality=quality,
        started_at_us=START_US - 30_000_000,
        evidence=[],
    )


def incident(identity: str = "inc", *signals: str) -> IncidentOpened:
    """An incident of the checkout."""
    return IncidentOpened(
        incident_id=identity,
        signal_ids=list(signals or ("sig",)),
        severity="page",
        title="t",
        started_at_us=START_US - 30_000_000,
    )


def plan(
    identity: str = "plan", *, incident_id: str = "inc", risk: RiskClass = RiskClass.LOW, **more: Any
) -> PlanProposed:
    """A plan to restart the checkout."""
    action = Action(driver="supervisord", verb="restart", target="checkout", parameters={})
    steps = [Step(step_id="1", action=action, compensation=None, timeout_ms=10_000, max_attempts=2, settle_ms=1_000)]
    verification = Verification(
        slo_names=["errors"], guard_metrics=[], before_ms=1_000, settle_ms=0, after_ms=1_000, deadline_ms=5_000
    )
    basis = ConfidenceBasis(
        context="c", prior_successes_milli=1, prior_failures_milli=1, verified=0, rejected=0, mean_bp=5_000
    )
    content: dict[str, Any] = {
        "plan_id": identity,
        "incident_id": incident_id,
        "plan_hash": plan_hash(steps, verification),
        "remedy": "restart",
        "remedy_digest": "d",
        "summary": "restart the checkout",
        "steps": steps,
        "verification": verification,
        "risk_class": risk,
        "reversible": True,
        "blast_radius_bp": 3_333,
        "blast_radius_instances": 1,
        "cost": 1,
        "confidence_bp": 7_000,
        "basis": basis,
        "alternatives": [],
        "attempt": 1,
        "expires_at_us": START_US + 10 * HOUR_US,
    }
    return PlanProposed(**{**content, **more})


def in_force(*bundles: PolicyBundle, calendar: Calendar | None = None, **more: Any) -> Scenario:
    """An incident of the checkout, under those bundles."""
    at_start = Tick(at_us=START_US)
    return given(
        PolicyAgent(),
        documents(*bundles, calendar=calendar, **more),
        at_start,
        signal(),
        incident(),
        domain="shop",
        service="checkout",
    )


def with_rules(*rules: Rule) -> Scenario:
    """An incident of the checkout, under a bundle that permits all but what the rules say."""
    return in_force(bundle(PERMIT, *rules))


def preview(
    changes: Sequence[Change] = (), *, ok: bool = True, plan_id: str = "plan", reason: str = ""
) -> PreviewCompleted:
    """The effector's preview of the plan."""
    proposed = plan(plan_id)
    return PreviewCompleted(
        plan_id=plan_id,
        incident_id="inc",
        plan_hash=proposed.plan_hash,
        ok=ok,
        changes=list(changes),
        reason=reason,
    )


def asked(*bundles: PolicyBundle) -> tuple[Scenario, ApprovalRequested]:
    """A plan of high risk that waits for approval."""
    scenario = in_force(*(bundles or (ASKS,))).events(plan(risk=RiskClass.HIGH)).when(preview())
    return scenario, scenario.only(ApprovalRequested)


def granted(request: ApprovalRequested, approver: str = "bob", *, signed_by: str | None = "", **changed: str) -> Said:
    """An approval as the approver signs it; `signed_by=None` for none."""
    content = {
        "approval_id": request.approval_id,
        "plan_id": request.decision.plan_id,
        "plan_hash": request.decision.plan_hash,
        "facts_digest": request.decision.facts_digest,
        "approver": approver,
        "comment": "",
    }
    return Said(ApprovalGranted(**{**content, **changed}), signed_by=approver if signed_by == "" else signed_by)


def rejected(request: ApprovalRequested, approver: str = "bob", comment: str = "") -> Said:
    """A refusal as the approver signs it."""
    answer = ApprovalRejected(
        approval_id=request.approval_id,
        plan_id=request.decision.plan_id,
        plan_hash=request.decision.plan_hash,
        approver=approver,
        comment=comment,
    )
    return Said(answer, signed_by=approver)


def halt(by: str = "bob", scope: str = "shop", signed_by: str | None = "") -> Said:
    """A halt as its author signs it."""
    return Said(Halt(scope=scope, ordered_by=by, reason="r"), signed_by=by if signed_by == "" else signed_by)


def resume(by: str = "cem", scope: str = "shop") -> Said:
    """A resume as its author signs it."""
    return Said(Resume(scope=scope, ordered_by=by, reason="r"), signed_by=by)


def started(execution_id: str = "exe", plan_id: str = "plan") -> ExecutionStarted:
    """The plan's execution begins."""
    return ExecutionStarted(execution_id=execution_id, plan_id=plan_id, incident_id="inc", decision_id="dec", steps=1)


# -- bundles through their life cycle ----------------------------------------------------------------------------------


def submitted(draft: PolicyBundle, by: str = "eve") -> Said:
    """The bundle is put up for review."""
    doc = document(draft.model_dump(mode="json"))
    return Said(
        BundleSubmitted(bundle=draft.name, version=draft.version, document=doc, author=by, comment=""), signed_by=by
    )


def reviewed(draft: PolicyBundle, by: str = "fay") -> Said:
    """Somebody has reviewed it."""
    return Said(BundleReviewed(**_named(draft), reviewer=by, comment=""), signed_by=by)


def shadowed(draft: PolicyBundle, by: str = "eve") -> Said:
    """It runs as a shadow."""
    return Said(BundleShadowed(**_named(draft), ordered_by=by, comment=""), signed_by=by)


def activated(draft: PolicyBundle, replaces: str = "1", by: str = "eve", *, rollback: bool = False) -> Said:
    """It comes into force."""
    order = BundleActivated(**_named(draft), replaces=replaces, rollback=rollback, ordered_by=by, comment="")
    return Said(order, signed_by=by)


def retired(draft: PolicyBundle, by: str = "ada") -> Said:
    """It is taken away."""
    return Said(BundleRetired(**_named(draft), ordered_by=by, comment=""), signed_by=by)


def through(draft: PolicyBundle, replaces: str = "1") -> list[Said]:
    """The whole way into force."""
    return [submitted(draft), reviewed(draft), shadowed(draft), activated(draft, replaces)]


def _named(draft: PolicyBundle) -> dict[str, Any]:
    digest = document(draft.model_dump(mode="json")).digest
    return {"bundle": draft.name, "version": draft.version, "digest": digest}
