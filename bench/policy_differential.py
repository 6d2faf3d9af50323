"""Three evaluators over the same fact sets: CEL in C++, CEL in Rust, and columns. They must never disagree.

`python -m bench.policy_differential` judges 100,000 fact sets for each bundle and prints what it found.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cel
import numpy as np

from autopilot.policies.bulk import columnar_rules
from autopilot.policies.bundle import PolicyBundle
from autopilot.policies.bundle_file import parse_bundle
from autopilot.policies.columnar import answers
from autopilot.policies.columns import FactTable
from autopilot.policies.engine import ENGINE, CompiledBundle
from autopilot.policies.fact_sets import generated
from autopilot.policies.facts import Value

ROOT: Final = Path(__file__).parents[1]
SHIPPED: Final = ("policies/bundles/default.yaml", "examples/shop/policies/shop.yaml")
FULL: Final = 100_000
ERRING: Final = """
kind: PolicyBundle
name: erring
version: "1"
description: Conditions that err, overflow or are decided although a part errs.
facts: 1
params:
  zero: {value: 0, description: a divisor}
  big: {value: 9007199254740992, description: 2 to the 53}
  pattern: {value: "^supervisord[.]re", description: a pattern}
rules:
  - {id: divides, effect: deny, when: plan_cost / history_attempts > 1, message: m}
  - {id: remainder, effect: deny, when: plan_cost % history_attempts == 1, message: m}
  - {id: always-errs, effect: deny, when: plan_cost / params.zero > 1, message: m}
  - {id: truncates, effect: deny, when: history_minutes_since_last_action / 2 == 0, message: m}
  - {id: truncates-remainder, effect: deny, when: history_minutes_since_last_action % 7 == -1, message: m}
  - {id: absorbed-or, effect: deny, when: plan_cost / history_attempts > 1 || telemetry_lost, message: m}
  - {id: absorbed-or-first, effect: deny, when: telemetry_lost || plan_cost / history_attempts > 1, message: m}
  - {id: absorbed-and, effect: permit, when: plan_cost / history_attempts > 1 && breaker_open, message: m}
  - {id: absorbed-and-first, effect: permit, when: breaker_open && plan_cost / history_attempts > 1, message: m}
  - {id: negated, effect: deny, when: "!(plan_cost / history_attempts > 1 && halted)", message: m}
  - {id: chosen, effect: deny, when: "breaker_open ? plan_cost / history_attempts > 1 : halted", message: m}
  - {id: chosen-by, effect: deny, when: "plan_cost / history_attempts > 1 ? halted : breaker_open", message: m}
  - {id: overflows, effect: deny, when: incident_age_ms * plan_cost > 5, message: m}
  - {id: overflows-by-param, effect: deny, when: incident_age_ms * params.big - 1 > 5, message: m}
  - {id: fits, effect: deny, when: incident_age_ms + params.big > 9007199254741000, message: m}
  - {id: product, effect: deny, when: plan_confidence_bp * telemetry_freshness_bp >= 50000000, message: m}
  - {id: negative, effect: deny, when: -history_minutes_since_last_action > -10, message: m}
  - {id: text-match, effect: permit, when: plan_actions.matches(params.pattern) && size(plan_actions) < 30, message: m}
  - {id: bad-pattern, effect: deny, when: 'plan_remedy.matches("(")', message: m}
  - {id: text-order, effect: deny, when: plan_remedy < "restart", message: m}
  - {id: two-texts, effect: deny, when: plan_remedy == service_name, message: m}
  - {id: same-bools, effect: deny, when: halted == breaker_open && halted != telemetry_lost, message: m}
  - {id: listed-numbers, effect: deny, when: "service_tier in [0, 2, plan_steps]", message: m}
  - {id: listed-texts, effect: permit, when: 'incident_severity in ["page", "ticket"]', message: m}
"""
"""Not a policy: what is hard to get right, and what a careful bundle avoids."""


class RustOracle:
    """The same conditions in the Rust implementation; an error is an error, whatever its text."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._programs = [cel.compile(source) for source in sources]

    def evaluate(self, values: Mapping[str, Value]) -> list[bool | None]:
        """For each condition whether it holds; None for an error."""
        flat: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
        flat["params"] = {name.split(".", 1)[1]: value for name, value in values.items() if "." in name}
        return [self._one(program, flat) for program in self._programs]

    def _one(self, program: Any, values: dict[str, Any]) -> bool | None:
        try:
            return bool(program.execute(values))
        except (ArithmeticError, RuntimeError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Compared:
    """What was found on one bundle. `held`, `erred` count for each rule the fact sets on which it did."""

    bundle: PolicyBundle
    rows: int
    disagreements: list[str]
    held: Mapping[str, int]
    erred: Mapping[str, int]
    took_s: float

    @property
    def columnar_share(self) -> float:
        """Share of the rules that columns answer without the engine's row by row."""
        return len(columnar_rules(self.bundle)[0]) / len(self.bundle.rules)


def bundles() -> Iterator[CompiledBundle]:
    """The shipped bundles, and the erring one."""
    for path in SHIPPED:
        yield parse_bundle((ROOT / path).read_text(encoding="utf-8"), path).compiled
    yield parse_bundle(ERRING, "erring").compiled


def compared(ready: CompiledBundle, count: int, seed: int = 1) -> Compared:
    """Judges `count` generated fact sets three times and compares every answer of every rule."""
    started = time.perf_counter()
    table = generated([ready.bundle], count, seed)
    rules = ready.bundle.rules
    by_column = [_three_valued(rule.when, ready, table) for rule in rules]
    rust = RustOracle([rule.when for rule in rules])
    disagreements: list[str] = []
    for row, values in enumerate(table):
        ours = [None if isinstance(answer, str) else answer for answer in ready.answers(values)]
        theirs = rust.evaluate({**values, **ready.params})
        columns = [column[row] for column in by_column]
        if not ours == theirs == columns:
            wrong = [rule.id for rule, *each in zip(rules, ours, theirs, columns, strict=True) if len({*each}) > 1]
            disagreements.append(f"{wrong} on {values}")
    return Compared(
        ready.bundle,
        table.rows,
        disagreements,
        {rule.id: column.count(True) for rule, column in zip(rules, by_column, strict=True)},
        {rule.id: column.count(None) for rule, column in zip(rules, by_column, strict=True)},
        time.perf_counter() - started,
    )


def _three_valued(source: str, ready: CompiledBundle, table: FactTable) -> list[bool | None]:
    found = answers(source, ready.params, table, ENGINE)
    errs = np.zeros(table.rows, np.bool_) if found.errs is None else found.errs
    return [None if err else hold for hold, err in zip(found.holds.tolist(), errs.tolist(), strict=True)]


def main() -> None:
    """Prints what was found; exit code 1 on any disagreement."""
    wrong = 0
    for ready in bundles():
        found = compared(ready, FULL)
        wrong += len(found.disagreements)
        never = [rule for rule, count in found.held.items() if not count]
        print(
            f"{found.bundle.title}: {found.rows:,} fact sets x {len(found.bundle.rules)} rules,"
            f" {len(found.disagreements)} disagreements, {found.columnar_share:.0%} of the rules by columns,"
            f" {sum(found.erred.values()):,} errors, never held: {never or 'none'}, {found.took_s:.0f} s"
        )
        for line in found.disagreements[:5]:
            print(f"  {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
