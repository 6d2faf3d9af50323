"""History and budgets: folds over the log with rolling windows, bounded by them.

What happened in the last 24 hours, for each service; what was authorised and what failed, for each domain, within the
longest window of the budgets in force and at least an hour. Since they are folds, a restart or a rebuild gives the same
figures.
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
    """One plan authorised in a domain, or one execution that failed: who spent the budget, and on what."""

    at_us: int
    decision_id: str
    """The decision; of a failure the execution."""
    service: str
    risk_class: str
    cost: int = 1


@dataclass
class Ledger:
    """Histories by service, spending and failures by domain, oldest first."""

    histories: dict[str, list[Entry]] = field(default_factory=dict)
    spendings: dict[str, list[Spending]] = field(default_factory=dict)
    failures: dict[str, list[Spending]] = field(default_factory=dict)

    def happened(self, service: str, what: Happening, execution_id: str, at_us: int) -> bool:
        """Notes it, once for each execution: a rejected execution that is rolled back has not failed as well.

        False when it was noted before.
        """
        entries = self.histories.setdefault(service, [])
        ended = (Happening.FAILED, Happening.REJECTED)
        clashing = ended if what in ended else (what,)
        if any(entry.execution_id == execution_id and entry.what in clashing for entry in entries):
            return False
        entries.append(Entry(at_us, what, execution_id))
        return True

    def spend(self, domain: str, spending: Spending) -> None:
        """Notes an authorisation."""
        self.spendings.setdefault(domain, []).append(spending)

    def fail(self, domain: str, failure: Spending) -> None:
        """Notes an execution that failed or did not help."""
        self.failures.setdefault(domain, []).append(failure)

    def refund(self, domain: str, decision_id: str) -> None:
        """Takes back an authorisation that was revoked before anything began."""
        self.spendings[domain] = [each for each in self.spendings.get(domain, []) if each.decision_id != decision_id]

    def without(self, decision_id: str, execution_id: str) -> "Ledger":
        """The ledger as if that plan had not been authorised, nor that execution begun: to judge it once more."""
        histories = {
            service: [entry for entry in entries if entry.execution_id != execution_id]
            for service, entries in self.histories.items()
        }
        spendings = {
            domain: [each for each in spent if each.decision_id != decision_id]
            for domain, spent in self.spendings.items()
        }
        return Ledger(histories, spendings, self.failures)

    def forget(self, now_us: int, window_us: int = BUDGET_US) -> None:
        """Drops what has left its window; `window_us` is the longest of the budgets."""
        for service in [name for name, entries in self.histories.items() if entries[0].at_us <= now_us - HISTORY_US]:
            self.histories[service] = [e for e in self.histories[service] if e.at_us > now_us - HISTORY_US]
        for book in (self.spendings, self.failures):
            for domain, spent in book.items():
                if spent and spent[0].at_us <= now_us - window_us:
                    book[domain] = [each for each in spent if each.at_us > now_us - window_us]
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
