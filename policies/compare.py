"""Two versions of policies over the same facts: where they differ, and because of which rules.

Bulk first; then every row on which they differ, and a sample of the others, is judged by the engine, once for each
different combination of the facts that matter. What is told rests on the engine's verdicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autopilot.policies.bulk import RULINGS, BitmapStore, BulkJudge, held_to_the_engine, looked_at, sample_of
from autopilot.policies.bundle import Ruling
from autopilot.policies.columns import FactTable
from autopilot.policies.engine import PolicySet, Verdict
from autopilot.policies.facts import BASELINE, FactSet, Value
from autopilot.schemas.events.policy import Obligation

SAMPLE: Final = 1_000
_STRICTNESS: Final = tuple(RULINGS)


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows on which two versions differ alike: the rulings, and the rules to which it is due."""

    before: Ruling
    after: Ruling
    rules: tuple[str, ...]
    """The stricter side's deciding rules; where only obligations differ, the rules that impose them."""
    rows: tuple[int, ...]
    reason: str
    """What the deciding rules say on the first of the rows."""
    facts: tuple[tuple[str, Value], ...]
    """The first row's facts that the rules look at, where they are not as in the baseline."""

    @property
    def flips(self) -> bool:
        """Whether the ruling differs, not only what is imposed."""
        return self.before is not self.after


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions over `rows` fact sets, `judged` of them by the engine as well."""

    rows: int
    judged: int
    differences: tuple[Difference, ...]

    @property
    def flipped(self) -> int:
        """Rows whose ruling differs."""
        return sum(len(each.rows) for each in self.differences if each.flips)


def compare(
    old: PolicySet, new: PolicySet, table: FactTable, store: BitmapStore | None = None, sample: int = SAMPLE
) -> Comparison:
    """Compares two versions. Raises `MismatchError` when columns and engine disagree on a row that is looked at."""
    judge = BulkJudge(table, store)
    rows = judge.differing(old, new)
    looked = np.union1d(rows, sample_of(table.rows, sample)).astype(np.intp)
    judged = 0
    for policies in (old, new):
        judged = max(judged, held_to_the_engine(table, policies, judge.rulings(policies), looked))
    return Comparison(table.rows, judged, tuple(_grouped(old, new, table, rows)))


def _grouped(old: PolicySet, new: PolicySet, table: FactTable, rows: NDArray[np.intp]) -> list[Difference]:
    names = looked_at([old, new])
    different, which = table.take(rows).combinations(names)
    groups: dict[tuple[Ruling, Ruling, tuple[str, ...]], tuple[list[int], str, dict[str, Value]]] = {}
    for index, values in enumerate(different):
        facts = FactSet.of({**BASELINE, **values})
        before, after = old.judge(facts), new.judge(facts)
        if same(before, after):
            continue
        rules, reason = responsible(before, after)
        special = {name: value for name, value in values.items() if value != BASELINE[name]}
        found = groups.setdefault((before.ruling, after.ruling, rules), ([], reason, special))
        found[0].extend(rows[which == index].tolist())
    order = sorted(groups.items(), key=lambda item: (-len(item[1][0]), item[0]))
    return [
        Difference(*key, tuple(sorted(found)), reason, tuple(values.items()))
        for key, (found, reason, values) in order
    ]  # fmt: skip


def same(before: Verdict, after: Verdict) -> bool:
    """Whether two verdicts come to the same: the ruling, and what is imposed where it is not a denial."""
    if before.ruling is not after.ruling:
        return False
    return before.ruling is Ruling.DENY or _plain(before.obligations) == _plain(after.obligations)


def responsible(before: Verdict, after: Verdict) -> tuple[tuple[str, ...], str]:
    """The rules to which a difference is due, and what they say: those that decide on the stricter side.

    Where only obligations differ, the rules that hold on one side alone.
    """
    if before.ruling is after.ruling:
        one, other = (
            {outcome.rule: outcome.message for outcome in verdict.fired if outcome.effect == "obligate"}
            for verdict in (before, after)
        )
        apart = sorted(one.keys() ^ other.keys()) or sorted(one)
        return tuple(apart), "; ".join(f"{name}: {(one | other)[name]}" for name in apart)
    stricter = max((before, after), key=lambda verdict: _STRICTNESS.index(verdict.ruling))
    return tuple(sorted(stricter.decisive)), stricter.reason


def _plain(obligations: Sequence[Obligation]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    return sorted((each.name, tuple(sorted(each.parameters.items()))) for each in obligations)
