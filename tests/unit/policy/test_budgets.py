"""Budgets: folds over the log with rolling windows, to the unit."""

from typing import Any

from policy_bundles import PERMIT, bundle, rule
from policy_world import in_force, plan
from scenario import START_US, Scenario

from autopilot.agents.policy.budgets import NO_BUDGET, balance
from autopilot.schemas.configuration import BudgetUnit, RiskBudget
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, ExecutionStarted
from autopilot.schemas.events.planner import PlanWithdrawn, RiskClass
from autopilot.schemas.events.policy import PlanAuthorized, PlanDenied

HOLDS = bundle(
    PERMIT,
    rule("spent", "deny", "risk_budget_left < 1", message="again in {budget_refill_ms} ms"),
    rule("failing", "deny", "failure_budget_left < 1"),
)


def budget(name: str = "b", limit: int = 2, **more: Any) -> RiskBudget:
    return RiskBudget(**{"name": name, "limit": limit, "window_ms": 600_000, **more})


def seen(scenario: Scenario, **more: Any) -> dict[str, Any]:
    """The facts that the next decision sees."""
    (draft,) = scenario.when(plan(f"plan-{scenario.offset}", **more)).drafts()
    assert isinstance(draft.payload, PlanAuthorized | PlanDenied)
    return {fact.name: fact.value for fact in draft.payload.decision.facts}


def test_without_budgets_nothing_is_limited() -> None:
    facts = seen(in_force(HOLDS))
    assert (facts["risk_budget_left"], facts["failure_budget_left"], facts["budget_refill_ms"]) == (
        NO_BUDGET, NO_BUDGET, 0,
    )  # fmt: skip


def test_each_authorisation_spends_and_the_spent_budget_says_when_it_refills() -> None:
    scenario = in_force(HOLDS, budgets=[budget()])
    assert [seen(scenario)["risk_budget_left"] for _ in range(2)] == [2, 1]
    scenario.after(seconds=100)
    denied = scenario.when(plan("third")).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "spent: again in 500000 ms"
    scenario.after(seconds=499)
    scenario.when(plan("fourth")).then(PlanDenied)
    scenario.after(seconds=1).when(plan("fifth")).then(PlanAuthorized)


def test_a_denial_spends_nothing_and_an_unused_authorisation_is_refunded() -> None:
    scenario = in_force(HOLDS, budgets=[budget(limit=1)]).events(plan("one"))
    scenario.when(plan("two")).then(PlanDenied)
    scenario.events(PlanWithdrawn(plan_id="one", incident_id="inc", reason="r"))
    scenario.when(plan("three")).then(PlanAuthorized)


def test_costs_are_counted_in_points_and_what_is_left_in_plans() -> None:
    scenario = in_force(HOLDS, budgets=[budget(limit=10, unit=BudgetUnit.COST)])
    assert seen(scenario, cost=4)["risk_budget_left"] == 2
    assert seen(scenario, cost=4)["risk_budget_left"] == 1
    assert seen(scenario, cost=4)["risk_budget_left"] == 0
    assert seen(scenario, cost=2)["risk_budget_left"] == 1


def test_a_budget_covers_its_risk_classes_and_domains_and_the_tightest_counts() -> None:
    high = budget("high", limit=0, risk_classes=[RiskClass.HIGH])
    other = budget("other", limit=0, domains=["elsewhere"])
    scenario = in_force(HOLDS, budgets=[high, other, budget("wide", limit=5), budget("tight", limit=3)])
    assert seen(scenario)["risk_budget_left"] == 3
    assert seen(scenario, risk=RiskClass.HIGH)["risk_budget_left"] == 0


def test_failures_spend_the_failure_budget_once_for_each_execution() -> None:
    scenario = in_force(HOLDS, budgets=[budget(limit=2, unit=BudgetUnit.FAILURES)])
    for number in (1, 2):
        names = {"execution_id": f"exe-{number}", "plan_id": f"p{number}", "incident_id": "inc"}
        scenario.events(plan(f"p{number}"), ExecutionStarted(**names, decision_id="d", steps=1))
        scenario.events(
            ExecutionFailed(**names, reason="r", needs_person=False), ExecutionRolledBack(**names, reason="r")
        )
    facts = seen(scenario)
    assert facts["failure_budget_left"] == 0
    assert facts["budget_refill_ms"] == 600_000
    scenario.after(seconds=600)
    assert seen(scenario)["failure_budget_left"] == 2


def test_a_balance_names_who_spent_it_and_when_it_comes_back() -> None:
    rolling = budget(limit=5)
    scenario = in_force(HOLDS, budgets=[rolling]).events(plan("one")).after(seconds=60).events(plan("two"))
    now = balance(rolling, scenario.state.ledger, "shop", scenario.state.now_us)
    assert (now.spent, now.remaining, now.unit) == (2, 3, "actions")
    assert now.refills_at_us == START_US + 600_000_000
    assert [(each.service, each.at_us) for each in now.spenders] == [
        ("checkout", START_US), ("checkout", START_US + 60_000_000),
    ]  # fmt: skip
    elsewhere = balance(rolling, scenario.state.ledger, "elsewhere", scenario.state.now_us)
    assert (elsewhere.spent, elsewhere.refills_at_us) == (0, 0)


def test_spending_is_remembered_as_long_as_the_longest_window() -> None:
    day = budget(window_ms=86_400_000, limit=1)
    scenario = in_force(HOLDS, budgets=[day]).events(plan("one")).after(seconds=7_200)
    scenario.when(plan("two")).then(PlanDenied)
    assert in_force(HOLDS).events(plan("one")).after(seconds=3_600).state.ledger.spendings["shop"] == []
