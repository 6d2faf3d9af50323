"""A policy agent with a bundle in force and an incident open, and plans for it: for benchmarks."""

from collections.abc import Iterator
from typing import Any, Final

from autopilot.agents.policy import PolicyAgent
from autopilot.agents.policy.holding import PolicyState
from autopilot.policies.bundle import PolicyBundle
from autopilot.schemas.configuration import (
    Autonomy,
    Calendar,
    ChangeWindow,
    Domain,
    Fleet,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyStep,
    Service,
    document,
)
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Envelope, Event, Position, Recorded
from autopilot.schemas.events.observer import Quality, Severity, SignalKind, SignalRaised
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import (
    Action,
    ConfidenceBasis,
    IncidentOpened,
    PlanProposed,
    RiskClass,
    Step,
    Verification,
)
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.identity import digest_of
from autopilot.schemas.plan_hash import plan_hash

NOW_US: Final = 1_760_000_000_000_000
_GOOD: Final = Quality(freshness_bp=10_000, completeness_bp=9_900, validity_bp=10_000, order_bp=10_000)
_RESTART: Final = Remedy(
    name="restart",
    summary="restart it",
    risk_class=RiskClass.LOW,
    autonomy=Autonomy.ACT,
    steps=[RemedyStep(id="restart", driver="supervisord", action=RemedyAction(verb="restart"))],
)


def recorded(payload: Payload, offset: int) -> Recorded[Any]:
    """An event of the checkout as it stands in the log."""
    envelope = Envelope(
        event_id=f"event-{offset}", run="live", correlation_id="inc", causation_id="", cause_topic="",
        cause_partition=-1, cause_offset=-1, occurred_at_us=NOW_US, domain="shop", service="checkout",
        producer="planner",
    )  # fmt: skip
    return Recorded(Position("autopilot.log", 0, offset), Event(envelope, payload))


def state_in_force(bundle: PolicyBundle) -> PolicyState:
    """The state after configuration, a tick, a signal and an incident."""
    service = Service(name="checkout", domain="shop", tier=2, owner="team", autonomy=Autonomy.ACT, instances=3)
    always = ChangeWindow(days=["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
    written = [
        Fleet(name="fleet", domains=[Domain(name="shop")], services=[service]),
        Calendar(name="calendar", change_windows=[always]),
        RemedyCatalogue(name="remedies", remedies=[_RESTART]),
        bundle,
    ]
    documents = sorted((document(each.model_dump(mode="json")) for each in written), key=lambda d: (d.kind, d.name))
    signal = SignalRaised(
        signal_id="sig", kind=SignalKind.SLO_BURN, severity=Severity.PAGE, slo="errors", sli="errors", summary="s",
        windows=[], confidence_bp=9_000, quality=_GOOD, started_at_us=NOW_US - 30_000_000, evidence=[],
    )  # fmt: skip
    opened = IncidentOpened(
        incident_id="inc", signal_ids=["sig"], severity="page", title="t", started_at_us=NOW_US - 30_000_000
    )
    activated = ConfigurationActivated(revision=digest_of("r"), documents=documents, author="ada", comment="")
    agent = PolicyAgent()
    state = agent.initial_state()
    for offset, payload in enumerate((activated, Tick(at_us=NOW_US), signal, opened)):
        state, _ = agent.handle(state, recorded(payload, offset))
    return state


def plans(count: int) -> Iterator[Recorded[Any]]:
    """So many plans to restart the checkout."""
    action = Action(driver="supervisord", verb="restart", target="checkout", parameters={})
    step = Step(step_id="1", action=action, compensation=None, timeout_ms=10_000, max_attempts=2, settle_ms=1_000)
    verification = Verification(
        slo_names=["errors"], guard_metrics=[], before_ms=1_000, settle_ms=0, after_ms=1_000, deadline_ms=5_000
    )
    basis = ConfidenceBasis(
        context="c", prior_successes_milli=1, prior_failures_milli=1, verified=0, rejected=0, mean_bp=5_000
    )
    for number in range(count):
        proposed = PlanProposed(
            plan_id=f"plan-{number}", incident_id="inc", plan_hash=plan_hash([step], verification), remedy="restart",
            remedy_digest="d", summary="restart the checkout", steps=[step], verification=verification,
            risk_class=RiskClass.LOW, reversible=True, blast_radius_bp=3_300, blast_radius_instances=1, cost=1,
            confidence_bp=5_000 + number % 5_000, basis=basis, alternatives=[], attempt=1,
            expires_at_us=NOW_US + 10**10,
        )  # fmt: skip
        yield recorded(proposed, 10 + number)
