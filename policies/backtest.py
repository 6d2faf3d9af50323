"""A candidate over recorded decisions, first-order: each decision's facts are judged again alone.

Nothing that follows from another decision is followed here: budgets, attempts and history stay as recorded. The
sequential level (`autopilot.streams.what_if`) follows them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from autopilot.policies.bulk import RULINGS, BitmapStore, BulkJudge, held_to_the_engine, sample_of
from autopilot.policies.bundle import Ruling
from autopilot.policies.columns import FactTable
from autopilot.policies.compare import SAMPLE
from autopilot.policies.engine import PolicySet
from autopilot.policies.facts import FactSet
from autopilot.policies.recorded import RecordedDecision


class BacktestLevel(StrEnum):
    """What a backtest follows."""

    FIRST_ORDER = "first-order"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True)
class FlippedDecision:
    """A decision that a candidate would have made otherwise. `note` says what a reader must know of it."""

    incident_id: str
    plan_id: str
    decision_id: str
    domain: str
    service: str
    before: str
    after: str
    rules: tuple[str, ...]
    """The rules of the candidate that decide."""
    reason: str
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a baseline file accepts it by."""
        return self.decision_id or self.plan_id, self.before, self.after


@dataclass(frozen=True, slots=True)
class Backtest:
    """A backtest's result. `judged` is how many different fact sets the engine judged as well."""

    level: BacktestLevel
    candidate: str
    decisions: int
    flips: tuple[FlippedDecision, ...]
    judged: int
    completed: tuple[str, ...] = ()
    """Facts that some decisions were recorded without; their examples stand in."""

    def unaccepted(self, accepted: Iterable[tuple[str, str, str]]) -> list[FlippedDecision]:
        """The flips that are not among the accepted ones."""
        known = set(accepted)
        return [flip for flip in self.flips if flip.key not in known]


def first_order(
    candidate: PolicySet, decisions: Sequence[RecordedDecision], store: BitmapStore | None = None
) -> Backtest:
    """Judges every decision's facts under the candidate. Raises `MismatchError` when columns and engine disagree."""
    table = FactTable.of_checked([decision.facts for decision in decisions])
    rulings = BulkJudge(table, store).rulings(candidate)
    recorded = np.fromiter((RULINGS.index(each.ruling) for each in decisions), np.uint8, len(decisions))
    rows = np.flatnonzero(recorded != rulings.codes)
    if rulings.unsure is not None:
        rows = np.union1d(rows, np.flatnonzero(np.unpackbits(rulings.unsure, count=rulings.rows)))
    looked = np.union1d(rows, sample_of(len(decisions), SAMPLE)).astype(np.intp)
    judged = held_to_the_engine(table, candidate, rulings, looked)
    flips = [flip for row in rows.tolist() if (flip := _flip(candidate, decisions[row])) is not None]
    completed = tuple(dict.fromkeys(name for each in decisions for name in each.completed))
    return Backtest(BacktestLevel.FIRST_ORDER, candidate.title, len(decisions), tuple(flips), judged, completed)


def _flip(candidate: PolicySet, decision: RecordedDecision) -> FlippedDecision | None:
    verdict = candidate.judge(FactSet.of(decision.facts))
    if verdict.ruling is decision.ruling:
        return None
    eased = verdict.ruling is Ruling.ALLOW and decision.ruling is not Ruling.ALLOW
    return FlippedDecision(
        decision.incident_id,
        decision.plan_id,
        decision.decision_id,
        decision.domain,
        decision.service,
        decision.ruling,
        verdict.ruling,
        verdict.decisive,
        verdict.reason,
        "newly authorised: nothing is recorded of what it would have done" if eased else "",
    )
