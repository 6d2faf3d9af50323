"""`autopilot budgets`: what is left to be risked."""

from autopilot.agents.policy.budgets import Balance, balance
from autopilot.infra.cli.output import AsJson, date_time, print_json, print_table
from autopilot.infra.cli.saying import cluster_of
from autopilot.infra.governance import Cluster, place_of, view_of
from autopilot.infra.settings import Settings


def budgets(as_json: AsJson = False) -> None:
    """Show what is left of each risk and failure budget, who spent it, and when it comes back.

    Example: autopilot budgets --json
    """
    rows = balances(cluster_of(Settings()))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("budget", "domain", "unit", "limit", "spent", "left", "refills (UTC)", "spent by"),
        (
            (
                row.budget,
                row.domain,
                row.unit,
                row.limit,
                row.spent,
                row.remaining,
                date_time(row.refills_at_us // 1_000) if row.refills_at_us else "",
                ", ".join(f"{each.service} {each.amount} ({each.cause})" for each in row.spenders),
            )
            for row in rows
        ),
        "no budget is in force; a document of kind RiskBudgets brings some",
    )


def balances(cluster: Cluster) -> list[Balance]:
    """Every budget in every domain that it covers, at the last second that the log has."""
    rows = []
    for partition in range(cluster.partitions):
        state = view_of(cluster, partition).state
        domains = {domain.name for fleet in state.configuration.fleets() for domain in fleet.domains}
        here = [name for name in domains if place_of(state.configuration, name, cluster.partitions) == partition]
        for domain in sorted(here):
            rows += [
                balance(budget, state.ledger, domain, state.now_us)
                for budget in state.configuration.budgets()
                if not budget.domains or domain in budget.domains
            ]
    return rows
