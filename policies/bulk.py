"""Many decisions at once: the rulings of bundles over a table of facts, from one bitmap for each rule.

A bitmap is kept under what it follows from: the condition, the values of its parameters, the engine, the facts schema
and the table. An edit of one rule therefore calculates one bitmap. Bits are packed, eight rows to a byte, and the
bundle's meaning (`autopilot.policies.engine`) is a few operations on whole bitmaps.

Nothing here decides: a bulk result is held against the engine on every row that flips and on a sample of all others
(`held_to_the_engine`), and a single difference is an error.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autopilot.policies.bundle import Effect, PolicyBundle, Rule, Ruling
from autopilot.policies.cel_engine import PolicyEngine, names_in
from autopilot.policies.columnar import Answers, answers, columnar
from autopilot.policies.columns import FactTable
from autopilot.policies.engine import ENGINE, PolicySet
from autopilot.policies.facts import BASELINE, FACTS_VERSION, SPECS, FactSet, Value
from autopilot.policies.obligations import APPROVAL
from autopilot.schemas.configuration import canonical
from autopilot.schemas.identity import digest_of

Bits = NDArray[np.uint8]
RULINGS: Final = (Ruling.ALLOW, Ruling.NEEDS_APPROVAL, Ruling.DENY)
"""What the codes of `Rulings.codes` stand for."""
_BUILT_IN: Final = 'halted || !service_known || remedy_autonomy == "observe" || remedy_autonomy == "recommend"'


class MismatchError(RuntimeError):
    """The columns and the engine disagree: a fault of ours, and nothing that was calculated may be used."""


@dataclass(frozen=True, slots=True)
class Bitmap:
    """One rule over one table: where it holds and where it errs, packed; `errs` is None where it never does."""

    holds: Bits
    errs: Bits | None


BitmapStore = MutableMapping[str, Bitmap]


@dataclass(frozen=True, slots=True)
class Rulings:
    """Rulings for every row, packed: where it is denied and where approval is needed.

    `unsure` marks rows that only the engine can tell, since the group that may approve depends on the facts.
    """

    rows: int
    denied: Bits
    asking: Bits
    unsure: Bits | None = None

    @property
    def codes(self) -> NDArray[np.uint8]:
        """An index into `RULINGS` for each row; rows that are unsure count as denied."""
        denied = self._plain(self.denied if self.unsure is None else self.denied | self.unsure)
        codes: NDArray[np.uint8] = np.where(denied, 2, self._plain(self.asking)).astype(np.uint8)
        return codes

    def differing(self, other: "Rulings") -> NDArray[np.intp]:
        """The rows on which two rulings differ, or on which one of them is unsure."""
        bits = (self.denied ^ other.denied) | (self.asking ^ other.asking)
        for unsure in (self.unsure, other.unsure):
            bits = bits if unsure is None else bits | unsure
        return np.flatnonzero(self._plain(bits))

    def count(self) -> dict[Ruling, int]:
        """How many rows have each ruling; rows that are unsure count as denied."""
        return {ruling: int(n) for ruling, n in zip(RULINGS, np.bincount(self.codes, minlength=3), strict=True)}

    def _plain(self, bits: Bits) -> NDArray[np.uint8]:
        return np.unpackbits(bits, count=self.rows)


class BulkJudge:
    """Judges all rows of one table. Keeps bitmaps in `store`; drop it, or share it, as suits."""

    def __init__(self, table: FactTable, store: BitmapStore | None = None, engine: PolicyEngine = ENGINE) -> None:
        self.table = table
        self._store: BitmapStore = {} if store is None else store
        self._engine = engine

    def rulings(self, policies: PolicySet) -> Rulings:
        """What the bundles say of every row: the meaning of `PolicySet.judge`, without traces."""
        if policies.broken or not policies.bundles:
            return Rulings(self.table.rows, self._ones(), self._zeros())
        denied = self._bitmap(_BUILT_IN, {}).holds.copy()
        asking, groups = self._zeros(), dict[str, Bits]()
        for each in policies.bundles:
            permitted = self._zeros()
            for rule in each.bundle.rules:
                bitmap = self.bitmap(rule, each.params)
                if bitmap.errs is not None:
                    denied |= bitmap.errs
                if rule.effect is Effect.DENY:
                    denied |= bitmap.holds
                elif rule.effect is Effect.PERMIT:
                    permitted |= bitmap.holds
                elif rule.obligation is not None and rule.obligation.name == APPROVAL:
                    self._ask(rule.obligation.parameters, bitmap.holds, asking, groups)
            denied |= ~permitted
        clashing, unsure = self._clashes(groups)
        denied |= clashing
        if unsure is not None:
            unsure &= ~denied
        return Rulings(self.table.rows, denied, asking & ~denied, unsure)

    def obligations(self, policies: PolicySet) -> dict[str, Bits]:
        """For each obligation, as its rule states it, the rows on which it is imposed, whatever is denied besides."""
        found: dict[str, Bits] = {}
        for each in policies.bundles:
            for rule in each.bundle.rules:
                if rule.obligation is not None:
                    key = canonical(rule.obligation.model_dump(mode="json"))
                    holds = self.bitmap(rule, each.params).holds
                    found[key] = found[key] | holds if key in found else holds
        return found

    def differing(self, one: PolicySet, other: PolicySet) -> NDArray[np.intp]:
        """The rows on which two sets of bundles differ in their ruling, or in what they impose where not denied.

        Rows of which the columns are unsure are among them.
        """
        here, there = self.rulings(one), self.rulings(other)
        imposed, imposed_there = self.obligations(one), self.obligations(other)
        apart = self._zeros()
        for key in {**imposed, **imposed_there}:
            apart |= imposed.get(key, self._zeros()) ^ imposed_there.get(key, self._zeros())
        apart &= ~here.denied & ~there.denied
        rows = np.flatnonzero(np.unpackbits(apart, count=self.table.rows))
        return np.union1d(here.differing(there), rows)

    def bitmap(self, rule: Rule, params: Mapping[str, Value]) -> Bitmap:
        """The bitmap of one rule."""
        used = {name: params[name] for name in names_in(rule.when) if name in params}
        return self._bitmap(rule.when, used)

    def _ask(self, parameters: Mapping[str, int | str], holds: Bits, asking: Bits, groups: dict[str, Bits]) -> None:
        asking |= holds & self._bitmap(f"approvals_granted < {parameters['needed']}", {}).holds
        group = str(parameters["group"])
        groups[group] = groups[group] | holds if group in groups else holds

    def _clashes(self, groups: Mapping[str, Bits]) -> tuple[Bits, Bits | None]:
        """Where two groups are asked at once, and where that depends on the facts that a group's name is made of."""
        seen, clashing = self._zeros(), self._zeros()
        for holds in groups.values():
            clashing |= seen & holds
            seen |= holds
        if any("{" in group for group in groups):
            return self._zeros(), clashing
        return clashing, None

    def _bitmap(self, source: str, params: Mapping[str, Value]) -> Bitmap:
        key = digest_of("\n".join((self._engine.identity, str(FACTS_VERSION), canonical(dict(params)), source))
                        + self.table.digest)  # fmt: skip
        found = self._store.get(key)
        if found is None:
            found = self._store[key] = packed(answers(source, params, self.table, self._engine))
        return found

    def _zeros(self) -> Bits:
        return np.zeros((self.table.rows + 7) // 8, np.uint8)

    def _ones(self) -> Bits:
        return ~self._zeros()


def packed(found: Answers) -> Bitmap:
    """Answers as packed bits; the bits past the last row are 0."""
    errs = None if found.errs is None or not found.errs.any() else np.packbits(found.errs)
    return Bitmap(np.packbits(found.holds), errs)


def columnar_rules(bundle: PolicyBundle) -> tuple[list[str], list[str]]:
    """The ids of the rules that are answered over columns, and of those that are left to the engine."""
    params = bundle.values()
    by_columns = [rule.id for rule in bundle.rules if columnar(rule.when, params)]
    return by_columns, [rule.id for rule in bundle.rules if rule.id not in by_columns]


def looked_at(policies: Iterable[PolicySet]) -> list[str]:
    """The facts on which the rulings of those bundles depend, in canonical order."""
    used = {"halted", "service_known", "remedy_autonomy", "approvals_granted"}
    for each in policies:
        for compiled in each.bundles:
            for rule in compiled.bundle.rules:
                used.update(names_in(rule.when))
                used.update(name for name in SPECS if any(f"{{{name}}}" in text for _, text in rule.templates()[1:]))
    return [name for name in SPECS if name in used]


def held_to_the_engine(table: FactTable, policies: PolicySet, rulings: Rulings, rows: NDArray[np.intp]) -> int:
    """Judges those rows by the engine and compares; gives how many different fact sets that took.

    Rows that are alike in every fact that a ruling depends on are judged once. Raises `MismatchError`.
    """
    part = table.take(rows)
    names = looked_at([policies])
    different, which = part.combinations(names)
    judged = np.fromiter(
        (RULINGS.index(policies.judge(FactSet.of({**BASELINE, **values})).ruling) for values in different),
        np.uint8,
        len(different),
    )
    unsure = np.zeros(len(rows), np.bool_)
    if rulings.unsure is not None:
        unsure = np.unpackbits(rulings.unsure, count=rulings.rows)[rows].astype(np.bool_)
    wrong = np.flatnonzero((judged[which] != rulings.codes[rows]) & ~unsure)
    if len(wrong):
        row = int(wrong[0])
        raise MismatchError(
            f"row {rows[row]}: the engine says {RULINGS[judged[which[row]]]}, the columns say"
            f" {RULINGS[rulings.codes[rows[row]]]}, on {different[which[row]]}"
        )
    return len(different)


def sample_of(rows: int, most: int) -> NDArray[np.intp]:
    """At most `most` rows, evenly spread."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.intp)) if rows else np.zeros(0, np.intp)
