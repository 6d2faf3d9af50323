"""Remedies with a goal: what is composed of operators, and why not where nothing is."""

from typing import Any

from planner.goals import CANARY, CART, GATE, GROUP, ROLLING, SPARE, STATES, documents, observed, operator, remedy
from planner.shop import Course, given, raised

from autopilot.agents.planner import Planner
from autopilot.agents.planner.search import MOST_STATES
from autopilot.schemas.configuration import RemedyCatalogue, RemedyConstraint, Service, TargetRef
from autopilot.schemas.events.planner import NoPlanFound, PlanProposed, RiskClass
from autopilot.schemas.events.telemetry import Group


def course(catalogue: RemedyCatalogue, *states: Any, cart: Service = CART) -> Course:
    scenario = given(Planner(), documents(catalogue, cart), *STATES, *states)
    scenario.when(raised("cart"))
    return scenario


def plan_of(catalogue: RemedyCatalogue, *states: Any) -> PlanProposed:
    return course(catalogue, *states).only(PlanProposed)


def why_not(scenario: Course) -> str:
    (considered,) = scenario.only(NoPlanFound).considered
    return considered.why_not


def with_changes(catalogue: RemedyCatalogue, **changes: Any) -> RemedyCatalogue:
    return catalogue.model_copy(update=changes)


def verbs(plan: PlanProposed) -> list[str]:
    return [f"{step.action.verb} {step.action.target}" for step in plan.steps]


# -- drain, restart, undrain ------------------------------------------------------------------------------------------


def test_a_server_is_drained_restarted_and_put_back() -> None:
    plan = plan_of(ROLLING)
    assert verbs(plan) == ["drain be_cart", "restart cart", "ready be_cart"]
    assert [step.step_id for step in plan.steps] == ["1-drain", "2-restart", "3-undrain"]
    assert (plan.risk_class, plan.cost, plan.reversible) == (RiskClass.MEDIUM, 4, True)
    assert (plan.blast_radius_instances, plan.blast_radius_bp) == (3, 10_000)
    assert plan.summary == "restart-drained: drain be_cart (server a); restart cart; ready be_cart (server a)"


def test_what_was_changed_is_put_back_and_a_restart_needs_nothing() -> None:
    drain, restart, undrain = plan_of(ROLLING).steps
    assert drain.compensation is not None
    assert undrain.compensation is not None
    assert (drain.compensation.verb, drain.compensation.parameters) == ("revert", {"step": "1-drain"})
    assert (undrain.compensation.target, undrain.compensation.parameters) == ("be_cart", {"step": "3-undrain"})
    assert restart.compensation is None


def test_the_first_step_at_each_target_expects_what_the_plan_was_made_on() -> None:
    drain, restart, undrain = plan_of(ROLLING).steps
    assert drain.expected == {"percent.a": "100"}
    assert (restart.expected, undrain.expected) == ({}, {})


def test_a_server_that_is_drained_already_is_not_drained_again() -> None:
    plan = plan_of(ROLLING, observed("haproxy", "be_cart", percent__a="0"))
    assert verbs(plan) == ["restart cart", "ready be_cart"]


def test_a_part_of_a_number_is_left_out() -> None:
    assert len(plan_of(ROLLING, observed("haproxy", "be_cart", percent__a="0.5")).steps) == 2


# -- a canary in stages -----------------------------------------------------------------------------------------------


def test_a_canary_goes_in_stages_each_with_a_gate() -> None:
    plan = plan_of(CANARY)
    assert [step.action.parameters["percent"] for step in plan.steps] == ["5", "25", "100"]
    gates = [step.gate for step in plan.steps]
    assert all(gate is not None and gate.after_ms == GATE.after_ms for gate in gates)
    assert gates[0] is not None
    groups = [Group(name="canary", attributes={"release": "new"}), Group(name="control", attributes={"release": "old"})]
    assert (gates[0].groups, gates[0].slo_names) == (groups, [])


def test_a_constraint_alone_forbids_the_jump() -> None:
    plan = plan_of(with_changes(CANARY, constraints=[]))
    assert [step.action.parameters["percent"] for step in plan.steps] == ["100"]


def test_without_the_stage_between_the_constraint_is_why_not() -> None:
    stages = [one for one in CANARY.operators if one.name != "split-25"]
    expected = (
        "no sequence of its operators reaches `passed_percent == 100` (2 states looked at):"
        " `no more than 25 % unless seen` forbids 2"
    )
    assert why_not(course(with_changes(CANARY, operators=stages))) == expected


# -- scale out, shift, restart ----------------------------------------------------------------------------------------


def test_capacity_is_added_traffic_shifted_and_only_then_restarted() -> None:
    plan = plan_of(SPARE)
    assert verbs(plan) == ["scale cart-canary", "split be_cart", "restart cart"]
    scale = plan.steps[0]
    assert scale.compensation is not None
    assert (scale.action.parameters, scale.compensation.parameters) == ({"count": "2"}, {"count": "1"})


def test_parameters_follow_the_state_that_the_plan_has_reached() -> None:
    plan = plan_of(SPARE, observed(GROUP, "cart-canary", desired="0", running="0"))
    assert [step.action.parameters.get("count") for step in plan.steps] == ["1", "2", None, None]


# -- why not ----------------------------------------------------------------------------------------------------------


def test_a_plan_that_would_be_too_long_is_none() -> None:
    short = with_changes(ROLLING, remedies=[ROLLING.remedies[0].model_copy(update={"max_steps": 2})])
    assert "reaches `restarted && weight == 100` in 2 steps" in why_not(course(short))


def test_a_goal_that_holds_already_is_no_remedy() -> None:
    assert why_not(course(with_changes(ROLLING, remedies=[remedy("put-back", "weight == 100")]))) == (
        "its goal `weight == 100` holds already"
    )


def test_a_target_that_the_service_lacks_makes_its_operators_unusable() -> None:
    bare = CART.model_copy(update={"targets": [TargetRef(driver="haproxy", target="be_cart")]})
    assert why_not(course(ROLLING, cart=bare)).endswith(
        "; `restart` cannot be used: `cart` has no target of driver `supervisord` and role `stable`"
    )


def test_a_variable_without_a_value_is_why_not() -> None:
    why = why_not(course(ROLLING, observed("haproxy", "be_cart", servers="a")))
    assert why == "`weight` is not known: no target of driver `haproxy` states `percent.a` as int"


def test_a_default_stands_where_the_state_says_nothing() -> None:
    known = [ROLLING.variables[0].model_copy(update={"default": 100}), ROLLING.variables[1]]
    assert len(plan_of(with_changes(ROLLING, variables=known), observed("haproxy", "be_cart", servers="a")).steps) == 3


def test_a_search_that_grows_too_large_is_given_up() -> None:
    counters = [f"step_{number}" for number in range(16)]
    variables = [ROLLING.variables[1].model_copy(update={"name": name}) for name in counters]
    operators = [operator(name.replace("_", "-"), "ready", effects={name: "true"}) for name in counters]
    large = remedy("large", " && ".join(counters), max_steps=20)
    catalogue = RemedyCatalogue(name="large", variables=variables, operators=operators, remedies=[large])
    assert why_not(course(catalogue)).startswith(f"gave up after {MOST_STATES} states")


def test_an_expression_that_fails_in_a_search_is_why_not() -> None:
    faulty = [one.model_copy(update={"precondition": "1 / weight > 0"}) for one in ROLLING.operators]
    drained = observed("haproxy", "be_cart", percent__a="0")
    assert why_not(course(with_changes(ROLLING, operators=faulty), drained)).startswith("error: `1 / weight > 0`")


# -- what a plan comes to ---------------------------------------------------------------------------------------------


def test_what_changes_declared_state_without_a_compensation_is_not_reversible() -> None:
    bare = [one.model_copy(update={"compensation": None}) for one in ROLLING.operators]
    assert not plan_of(with_changes(ROLLING, operators=bare)).reversible
    final = [one.model_copy(update={"reversible": one.name != "restart"}) for one in ROLLING.operators]
    assert not plan_of(with_changes(ROLLING, operators=final)).reversible


def test_a_plan_is_at_least_as_risky_as_its_remedy_says() -> None:
    risky = [ROLLING.remedies[0].model_copy(update={"risk_class": RiskClass.HIGH})]
    assert plan_of(with_changes(ROLLING, remedies=risky)).risk_class == RiskClass.HIGH


def test_the_cheapest_way_is_taken_and_then_the_first_by_name() -> None:
    twin = ROLLING.operators[2].model_copy(update={"name": "a-drain", "verb": "set_weight"})
    assert plan_of(with_changes(ROLLING, operators=[*ROLLING.operators, twin])).steps[0].action.verb == "set_weight"
    dear = twin.model_copy(update={"cost": 2})
    assert plan_of(with_changes(ROLLING, operators=[*ROLLING.operators, dear])).steps[0].action.verb == "drain"


def test_the_digest_of_a_remedy_with_a_goal_is_also_of_what_it_rests_on() -> None:
    one = plan_of(ROLLING).remedy_digest
    assert plan_of(ROLLING).remedy_digest == one
    never = [RemedyConstraint(holds="weight >= 0", message="always so")]
    assert plan_of(with_changes(ROLLING, constraints=never)).remedy_digest != one
