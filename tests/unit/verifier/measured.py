"""A plan, its execution and measurements of it, for the verifier's tests."""

from collections.abc import Mapping
from typing import Any

from scenario import START_US

from autopilot.schemas.configuration import (
    BurnAlert,
    Objective,
    RatioIndicator,
    Selector,
    ServiceLevelObjectives,
    SliKind,
    document,
)
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
)
from autopilot.schemas.events.observer import EvidenceRange, MeasurementTaken, Quality, Samples
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import (
    Action,
    ConfidenceBasis,
    PlanProposed,
    RiskClass,
    StageGate,
    Step,
    Verification,
)
from autopilot.schemas.events.telemetry import MeasurementRequested
from autopilot.schemas.plan_hash import plan_hash

SLO = "slo:cart-errors"
GUARD = "metric:memory"
NAMES = {"execution_id": "exe", "plan_id": "plan", "incident_id": "inc"}
STARTED = ExecutionStarted(**NAMES, decision_id="dec", steps=1)
COMPLETED = ExecutionCompleted(**NAMES)
ROLLED_BACK = ExecutionRolledBack(**NAMES, reason="r")
FAILED = ExecutionFailed(**NAMES, reason="r", needs_person=False)


def documents() -> list[Document]:
    """One objective: 99 % of the events of `cart` are good."""
    total = Selector(metric="http.server.request.count")
    objective = Objective(
        name="cart-errors",
        service="cart",
        sli=SliKind.ERRORS,
        objective_bp=9_900,
        indicator=RatioIndicator(bad=Selector(metric="http.server.error.count"), total=total),
        alerts=[BurnAlert(long_window_ms=60_000, short_window_ms=10_000, burn_rate_milli=2_000)],
    )
    slos = ServiceLevelObjectives(name="slos", objectives=[objective])
    return [document(slos.model_dump(mode="json"))]


def plan(gates: Mapping[str, StageGate | None] | None = None, **changes: Any) -> PlanProposed:
    """A plan with a gate after each of these steps, or of one step without; `changes` to how it is judged."""
    wanted: dict[str, Any] = {
        "slo_names": ["cart-errors"],
        "guard_metrics": ["memory"],
        "before_ms": 60_000,
        "settle_ms": 10_000,
        "after_ms": 60_000,
        "deadline_ms": 300_000,
    }
    action = Action(driver="supervisord", verb="restart", target="cart", parameters={})
    steps = [
        Step(step_id=name, action=action, compensation=None, timeout_ms=1_000, max_attempts=1, gate=gate)
        for name, gate in (gates or {"1": None}).items()
    ]
    verification = Verification(**{**wanted, **changes})
    return PlanProposed(
        plan_id="plan",
        incident_id="inc",
        plan_hash=plan_hash(steps, verification),
        remedy="restart",
        remedy_digest="sha256:0",
        summary="restart it",
        steps=steps,
        verification=verification,
        risk_class=RiskClass.LOW,
        reversible=True,
        blast_radius_bp=10_000,
        blast_radius_instances=3,
        cost=1,
        confidence_bp=5_000,
        basis=ConfidenceBasis(
            context="cart/errors",
            prior_successes_milli=1_000,
            prior_failures_milli=1_000,
            verified=0,
            rejected=0,
            mean_bp=5_000,
        ),
        alternatives=[],
        attempt=1,
        expires_at_us=START_US + 600_000_000,
    )


def samples(name: str, values: list[float], weight: float = 50.0) -> Samples:
    starts = [START_US + n * 1_000_000 for n in range(len(values))]
    return Samples(name=name, unit="1", bucket_starts_us=starts, values=values, weights=[weight] * len(values))


def taken(
    request: MeasurementRequested,
    bad: float | None,
    memory: float | None = 100.0,
    *,
    quality_bp: int = 10_000,
    buckets: int = 10,
    weight: float = 50.0,
) -> MeasurementTaken:
    """The answer to a request: a share of bad events and a level of memory, each the same in all buckets or absent."""
    quality = Quality(freshness_bp=quality_bp, completeness_bp=10_000, validity_bp=10_000, order_bp=10_000)
    return MeasurementTaken(
        measurement_id=request.measurement_id,
        purpose=request.purpose,
        from_us=request.from_us,
        until_us=request.until_us,
        bucket_ms=request.bucket_ms,
        samples=[
            samples(SLO, [] if bad is None else [bad] * buckets, weight),
            samples(GUARD, [] if memory is None else [memory] * buckets),
        ],
        quality=quality,
        evidence=[EvidenceRange(topic="autopilot.telemetry", partition=0, first_offset=5, last_offset=9)],
    )
