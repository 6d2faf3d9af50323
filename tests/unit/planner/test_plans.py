"""What is proposed, and what is said when there is nothing to propose."""

from typing import Any

import pytest
from planner.shop import (
    REMEDIES,
    RESTART,
    SCALE,
    SERVICES,
    SWITCH,
    all_observed,
    cleared,
    documents,
    execution,
    given,
    observed,
    outcome,
    raised,
    service,
)
from scenario import START_US, Said, Scenario

from autopilot.agents.planner import Planner
from autopilot.schemas.configuration import Autonomy, Remedy, canonical
from autopilot.schemas.events.observer import SignalKind
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import (
    Action,
    IncidentOpened,
    NoPlanFound,
    PlanProposed,
    PlanWithdrawn,
    RiskClass,
    SignalLinked,
)
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.identity import digest_of
from autopilot.schemas.plan_hash import plan_hash


def shop(*remedies: Remedy) -> Scenario:
    return given(Planner(), documents(remedies=remedies or REMEDIES), *all_observed())


def proposed(scenario: Scenario) -> PlanProposed:
    return scenario.only(PlanProposed)


def why_not(scenario: Scenario, remedy: Remedy) -> str:
    event: Any = next(d.payload for d in scenario.drafts() if isinstance(d.payload, PlanProposed | NoPlanFound))
    considered = event.alternatives if isinstance(event, PlanProposed) else event.considered
    return next(str(one.why_not) for one in considered if one.remedy == remedy.name)


def test_the_surest_remedy_is_proposed_with_steps_before_values_and_basis() -> None:
    plan = proposed(shop().when(raised("cart")))
    (step,) = plan.steps
    assert (plan.remedy, plan.attempt, step.step_id) == ("switch-release", 1, "1-switch-release")
    assert step.action == Action(
        driver="supervisord", verb="switch_release", target="cart", parameters={"release": "v1"}
    )
    assert step.compensation is not None
    assert step.compensation.parameters == {"release": "v2"}
    assert plan.plan_hash == plan_hash(plan.steps, plan.verification)
    assert plan.verification.slo_names == ["cart-errors"]
    assert (plan.basis.context, plan.basis.verified, plan.basis.rejected) == ("cart/errors", 0, 0)
    assert (plan.basis.mean_bp, plan.confidence_bp) == (8_000, 6_454)
    assert plan.summary == "go back to the previous release: switch_release cart (release v1)"
    assert step.expected.items() >= {"release": "v2", "previous_release": "v1"}.items()


def test_the_others_are_told_with_why_not() -> None:
    scenario = shop().when(raised("cart"))
    assert why_not(scenario, RESTART) == "lower confidence than `switch-release`: expected benefit 247, against 575"
    lower = next(one for one in proposed(scenario).alternatives if one.remedy == "restart")
    assert 0 < lower.confidence_bp < proposed(scenario).confidence_bp


def test_outcomes_move_the_choice() -> None:
    plan = proposed(shop().when(raised("cart")))
    told = [Said(OutcomeRejected(outcome=outcome(plan)))] * 20
    assert proposed(shop().events(*told).when(raised("search"))).remedy == "switch-release"
    scenario = shop().events(*told).when(raised("cart"))
    assert proposed(scenario).remedy == "restart"
    assert why_not(scenario, SWITCH) == "lower confidence than `restart`: expected benefit 94, against 247"


@pytest.mark.parametrize("phase", ["remedy", "rollback"])
def test_only_verdicts_on_the_remedy_itself_count(phase: str) -> None:
    plan = proposed(shop().when(raised("cart")))
    said = [OutcomeInconclusive(outcome=outcome(plan)), OutcomeVerified(outcome=outcome(plan, phase))]
    basis = proposed(shop().events(*map(Said, said)).when(raised("cart"))).basis
    assert basis.verified == (1 if phase == "remedy" else 0)
    assert basis.rejected == 0


def test_equally_sure_remedies_rank_by_risk_cost_and_name() -> None:
    priors = {"prior_successes_milli": 5_000, "prior_failures_milli": 5_000}
    risky = RESTART.model_copy(update={**priors, "name": "a", "risk_class": RiskClass.HIGH})
    dear = RESTART.model_copy(update={**priors, "name": "b", "cost": 9})
    plain = RESTART.model_copy(update={**priors, "name": "d"})
    first = RESTART.model_copy(update={**priors, "name": "c"})
    scenario = shop(risky, dear, plain, first).when(raised("cart"))
    assert proposed(scenario).remedy == "c"
    assert why_not(scenario, risky) == "higher risk than `c`: expected benefit 146, against 296"
    assert why_not(scenario, dear) == "higher cost than `c`: expected benefit 216, against 296"
    assert why_not(scenario, plain) == "equal to `c`; the name decides"


def test_parameters_are_calculated_and_the_blast_radius_rounded_up() -> None:
    plan = proposed(shop(SCALE).when(raised("cart")))
    assert plan.steps[0].action.parameters == {"count": "4"}
    assert (plan.blast_radius_instances, plan.blast_radius_bp) == (1, 3_334)


def test_a_blast_radius_is_a_share_of_whatever_is_more_declared_or_running() -> None:
    scenario = shop(SCALE).events(observed("cart", running="4", desired="4")).when(raised("cart"))
    assert proposed(scenario).blast_radius_bp == 2_500


def test_a_precondition_that_does_not_hold_is_why_not() -> None:
    scenario = shop(SCALE).events(observed("cart", desired="5")).when(raised("cart")).then(IncidentOpened, NoPlanFound)
    assert why_not(scenario, SCALE) == "its precondition `desired < max_instances` does not hold"


@pytest.mark.parametrize(
    "changes",
    [
        {"precondition": "desird > 1"},
        {"precondition": "desired / 0 == 1"},
        {"precondition": "desired"},
        {"blast_radius_instances": "'many'"},
        {"blast_radius_instances": "0 - 1"},
    ],
)
def test_a_faulty_expression_makes_its_remedy_not_apply_and_the_others_stand(changes: dict[str, str]) -> None:
    faulty = SWITCH.model_copy(update=changes)
    scenario = shop(faulty, RESTART).when(raised("cart"))
    assert proposed(scenario).remedy == "restart"
    source = next(iter(changes.values()))
    assert f"`{source}`" in why_not(scenario, faulty)


def test_a_faulty_remedy_is_something_to_look_at() -> None:
    scenario = shop(SCALE.model_copy(update={"precondition": "desird > 1"})).when(raised("cart"))
    hints = scenario.only(NoPlanFound).look_at
    assert hints[0] == "`cart`: errors burn"
    assert "running 3" in hints[1]
    assert "dependency `stock` of `cart`, which raised nothing itself" in hints
    assert any("desird" in hint for hint in hints)
    assert hints[-1] == "whoever owns `cart`: owner team-shop"


def test_a_remedy_answers_only_its_kinds_and_indicators() -> None:
    scenario = shop(SWITCH).when(raised("cart", sli="availability"))
    assert scenario.only(NoPlanFound).reason == "no remedy applies"
    assert why_not(scenario, SWITCH) == "it answers slo_burn of errors, latency, and no such signal is raised"


def test_without_a_burning_objective_every_objective_of_the_service_must_be_met() -> None:
    any_kind = RESTART.model_copy(update={"signal_kinds": ["anomaly"]})
    scenario = shop(any_kind).when(raised("cart", kind=SignalKind.ANOMALY, slo="", sli=""))
    assert proposed(scenario).verification.slo_names == ["cart-errors"]
    assert proposed(scenario).basis.context == "cart/anomaly"


def test_a_target_that_was_never_observed_is_not_touched_until_it_is() -> None:
    scenario = given(Planner(), documents(remedies=(RESTART,))).when(raised("cart")).then(IncidentOpened, NoPlanFound)
    assert why_not(scenario, RESTART) == "the state of target `supervisord/cart` is not known"
    scenario.when(observed("cart")).then(PlanProposed)


def test_a_service_without_a_target_of_the_driver_gets_no_plan() -> None:
    bare = (service("cart", [], targets=[]),)
    scenario = given(Planner(), documents(bare)).when(raised("cart"))
    assert why_not(scenario, RESTART) == "`cart` has no target of driver `supervisord`"


def test_a_service_that_is_only_observed_gets_no_plan() -> None:
    watched = (service("cart", [], autonomy=Autonomy.OBSERVE),)
    scenario = given(Planner(), documents(watched), observed("cart")).when(raised("cart"))
    assert scenario.only(NoPlanFound).reason == "`cart` is only observed: its autonomy is `observe`"


def test_a_service_that_the_fleet_does_not_know_gets_no_plan() -> None:
    scenario = shop().when(raised("ghost")).then(IncidentOpened, NoPlanFound)
    assert scenario.only(NoPlanFound).reason == "the fleet map does not know `ghost`"


def test_the_same_is_not_said_twice() -> None:
    scenario = given(Planner(), documents(remedies=())).events(raised("cart"))
    scenario.when(raised("cart", signal_id="second")).then(SignalLinked)


def test_a_new_catalogue_helps_an_incident_that_had_no_plan() -> None:
    scenario = given(Planner(), documents(remedies=()), *all_observed()).events(raised("cart"))
    fresh = sorted(documents(), key=lambda doc: (doc.kind, doc.name))
    scenario.when(ConfigurationActivated(revision="r2", documents=fresh, author="ada", comment="")).then(PlanProposed)


def test_the_age_of_a_release_is_known_once_it_was_seen_to_change() -> None:
    fresh = SWITCH.model_copy(update={"precondition": "release_age_ms >= 0 && release_age_ms < 60000"})
    scenario = shop(fresh).when(raised("cart")).then(IncidentOpened, NoPlanFound)
    scenario.after(seconds=10).events(observed("search", release="v3"))
    assert proposed(scenario.after(seconds=50).when(raised("search"))).remedy == "switch-release"
    late = shop(fresh).after(seconds=10).events(observed("search", release="v3")).after(seconds=60)
    late.when(raised("search")).then(IncidentOpened, NoPlanFound)


def test_a_remedy_cools_down_after_its_use_and_is_proposed_when_it_has() -> None:
    cooling = RESTART.model_copy(update={"cooldown_ms": 30_000, "recurrence_ms": 0})
    scenario = shop(cooling).after(seconds=1).when(raised("cart"))
    plan = proposed(scenario)
    scenario.events(*execution(plan), Said(OutcomeVerified(outcome=outcome(plan))))
    scenario.events(cleared("cart"))
    scenario.when(raised("cart", signal_id="again")).then(IncidentOpened, NoPlanFound)
    assert "cooling down until" in why_not(scenario, cooling)
    scenario.after(seconds=29).then_nothing()
    scenario.after(seconds=1).then(PlanProposed)


def test_the_choice_does_not_depend_on_the_documents_order() -> None:
    one = proposed(shop(RESTART, SCALE, SWITCH).when(raised("cart")))
    other = proposed(shop(SWITCH, SCALE, RESTART).when(raised("cart")))
    assert one == other


def test_every_service_has_its_own_plan() -> None:
    scenario = shop().when(*[raised(one.name, domain=one.domain, at=400 * n) for n, one in enumerate(SERVICES)])
    plans = [d.payload.steps[0].action.target for d in scenario.drafts() if isinstance(d.payload, PlanProposed)]
    assert plans == ["web", "cart", "stock", "search", "far"]


def test_an_undecided_plan_follows_its_target() -> None:
    scenario = shop(SCALE).events(raised("cart")).when(observed("cart", desired="4", running="3"))
    scenario.then(PlanWithdrawn, PlanProposed)
    assert proposed(scenario).steps[0].action.parameters == {"count": "5"}
    assert scenario.only(PlanWithdrawn).reason == "the target of `cart` has changed since it was made"


def test_an_undecided_plan_gives_way_to_a_remedy_that_now_applies_and_is_surer() -> None:
    fresh = SWITCH.model_copy(update={"precondition": "release_age_ms >= 0"})
    scenario = shop(fresh, RESTART).when(raised("cart"))
    assert proposed(scenario).remedy == "restart"
    assert proposed(scenario.when(observed("cart", release="v3"))).remedy == "switch-release"


def test_an_undecided_plan_stays_when_nothing_of_it_changes_or_its_remedy_rests_for_a_moment() -> None:
    scenario = shop(SCALE).events(raised("cart"))
    scenario.when(observed("cart", running="2"), observed("cart", desired="5")).then_nothing()


def test_a_plan_says_since_when_the_trouble_is_there_at_the_service_that_it_acts_on() -> None:
    """Not since the incident began: that was at another service, and here all was well in between."""
    scenario = shop().events(raised("web", at=-90), raised("cart", at=-70), cleared("cart"))
    plan = proposed(scenario.when(raised("cart", at=-20, signal_id="again")))
    assert plan.steps[0].action.target == "cart"
    assert plan.verification.trouble_since_us == START_US - 20_000_000


def test_a_plan_says_since_when_all_of_the_trouble_is_there() -> None:
    scenario = given(Planner(), documents()).events(raised("cart", at=-30))
    scenario.events(raised("cart", at=-40, signal_id="slow", slo="cart-latency", sli="latency"))
    verification = proposed(scenario.when(observed("cart"))).verification
    assert verification.slo_names == ["cart-errors", "cart-latency"]
    assert verification.trouble_since_us == START_US - 30_000_000


def test_when_the_trouble_began_is_in_the_hash_where_it_is_known() -> None:
    plan = proposed(shop().when(raised("cart")))
    unknown = plan.verification.model_copy(update={"trouble_since_us": 0})
    assert plan_hash(plan.steps, unknown) != plan.plan_hash
    content = {
        "steps": [step.model_dump(mode="json") for step in plan.steps],
        "verification": unknown.model_dump(mode="json", exclude={"trouble_since_us"}),
    }
    assert plan_hash(plan.steps, unknown) == digest_of(canonical(content))
