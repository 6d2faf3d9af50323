"""Risk and failure budgets: what was spent within each rolling window, what is left, and when it comes back.

Everything follows from the ledger, which is a fold of the log, and from the budgets in force: a restart or a rebuild
gives the same figures to the unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autopilot.agents.policy.ledger import BUDGET_US, Ledger, Spending
from autopilot.policies.facts import Value
from autopilot.schemas.configuration import BudgetUnit, RiskBudget
from autopilot.schemas.events.planner import PlanProposed

NO_BUDGET: Final = 1_000_000
"""What is left where no budget covers a plan."""
_US_PER_MS: Final = 1_000


@dataclass(frozen=True)
class Spent:
    """One thing that was spent: who, when, how much, and when it leaves the window."""

    at_us: int
    back_at_us: int
    amount: int
    service: str
    cause: str
    """The decision that was authorised, or the execution that failed."""


@dataclass(frozen=True)
class Balance:
    """One budget in one domain at one time."""

    budget: str
    domain: str
    unit: str
    limit: int
    spent: int
    remaining: int
    refills_at_us: int
    """When the oldest thing that was spent comes back; 0 when nothing is spent."""
    window_ms: int
    spenders: tuple[Spent, ...]


def longest_window_us(budgets: Sequence[RiskBudget]) -> int:
    """How long spending must be remembered: an hour, or the longest window in force."""
    return max([BUDGET_US, *(budget.window_ms * _US_PER_MS for budget in budgets)])


def balance(budget: RiskBudget, ledger: Ledger, domain: str, now_us: int) -> Balance:
    """The balance of a budget in a domain."""
    window_us = budget.window_ms * _US_PER_MS
    counted = [
        Spent(each.at_us, each.at_us + window_us, _amount(budget, each), each.service, each.decision_id)
        for each in _source(budget, ledger, domain)
        if each.at_us > now_us - window_us and budget.covers(domain, each.risk_class)
    ]
    spent = sum(each.amount for each in counted)
    return Balance(
        budget=budget.name,
        domain=domain,
        unit=budget.unit.value,
        limit=budget.limit,
        spent=spent,
        remaining=max(budget.limit - spent, 0),
        refills_at_us=min((each.back_at_us for each in counted), default=0),
        window_ms=budget.window_ms,
        spenders=tuple(counted),
    )


def budget_facts(
    budgets: Sequence[RiskBudget], ledger: Ledger, domain: str, plan: PlanProposed, now_us: int
) -> dict[str, Value]:
    """The facts of budgets for a plan in a domain."""
    risk, failures, refill_us = [NO_BUDGET], [NO_BUDGET], 0
    for budget in budgets:
        if not budget.covers(domain, plan.risk_class.value):
            continue
        now = balance(budget, ledger, domain, now_us)
        price = max(plan.cost, 1) if budget.unit is BudgetUnit.COST else 1
        left = min(now.remaining // price, NO_BUDGET)
        (failures if budget.unit is BudgetUnit.FAILURES else risk).append(left)
        if left == 0:
            refill_us = max(refill_us, _affordable_at_us(now, price) - now_us)
    return {
        "risk_budget_left": min(risk),
        "failure_budget_left": min(failures),
        "budget_refill_ms": max(-(-refill_us // _US_PER_MS), 0),
    }


def _affordable_at_us(now: Balance, price: int) -> int:
    """When so much is left again; 0 when it never will be."""
    left = now.limit - now.spent
    for each in sorted(now.spenders, key=lambda one: one.back_at_us):
        left += each.amount
        if left >= price:
            return each.back_at_us
    return 0


def _source(budget: RiskBudget, ledger: Ledger, domain: str) -> Sequence[Spending]:
    book = ledger.failures if budget.unit is BudgetUnit.FAILURES else ledger.spendings
    return book.get(domain, ())


def _amount(budget: RiskBudget, each: Spending) -> int:
    return each.cost if budget.unit is BudgetUnit.COST else 1
