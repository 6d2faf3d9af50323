"""A second, independent implementation of CEL (Rust) agrees with the engine on the shipped bundles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.policies.bundle_file import parse_bundle
from autopilot.policies.cel_engine import CelEngine, names_in
from autopilot.policies.engine import CompiledBundle
from autopilot.policies.facts import FACTS, FactSet, FactSpec, Value

ROOT: Final = Path(__file__).parents[2]
BUNDLES: Final = ("policies/bundles/default.yaml", "examples/shop/policies/shop.yaml")
TEXTS: Final = ("", "restart", "é", "supervisord.restart", "supervisord.restart,supervisord.scale", "shell.run",
                "supervisord.restart,shell.run", "supervisordXrestart", "supervisord.scale\n")  # fmt: skip


def compiled(path: str) -> CompiledBundle:
    return parse_bundle((ROOT / path).read_text(encoding="utf-8"), path).compiled


READY: Final = {path: compiled(path) for path in BUNDLES}


class RustOracle:
    """The same conditions in the Rust implementation; an error is an error, whatever its text."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._programs = [cel.compile(source) for source in sources]

    def evaluate(self, values: Mapping[str, Value]) -> list[bool | str]:
        flat: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
        flat["params"] = {name.split(".", 1)[1]: value for name, value in values.items() if "." in name}
        return [self._one(program, flat) for program in self._programs]

    def _one(self, program: Any, values: dict[str, Any]) -> bool | str:
        try:
            return bool(program.execute(values))
        except (ArithmeticError, RuntimeError, TypeError, ValueError):
            return "error"


ORACLES: Final = {path: RustOracle([rule.when for rule in ready.bundle.rules]) for path, ready in READY.items()}


def near_the_thresholds(spec: FactSpec) -> st.SearchStrategy[Value]:
    """Values of one fact, most of them at or beside a constant that some rule compares with."""
    if spec.type is bool:
        return st.booleans()
    if spec.type is str:
        return st.sampled_from(spec.choices) if spec.choices else st.sampled_from(TEXTS) | st.text(max_size=8)
    params = [p.value for r in READY.values() for p in r.bundle.params.values() if type(p.value) is int]
    corners = {n + d for n in (*params, 0, 1, 2, spec.low, spec.high) for d in (-1, 0, 1)}
    inside = sorted(n for n in corners if spec.low <= n <= spec.high)
    return st.sampled_from(inside) | st.integers(spec.low, spec.high)


MENTIONED: Final = {name for r in READY.values() for rule in r.bundle.rules for name in names_in(rule.when)}
FACT_SETS: Final = st.fixed_dictionaries(
    {spec.name: near_the_thresholds(spec) if spec.name in MENTIONED else st.just(spec.example) for spec in FACTS}
)


@pytest.mark.parametrize("path", BUNDLES)
@settings(max_examples=250, deadline=None)
@given(values=FACT_SETS)
def test_two_implementations_of_the_language_agree(path: str, values: dict[str, Value]) -> None:
    facts = FactSet.of(values).values
    ready = READY[path]
    ours = ["error" if isinstance(answer, str) else answer for answer in ready.answers(facts)]
    assert ours == ORACLES[path].evaluate({**facts, **ready.params})


@settings(max_examples=100, deadline=None)
@given(values=FACT_SETS, zero=st.integers(-1, 1))
def test_they_agree_on_errors_too(values: dict[str, Value], zero: int) -> None:
    sources = [f"plan_cost / {zero} > 1", f"plan_cost % {zero} == 0", "plan_cost - 9223372036854775807 - 3 > 0",
               "plan_cost >= 0 || 1 / 0 > 0", "plan_cost < 0 && 1 / 0 > 0", "plan_remedy < service_name"]  # fmt: skip
    types = {spec.name: spec.type for spec in FACTS}
    ours = [
        answer if isinstance(answer, bool) else "error"
        for answer in CelEngine().compile(types, sources).evaluate(values)
    ]
    assert ours == RustOracle(sources).evaluate(values)
