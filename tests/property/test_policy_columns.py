"""Columns answer as the engine does: on the shipped bundles, on a bundle made of pitfalls, and on any condition."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_bundles import SHIPPED, approval, bundle, rule, shipped

from autopilot.policies.bulk import RULINGS, BulkJudge, held_to_the_engine, sample_of
from autopilot.policies.bundle import Effect, PolicyBundle
from autopilot.policies.cel_syntax import parsed
from autopilot.policies.columnar import answers, columnar, written
from autopilot.policies.engine import ENGINE, CompiledBundle, policy_set
from autopilot.policies.fact_sets import generated
from autopilot.policies.facts import SPECS, FactSet
from bench.policy_differential import bundles, compared

ROWS: Final = 2_500
"""Here; `python -m bench.policy_differential` judges 100,000."""


@pytest.mark.parametrize("ready", [*bundles()], ids=lambda ready: ready.bundle.name)
def test_three_evaluators_agree_on_every_rule_and_every_rule_is_met(ready: CompiledBundle) -> None:
    found = compared(ready, ROWS)
    assert found.disagreements == []
    assert found.columnar_share >= 0.8
    pointless = {"always-errs", "bad-pattern"}
    assert {name for name, count in found.held.items() if not count} <= pointless
    assert all(found.erred[name] for name in pointless & set(found.erred))


NUMBERS: Final = st.sampled_from(
    ("plan_cost", "service_tier", "history_attempts", "incident_age_ms", "params.n", "0", "1", "-3",
     "9007199254740993", "9223372036854775807")
)  # fmt: skip
TEXTS: Final = st.sampled_from(("plan_remedy", "service_name", '"restart"', "'che\\'ckout'", '""'))


def _calculations(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})")


CALCULATED: Final = st.recursive(NUMBERS, _calculations, max_leaves=3)
ATOMS: Final = st.one_of(
    st.sampled_from(("halted", "telemetry_lost", "true", "false", "breaker_open == halted")),
    st.tuples(CALCULATED, st.sampled_from(("<", "<=", "==", "!=", ">", ">=")), CALCULATED).map(" ".join),
    st.tuples(TEXTS, st.sampled_from(("==", "!=", "<")), TEXTS).map(" ".join),
    st.tuples(TEXTS, st.sampled_from(("contains", "startsWith", "endsWith"))).map(lambda x: f'{x[0]}.{x[1]}("e")'),
    st.lists(NUMBERS, min_size=1, max_size=3).map(lambda x: f"service_tier in [{', '.join(x)}]"),
)
CONDITIONS: Final = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda x: f"!({x})"),
        st.tuples(inner, st.sampled_from(("&&", "||")), inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        st.tuples(inner, inner, inner).map(lambda x: f"({x[0]} ? {x[1]} : {x[2]})"),
    ),
    max_leaves=6,
)
PARAMS: Final = {"params.n": 2}
TABLE: Final = generated(
    [bundle(rule("r", "deny", "plan_cost + service_tier + history_attempts + incident_age_ms > 2 && halted"
                              " && telemetry_lost && breaker_open && plan_remedy == service_name"))], 60
)  # fmt: skip
TYPES: Final = {name: spec.type for name, spec in SPECS.items()} | {"params.n": int}


@settings(max_examples=250, deadline=None)
@given(source=CONDITIONS)
def test_any_condition_is_answered_as_the_engine_does(source: str) -> None:
    singly = ENGINE.compile(TYPES, [source])
    again = ENGINE.compile(TYPES, [written(parsed(source))])
    found = answers(source, PARAMS, TABLE, ENGINE)
    for row, values in enumerate(TABLE):
        answer = singly.evaluate({**values, **PARAMS})[0]
        errs = found.errs is not None and bool(found.errs[row])
        assert (bool(found.holds[row]), errs) == (answer is True, isinstance(answer, str)), (source, values)
        assert (again.evaluate({**values, **PARAMS})[0] is True) == (answer is True)


RULES: Final = ("true", "plan_cost > 2", "telemetry_lost", "10 / history_attempts > 2", 'plan_remedy == "restart"')


@st.composite
def any_bundle(draw: st.DrawFn, name: str) -> PolicyBundle:
    rules = []
    for index, when in enumerate(draw(st.lists(st.sampled_from(RULES), min_size=1, max_size=5))):
        effect = draw(st.sampled_from(Effect))
        group = draw(st.sampled_from(("approver", "operator", "{service_owner}")))
        needed = draw(st.integers(1, 3))
        asked = approval(f"r{index}", when, needed=needed, group=group)
        rules.append(asked if effect is Effect.OBLIGATE else rule(f"r{index}", effect.value, when))
    return bundle(*rules, name=name)


@settings(max_examples=60, deadline=None)
@given(one=any_bundle("a"), other=any_bundle("b"), alone=st.booleans())
def test_bulk_rulings_are_those_of_the_engine(one: PolicyBundle, other: PolicyBundle, alone: bool) -> None:
    policies = policy_set([each.source for each in ([one] if alone else [one, other])])
    table = generated([one, other], 80)
    rulings = BulkJudge(table).rulings(policies)
    unsure = np.zeros(len(rulings.codes)) if rulings.unsure is None else np.unpackbits(rulings.unsure)
    for row, values in enumerate(table):
        ruling = policies.judge(FactSet.of(values)).ruling
        assert RULINGS[rulings.codes[row]] == ruling or unsure[row]
    held_to_the_engine(table, policies, rulings, sample_of(table.rows, 80))


def test_the_rules_of_the_shipped_bundles_are_answered_by_columns() -> None:
    for path in SHIPPED:
        ready = shipped(path).compiled
        assert all(columnar(each.when, ready.params) for each in ready.bundle.rules)
