"""Laws of the policy: it is total, denials win, decisions can be recomputed, and no plan is answered twice."""

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_bundles import SHIPPED, approval, bundle, rule, shipped
from policy_world import granted, halt, in_force, incident, plan, preview, rejected, resume, signal, started

from autopilot.agents.policy.states import HoldingState
from autopilot.policies.bundle import Effect, PolicyBundle, Ruling
from autopilot.policies.engine import policy_set, recompute
from autopilot.policies.facts import FACTS, FactSet, FactSpec, Value
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.observer import SignalCleared, SignalKind
from autopilot.schemas.events.planner import IncidentClosed, PlanWithdrawn, RiskClass
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
)
from autopilot.schemas.events.runtime import Tick

CONDITIONS: Final = (
    "true", "false", "plan_cost > 3", "10 / plan_cost > 2", "telemetry_lost", 'plan_risk_class == "high"',
    "plan_confidence_bp < 5000 && service_tier <= 1", "approvals_granted >= 1",
)  # fmt: skip


def values_of(spec: FactSpec) -> st.SearchStrategy[Value]:
    if spec.type is bool:
        return st.booleans()
    if spec.type is int:
        return st.integers(spec.low, min(spec.high, spec.low + 5)) | st.integers(spec.low, spec.high)
    return st.sampled_from(spec.choices) if spec.choices else st.sampled_from(("", "a", "supervisord.restart"))


FACT_SETS: Final = st.fixed_dictionaries({spec.name: values_of(spec) for spec in FACTS}).map(FactSet.of)


@st.composite
def bundles(draw: st.DrawFn, name: str = "mine") -> PolicyBundle:
    rules = []
    for index, condition in enumerate(draw(st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=5))):
        effect = draw(st.sampled_from(Effect))
        if effect is Effect.OBLIGATE:
            rules.append(approval(f"r{index}", condition, needed=draw(st.integers(1, 2))))
        else:
            rules.append(rule(f"r{index}", effect.value, condition))
    return bundle(*rules, name=name)


ANY_BUNDLE: Final = bundles() | st.sampled_from([shipped(path).bundle for path in SHIPPED])


@settings(max_examples=200, deadline=None)
@given(mine=ANY_BUNDLE, facts=FACT_SETS)
def test_a_verdict_is_total_and_a_recorded_decision_gives_it_again(mine: PolicyBundle, facts: FactSet) -> None:
    policies = policy_set([mine.source])
    verdict = policies.judge(facts)
    denying = [outcome for outcome in verdict.fired if outcome.effect in ("deny", "error")]
    assert (verdict.ruling is Ruling.DENY) == bool(denying)
    assert verdict.decisive
    decision = Decision(
        decision_id="d",
        plan_id="p",
        incident_id="i",
        plan_hash="h",
        bundle=policies.title,
        bundle_digest=policies.digest,
        rules=list(verdict.fired),
        facts=facts.recorded(),
        facts_digest=facts.digest,
    )
    assert recompute(Decision.model_validate_json(decision.model_dump_json()), [mine]) == verdict


@settings(max_examples=100, deadline=None)
@given(mine=bundles("a"), other=bundles("b"), facts=FACT_SETS)
def test_another_bundle_in_force_never_allows_more(mine: PolicyBundle, other: PolicyBundle, facts: FactSet) -> None:
    alone = policy_set([mine.source]).judge(facts).ruling
    together = policy_set([mine.source, other.source]).judge(facts).ruling
    strictness = [Ruling.ALLOW, Ruling.NEEDS_APPROVAL, Ruling.DENY]
    assert strictness.index(together) >= strictness.index(alone)


EVENTS: Final = st.lists(
    st.sampled_from(
        ("plan-a", "plan-b", "preview-a", "preview-b", "grant", "grant", "reject", "withdraw-a", "start-a", "lost",
         "found", "halt", "resume", "tick", "close")
    ),
    max_size=25,
)  # fmt: skip
ASKING: Final = bundle(
    rule("permit", "permit", "true"),
    rule("lost", "deny", "telemetry_lost"),
    approval("ask", 'plan_risk_class == "high"'),
)


def told(name: str, now_us: int, requests: list[ApprovalRequested]) -> list[Any]:
    simple: dict[str, Any] = {
        "plan-a": plan("a", risk=RiskClass.HIGH),
        "plan-b": plan("b"),
        "preview-a": preview(plan_id="a"),
        "preview-b": preview(plan_id="b"),
        "withdraw-a": PlanWithdrawn(plan_id="a", incident_id="inc", reason="r"),
        "start-a": started("exe", "a"),
        "lost": signal("gone", SignalKind.TELEMETRY_LOST),
        "found": SignalCleared(signal_id="gone", reason="r", quality=signal().quality),
        "halt": halt(),
        "resume": resume(),
        "tick": Tick(at_us=now_us + 20_000_000),
        "close": IncidentClosed(incident_id="inc", resolution="recovered", reason="r"),
    }
    if name in simple:
        return [simple[name]]
    answer = {"grant": granted, "reject": rejected}[name]
    return [answer(requests[-1])] if requests else [incident("other")]


@settings(max_examples=60, deadline=None)
@given(names=EVENTS)
def test_no_plan_is_answered_twice_and_nothing_is_authorised_that_the_facts_deny(names: list[str]) -> None:
    scenario = in_force(ASKING)
    requests: list[ApprovalRequested] = []
    answered: dict[str, list[str]] = {}
    for name in names:
        forgotten = name == "close"
        scenario.when(*told(name, scenario.now_us, requests))
        for output in scenario.outputs:
            payload = output.payload if isinstance(output, Draft) else None
            if isinstance(payload, ApprovalRequested):
                requests.append(payload)
            elif isinstance(payload, PlanAuthorized | PlanDenied):
                answered.setdefault(payload.decision.plan_id, []).append(type(payload).__name__)
                ruling = recompute(payload.decision, [ASKING]).ruling
                assert (ruling is Ruling.ALLOW) == isinstance(payload, PlanAuthorized)
                assert not (isinstance(payload, PlanAuthorized) and scenario.state.authority.halted("shop"))
            elif isinstance(payload, AuthorizationRevoked):
                assert answered[payload.plan_id][-1] == "PlanAuthorized"
        assert all(len(answers) == 1 for answers in answered.values())
        if forgotten:
            answered.clear()
            requests.clear()
    assert all(holding.state in HoldingState for holding in scenario.state.holdings.values())
