"""Decisions: what is authorised, what is denied, what was seen."""

from typing import Any

import pytest
from outcomes import outcome
from policy_bundles import PERMIT, bundle, rule
from policy_world import ASKS, halt, in_force, incident, plan, resume, signal, started, through, with_rules
from scenario import START_US, Said, Scenario

from autopilot.policies.bundle import Ruling
from autopilot.policies.engine import recompute
from autopilot.policies.facts import FACTS
from autopilot.schemas.configuration import Calendar, ChangeWindow, Freeze
from autopilot.schemas.events.executor import BreakerClosed, BreakerOpened, ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.observer import (
    Quality,
    Severity,
    SignalCleared,
    SignalKind,
    SignalUpdated,
    TelemetryQualityChanged,
)
from autopilot.schemas.events.planner import Action, IncidentClosed, RiskClass, SignalLinked, Step
from autopilot.schemas.events.policy import (
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    PreviewRequested,
)
from autopilot.schemas.events.verifier import OutcomeRejected
from autopilot.schemas.plan_hash import plan_hash

POOR = Quality(freshness_bp=1, completeness_bp=2, validity_bp=3, order_bp=4)


def facts(scenario: Scenario, **more: Any) -> dict[str, Any]:
    """The facts that a decision on a plan sees now."""
    (draft,) = scenario.when(plan(f"plan-{scenario.offset}", **more)).drafts()
    assert isinstance(draft.payload, PlanAuthorized | PlanDenied)
    return {fact.name: fact.value for fact in draft.payload.decision.facts}


def rejection(execution_id: str = "exe", phase: str = "remedy") -> OutcomeRejected:
    return OutcomeRejected(outcome=outcome(phase, execution_id=execution_id, plan_id="plan", incident_id="inc"))


def failed(execution_id: str = "exe", plan_id: str = "plan") -> ExecutionFailed:
    return ExecutionFailed(
        execution_id=execution_id, plan_id=plan_id, incident_id="inc", reason="r", needs_person=False
    )


# -- verdicts --------------------------------------------------------------------------------------------------------


def test_a_permitted_plan_is_authorised_for_as_long_as_its_steps_may_take_and_five_minutes() -> None:
    authorized = with_rules().when(plan()).then(PlanAuthorized).only(PlanAuthorized)
    assert authorized.not_after_us == START_US + (2 * 10_000 + 1_000) * 1_000 + 300_000_000
    assert authorized.approvals == []
    assert authorized.decision.bundle == "mine@1"
    assert [outcome.rule for outcome in authorized.decision.rules] == ["permit"]
    assert authorized.decision.plan_hash == plan().plan_hash


def test_the_answer_is_addressed_to_the_plans_domain_service_and_incident() -> None:
    (draft,) = with_rules().when(plan()).drafts()
    assert (draft.domain, draft.service, draft.correlation_id) == ("shop", "checkout", "inc")


def test_without_a_bundle_a_plan_is_denied_with_that_reason() -> None:
    denied = in_force().when(plan()).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "builtin:no-bundle: no policy bundle is in force"
    assert (denied.decision.bundle, denied.decision.bundle_digest) == ("", "")


def test_a_denial_gives_the_messages_of_the_rules_that_denied() -> None:
    dear = rule("dear", "deny", "plan_cost > 0", message="costs {plan_cost}")
    assert with_rules(dear).when(plan()).only(PlanDenied).reason == "dear: costs 1"


def test_a_bundle_in_force_that_cannot_be_used_denies() -> None:
    denied = in_force(bundle(PERMIT, rule("typo", "deny", "plan_csts > 0"))).when(plan()).only(PlanDenied)
    assert denied.reason.startswith("builtin:broken-bundle: ")


def test_a_plan_that_needs_approval_is_previewed_first() -> None:
    requested = in_force(ASKS).when(plan(risk=RiskClass.HIGH)).then(PreviewRequested).only(PreviewRequested)
    assert requested == PreviewRequested(plan_id="plan", incident_id="inc", plan_hash=plan().plan_hash)


def test_the_same_plan_a_second_time_is_rejected() -> None:
    with_rules().events(plan()).when(plan()).then_rejected("plan_id")


def test_a_plan_whose_hash_is_not_that_of_its_content_is_rejected() -> None:
    with_rules().when(plan(plan_hash="sha256:0")).then_rejected("plan_hash")


@pytest.mark.parametrize("names", [(), ("1", "1")])
def test_a_plan_without_steps_or_with_two_of_one_name_is_rejected(names: tuple[str, ...]) -> None:
    steps = [plan().steps[0].model_copy(update={"step_id": name}) for name in names]
    odd = plan(steps=steps, plan_hash=plan_hash(steps, plan().verification), risk=RiskClass.HIGH)
    in_force(ASKS).when(odd).then_rejected("steps").after(seconds=11).then_nothing()


def test_a_decision_is_recomputed_from_its_event_and_bundle_alone() -> None:
    mine = bundle(PERMIT, rule("dear", "deny", "plan_cost > 5"))
    for cost, ruling in ((1, Ruling.ALLOW), (6, Ruling.DENY)):
        kind = PlanAuthorized if ruling is Ruling.ALLOW else PlanDenied
        made = in_force(mine).when(plan(cost=cost)).only(kind).decision
        decision = Decision.model_validate_json(made.model_dump_json())
        verdict = recompute(decision, [mine])
        assert verdict.ruling is ruling
        assert list(verdict.fired) == decision.rules


def test_a_new_bundle_rules_from_its_offset_on() -> None:
    scenario = with_rules().when(plan("one")).then(PlanAuthorized)
    strict = bundle(rule("none", "deny", "true"), version="2")
    scenario.events(*through(strict)).when(plan("two")).then(PlanDenied)
    assert scenario.only(PlanDenied).decision.bundle == "mine@2"


# -- facts -----------------------------------------------------------------------------------------------------------


def test_a_decision_bears_every_fact_in_the_schemas_order() -> None:
    decision = with_rules().when(plan()).only(PlanAuthorized).decision
    assert [fact.name for fact in decision.facts] == [spec.name for spec in FACTS]


def test_the_facts_of_a_plan() -> None:
    scale = Action(driver="supervisord", verb="scale", target="checkout", parameters={"count": "3"})
    steps = [
        plan().steps[0],
        Step(step_id="2", action=scale, compensation=None, timeout_ms=1_000, max_attempts=1),
    ]
    seen = facts(
        with_rules(), steps=steps, plan_hash=plan_hash(steps, plan().verification), attempt=2, reversible=False
    )
    assert seen["plan_actions"] == "supervisord.restart,supervisord.scale"
    assert seen["plan_targets"] == "supervisord/checkout"
    assert (seen["plan_steps"], seen["plan_attempt"], seen["plan_reversible"]) == (2, 2, False)
    assert (seen["plan_risk_class"], seen["plan_cost"], seen["plan_confidence_bp"]) == ("low", 1, 7_000)


def test_the_facts_of_service_incident_and_telemetry() -> None:
    seen = facts(with_rules())
    assert (seen["service_name"], seen["service_domain"], seen["service_known"]) == ("checkout", "shop", True)
    assert (seen["service_tier"], seen["service_owner"], seen["service_autonomy"]) == (1, "team", "act")
    assert (seen["service_instances"], seen["service_environment"]) == (3, "production")
    assert (seen["incident_severity"], seen["incident_age_ms"]) == ("page", 30_000)
    assert (seen["incident_max_burn_milli"], seen["incident_signals"]) == (20_000, 1)
    assert (seen["telemetry_freshness_bp"], seen["telemetry_completeness_bp"]) == (10_000, 9_900)
    assert seen["telemetry_lost"] is False


def test_signals_that_change_and_clear_change_the_incidents_facts() -> None:
    scenario = with_rules().events(
        signal("more", burn_milli=50_000),
        SignalLinked(incident_id="inc", signal_id="more", change="linked", reason="r"),
    )
    seen = facts(scenario)
    assert (seen["incident_signals"], seen["incident_max_burn_milli"]) == (2, 50_000)
    seen = facts(scenario.events(SignalCleared(signal_id="more", reason="r", quality=POOR)))
    assert (seen["incident_signals"], seen["incident_max_burn_milli"]) == (1, 20_000)
    assert seen["telemetry_order_bp"] == 4
    update = SignalUpdated(
        signal_id="sig",
        severity=Severity.TICKET,
        summary="s",
        windows=[],
        confidence_bp=1,
        quality=POOR,
        evidence=[],
    )
    seen = facts(scenario.events(update))
    assert (seen["incident_severity"], seen["incident_max_burn_milli"]) == ("ticket", 0)


def test_a_service_that_the_fleet_does_not_have_is_unknown_and_denied() -> None:
    denied = with_rules().when(Said(plan(), service="other")).only(PlanDenied)
    assert "builtin:unknown-service" in denied.reason


def test_telemetry_of_which_nothing_is_known_counts_as_lost() -> None:
    scenario = with_rules()
    decision = scenario.when(Said(plan("two"), service="frontend")).only(PlanAuthorized).decision
    seen = {fact.name: fact.value for fact in decision.facts}
    assert (seen["telemetry_lost"], seen["telemetry_freshness_bp"]) == (True, 0)


def test_quality_is_the_last_that_was_reported() -> None:
    changed = TelemetryQualityChanged(quality=POOR, previous=POOR, worst_series="s", reason="r")
    assert facts(with_rules().events(changed))["telemetry_freshness_bp"] == 1


def test_lost_telemetry_is_a_fact_until_its_signal_clears() -> None:
    scenario = with_rules().events(signal("gone", SignalKind.TELEMETRY_LOST, POOR))
    assert facts(scenario)["telemetry_lost"] is True
    scenario.events(SignalCleared(signal_id="gone", reason="r", quality=POOR))
    assert facts(scenario)["telemetry_lost"] is False


# 2025-10-09, a Thursday, 08:53:20 UTC
@pytest.mark.parametrize(("offset", "weekday", "minute"), [(0, 3, 533), (60, 3, 593), (-540, 2, 1433), (840, 3, 1373)])
def test_weekday_and_minute_are_those_of_the_calendars_zone(offset: int, weekday: int, minute: int) -> None:
    calendar = Calendar(name="c", utc_offset_minutes=offset, change_windows=[])
    seen = facts(in_force(bundle(PERMIT), calendar=calendar))
    assert (seen["calendar_weekday"], seen["calendar_minute_of_day"]) == (weekday, minute)
    assert seen["calendar_in_change_window"] is False


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        (ChangeWindow(days=["thu"], from_minute=533, until_minute=534), True),
        (ChangeWindow(days=["thu"], from_minute=534), False),
        (ChangeWindow(days=["thu"], until_minute=533), False),
        (ChangeWindow(days=["mon", "fri"]), False),
    ],
)
def test_a_change_window_includes_its_start_and_not_its_end(window: ChangeWindow, inside: bool) -> None:
    seen = facts(in_force(bundle(PERMIT), calendar=Calendar(name="c", change_windows=[window])))
    assert seen["calendar_in_change_window"] is inside


@pytest.mark.parametrize(
    ("from_us", "until_us", "domains", "frozen"),
    [
        (START_US, START_US + 1, [], True),
        (START_US, START_US + 1, ["shop"], True),
        (START_US, START_US + 1, ["other"], False),
        (START_US - 5, START_US, [], False),
        (START_US + 1, START_US + 5, [], False),
    ],
)
def test_a_freeze_covers_its_time_and_domains(from_us: int, until_us: int, domains: list[str], frozen: bool) -> None:
    freeze = Freeze(from_us=from_us, until_us=until_us, domains=domains, reason="r")
    seen = facts(in_force(bundle(PERMIT), calendar=Calendar(name="c", change_windows=[], freezes=[freeze])))
    assert seen["calendar_in_freeze"] is frozen


# -- history and budgets ---------------------------------------------------------------------------------------------


def test_history_counts_executions_failures_and_rejections_of_the_service() -> None:
    scenario = with_rules().events(plan(), started("a"), rejection("a"), started("b"), failed("b"), started("c"))
    seen = facts(scenario)
    assert (seen["history_attempts"], seen["history_failures"], seen["history_rejections"]) == (3, 1, 1)
    assert seen["history_minutes_since_last_action"] == 0


def test_a_rejected_execution_that_is_rolled_back_has_not_failed_as_well() -> None:
    undone = ExecutionRolledBack(execution_id="a", plan_id="plan", incident_id="inc", reason="r")
    seen = facts(with_rules().events(plan(), started("a"), rejection("a"), undone, rejection("a", "rollback")))
    assert (seen["history_failures"], seen["history_rejections"]) == (0, 1)


def test_an_execution_that_never_began_is_no_failure() -> None:
    seen = facts(with_rules().events(plan(), failed("")))
    assert (seen["history_attempts"], seen["history_failures"]) == (0, 0)
    assert seen["history_minutes_since_last_action"] == -1


def test_history_leaves_after_a_day() -> None:
    scenario = with_rules().events(plan(), started("a"), failed("a"))
    scenario.after(seconds=24 * 3_600 - 1)
    assert (facts(scenario)["history_attempts"], facts(scenario)["history_minutes_since_last_action"]) == (1, 1_439)
    scenario.after(seconds=1)
    assert (facts(scenario)["history_attempts"], facts(scenario)["history_failures"]) == (0, 0)
    assert scenario.state.ledger.histories == {}


def test_the_budget_counts_the_domains_authorisations_of_the_last_hour() -> None:
    scenario = with_rules()
    assert [facts(scenario)["budget_actions_last_hour"] for _ in range(3)] == [0, 1, 2]
    scenario.after(seconds=3_600)
    assert facts(scenario)["budget_actions_last_hour"] == 0


def test_a_denied_plan_spends_nothing() -> None:
    scenario = with_rules(rule("none", "deny", "true"))
    assert [facts(scenario)["budget_actions_last_hour"] for _ in range(2)] == [0, 0]


def test_an_open_breaker_is_a_fact_until_its_probe_is_due_or_it_closes() -> None:
    name = "supervisord/restart/checkout"
    opened = BreakerOpened(breaker=name, failures=3, until_us=START_US + 10_000_000, reason="r")
    other = opened.model_copy(update={"breaker": "supervisord/scale/checkout"})
    assert facts(with_rules().events(other))["breaker_open"] is False
    scenario = with_rules().events(opened)
    assert facts(scenario)["breaker_open"] is True
    assert facts(scenario.after(seconds=10))["breaker_open"] is False
    assert facts(with_rules().events(opened, BreakerClosed(breaker=name, reason="r")))["breaker_open"] is False


# -- halts and revocations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["shop", "*"])
def test_nothing_is_allowed_in_a_halted_domain(scope: str) -> None:
    denied = with_rules().events(halt(scope=scope)).when(plan()).only(PlanDenied)
    assert denied.reason == "builtin:halted: domain shop is halted"


def test_a_halt_of_another_domain_changes_nothing_here() -> None:
    with_rules().events(halt(scope="elsewhere")).when(plan()).then(PlanAuthorized)


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (halt(signed_by=None), "signature"),
        (halt(by="bob", signed_by="cem"), "signature"),
        (halt(by="dee"), "ordered_by"),
        (halt(by="policy"), "ordered_by"),
    ],
)
def test_a_halt_that_is_unsigned_or_by_someone_without_the_role_does_not_count(order: Said, field: str) -> None:
    scenario = with_rules()
    scenario.when(order).then_rejected(field)
    scenario.when(plan()).then(PlanAuthorized)


def test_who_halted_cannot_resume_and_another_can() -> None:
    scenario = with_rules().events(halt(by="bob"))
    scenario.when(resume(by="bob")).then_rejected("ordered_by")
    scenario.when(plan("one")).then(PlanDenied)
    scenario.when(resume(by="cem")).then_nothing()
    scenario.when(plan("two")).then(PlanAuthorized)


def test_a_halt_revokes_what_has_not_begun() -> None:
    scenario = with_rules().events(plan("one"), plan("two"), started("exe", "two"))
    revoked = scenario.when(halt()).then(AuthorizationRevoked).only(AuthorizationRevoked)
    assert (revoked.plan_id, revoked.reason) == ("one", "halted by bob: r")


def test_lost_telemetry_revokes_what_has_not_begun_for_that_service() -> None:
    lost = signal("gone", SignalKind.TELEMETRY_LOST, POOR)
    authorized = (scenario := with_rules()).when(plan()).only(PlanAuthorized)
    revoked = scenario.when(lost).then(AuthorizationRevoked).only(AuthorizationRevoked)
    assert revoked.decision_id == authorized.decision.decision_id
    with_rules().events(plan()).when(Said(lost, service="frontend")).then_nothing()
    with_rules().events(plan(), started()).when(lost).then_nothing()


def test_a_revoked_authorisation_gives_its_budget_back() -> None:
    scenario = with_rules().events(plan("one"), halt(), resume())
    assert facts(scenario)["budget_actions_last_hour"] == 0


def test_an_unused_authorisation_lapses_in_silence_and_cannot_be_revoked_any_more() -> None:
    scenario = with_rules().events(plan())
    scenario.after(seconds=322).then_nothing()
    scenario.when(halt()).then_nothing()


def test_a_closed_incident_is_forgotten_and_its_unused_authorisation_revoked() -> None:
    scenario = with_rules().events(plan())
    closed = IncidentClosed(incident_id="inc", resolution="recovered", reason="r")
    assert scenario.when(closed).only(AuthorizationRevoked).reason == "its incident was closed"
    assert (scenario.state.holdings, scenario.state.world.incidents) == ({}, {})


def test_a_plan_that_has_ended_is_forgotten_a_day_later_even_if_its_incident_stays_open() -> None:
    scenario = with_rules(rule("none", "deny", "true")).events(plan())
    scenario.after(seconds=24 * 3_600 - 1)
    assert list(scenario.state.holdings) == ["plan"]
    scenario.after(seconds=1)
    assert scenario.state.holdings == {}


def test_two_domains_of_one_partition_do_not_mix() -> None:
    scenario = with_rules().events(plan(), Said(incident("inc-2"), domain="other"))
    denied = scenario.when(Said(plan("two", incident_id="inc-2"), domain="other")).only(PlanDenied)
    seen = {fact.name: fact.value for fact in denied.decision.facts}
    assert (seen["budget_actions_last_hour"], seen["service_known"]) == (0, False)
