"""Fact sets made from bundles: values at and beside every threshold, so that every rule is met on both sides.

`thresholds` gives for each fact the values that matter to the rules. `generated` draws rows from them, a share of the
rows for each rule and each of its answers, the same ones for the same seed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autopilot.policies.bundle import PolicyBundle
from autopilot.policies.cel_engine import PolicyEngine, names_in
from autopilot.policies.cel_syntax import OutsideError, atoms_of, parsed
from autopilot.policies.columnar import answers
from autopilot.policies.columns import FactTable, Texts, narrowed
from autopilot.policies.engine import ENGINE
from autopilot.policies.facts import FACTS, SPECS, FactSpec, Value

_TRIED: Final = 4_096
"""Rows drawn for one rule, among which those of each answer are taken."""
_CALM: Final = 4
"""In one row of so many, also the facts that a rule does not look at are away from the baseline."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition and the values of the parameters of its bundle."""

    source: str
    params: Mapping[str, Value]


def conditions_of(bundles: Iterable[PolicyBundle]) -> list[Condition]:
    """The conditions of all rules, in order."""
    return [Condition(rule.when, bundle.values()) for bundle in bundles for rule in bundle.rules]


def thresholds(conditions: Sequence[Condition], *, made_up: bool = True) -> dict[str, list[Value]]:
    """For each fact, the values that matter to the conditions: constants and their neighbours, bounds, choices.

    `made_up` adds texts that no condition names, so that there is one for which none of them holds.
    """
    found: dict[str, list[Value]] = {spec.name: [] for spec in FACTS}
    for condition in conditions:
        for names, constants in _constants(condition):
            for name in names:
                if name in found:
                    found[name] += constants
    return {spec.name: _values(spec, found[spec.name], made_up) for spec in FACTS}


def _constants(condition: Condition) -> Iterator[tuple[Iterable[str], list[Value]]]:
    """For each comparison the names in it, and the constants; of a condition that is not looked into, its params."""
    params = condition.params
    try:
        atoms = list(atoms_of(parsed(condition.source)))
    except OutsideError:
        names = names_in(condition.source)
        yield names, [params[name] for name in names if name in params]
        return
    for atom in atoms:
        plain = [node for node in atom.walk() if atom.text != "matches" and not node.parts]
        constants = [node.value if node.kind == "value" else params.get(node.text) for node in plain]
        yield atom.names(), [value for value in constants if value is not None]


def _values(spec: FactSpec, constants: Iterable[Value], made_up: bool) -> list[Value]:
    if spec.type is bool:
        return [spec.example, not spec.example]
    if spec.type is str:
        texts = [text for text in constants if isinstance(text, str)]
        more = [*(f"{spec.example},{text}" for text in texts), "", "é"] if made_up else []
        among: list[Value] = list(spec.choices) or [spec.example, *texts, *more]
        return list(dict.fromkeys(among))
    numbers = [n for n in constants if type(n) is int]
    near = [n + d for n in (*numbers, spec.low, spec.high, int(spec.example), 0) for d in (-1, 0, 1)]
    return list(dict.fromkeys([spec.example, *sorted(n for n in set(near) if spec.low <= n <= spec.high)]))


def generated(
    bundles: Sequence[PolicyBundle], count: int, seed: int = 1, engine: PolicyEngine = ENGINE
) -> FactTable:  # fmt: skip
    """`count` rows, shared out evenly over the rules and the answers that each can give. The same for the same seed."""
    conditions = conditions_of(bundles)
    pools = thresholds(conditions)
    parts: list[dict[str, NDArray[np.int64]]] = []
    share = max(1, count // len(conditions))
    for index, condition in enumerate(conditions):
        drawn = _drawn(pools, names_in(condition.source), max(_TRIED, share), seed * 10_007 + index)
        found = answers(condition.source, condition.params, _table(pools, drawn), engine)
        errs = np.zeros(len(found.holds), np.bool_) if found.errs is None else found.errs
        strata = [np.flatnonzero(mask) for mask in (found.holds, errs, ~found.holds & ~errs)]
        strata = [rows for rows in strata if len(rows)]
        taken = np.concatenate([np.resize(rows, -(-share // len(strata))) for rows in strata])
        parts.append({name: codes[taken] for name, codes in drawn.items()})
    mixed = _drawn(pools, list(SPECS), count, seed * 10_007 - 1)
    joined = {name: np.concatenate([*(part[name] for part in parts), mixed[name]])[:count] for name in SPECS}
    return _table(pools, joined)


def _drawn(
    pools: Mapping[str, list[Value]], names: Sequence[str], count: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Indices into the pools, for every fact. Facts that are not among `names` mostly stay at the baseline, index 0."""
    rows = np.arange(count, dtype=np.uint64)
    stirred = _scattered(rows, seed) % _CALM == 0
    drawn: dict[str, NDArray[np.int64]] = {}
    for number, (name, pool) in enumerate(pools.items()):
        codes = (_scattered(rows, seed * 131 + number + 1) % np.uint64(len(pool))).astype(np.int64)
        drawn[name] = codes if name in names else np.where(stirred, codes, pool.index(SPECS[name].example))
    return drawn


def _scattered(rows: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea, Flood 2014) of a counter: the same numbers everywhere, without state."""
    z = (rows + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed * 0xD1342543DE82EF95 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _table(pools: Mapping[str, list[Value]], drawn: Mapping[str, NDArray[np.int64]]) -> FactTable:
    def plain(kind: type) -> dict[str, NDArray[np.int64]]:
        return {s.name: np.array(list(map(int, pools[s.name])))[drawn[s.name]] for s in FACTS if s.type is kind}

    texts = {
        s.name: Texts(drawn[s.name].astype(np.int32), tuple(str(text) for text in pools[s.name]))
        for s in FACTS
        if s.type is str
    }
    rows = len(next(iter(drawn.values())))
    return FactTable(
        rows,
        {name: narrowed(c) for name, c in plain(int).items()},
        {name: c.astype(np.bool_) for name, c in plain(bool).items()},
        texts,
    )
