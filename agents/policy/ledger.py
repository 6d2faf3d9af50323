"""History and budgets: folds over the log with rolling windows, bounded by them.

What happened in the last 24 hours, for each service, and what was authorised in the last hour, for each domain. Since
they are folds, a restart or a rebuild gives the same figures.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from autopilot.agents.policy.standing import MINUTE_US
from autopilot.policies.facts import Value

HISTORY_US: Final = 24 * 60 * MINUTE_US
BUDGET_US: Final = 60 * MINUTE_US


class Happening(StrEnum):
    """What a history is made of."""

    STARTED = "started"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Entry:
    """One thing that happened to a service."""

    at_us: int
    what: Happening
    execution_id: str


@dataclass(frozen=True)
class Spending:
    """One plan authorised in a domain: who spent the budget, and on what."""

    at_us: int
    decision_id: str
    service: str
    risk_class: str


@dataclass
class Ledger:
    """Histories by service and spending by domain, oldest first."""

    histories: dict[str, list[Entry]] = field(default_factory=dict)
    spendings: dict[str, list[Spending]] = field(default_factory=dict)

    def happened(self, service: str, what: Happening, execution_id: str, at_us: int) -> None:
        """Notes it, once for each execution: a rejected execution that is rolled back has not failed as well."""
        entries = self.histories.setdefault(service, [])
        ended = (Happening.FAILED, Happening.REJECTED)
        clashing = ended if what in ended else (what,)
        if not any(entry.execution_id == execution_id and entry.what in clashing for entry in entries):
            entries.append(Entry(at_us, what, execution_id))

    def spend(self, domain: str, spending: Spending) -> None:
        """Notes an authorisation."""
        self.spendings.setdefault(domain, []).append(spending)

    def refund(self, domain: str, decision_id: str) -> None:
        """Takes back an authorisation that was revoked before anything began."""
        self.spendings[domain] = [each for each in self.spendings.get(domain, []) if each.decision_id != decision_id]

    def forget(self, now_us: int) -> None:
        """Drops what has left its window."""
        for service in [name for name, entries in self.histories.items() if entries[0].at_us <= now_us - HISTORY_US]:
            self.histories[service] = [e for e in self.histories[service] if e.at_us > now_us - HISTORY_US]
        for domain, spent in self.spendings.items():
            if spent and spent[0].at_us <= now_us - BUDGET_US:
                self.spendings[domain] = [each for each in spent if each.at_us > now_us - BUDGET_US]
        for service in [name for name, entries in self.histories.items() if not entries]:
            del self.histories[service]

    def facts(self, service: str, domain: str, now_us: int) -> dict[str, Value]:
        """The facts of history and budgets."""
        entries = [entry for entry in self.histories.get(service, []) if entry.at_us > now_us - HISTORY_US]
        started = [entry.at_us for entry in entries if entry.what is Happening.STARTED]
        spent = [each for each in self.spendings.get(domain, []) if each.at_us > now_us - BUDGET_US]
        return {
            "history_attempts": len(started),
            "history_failures": sum(entry.what is Happening.FAILED for entry in entries),
            "history_rejections": sum(entry.what is Happening.REJECTED for entry in entries),
            "history_minutes_since_last_action": max(now_us - started[-1], 0) // MINUTE_US if started else -1,
            "budget_actions_last_hour": len(spent),
        }
