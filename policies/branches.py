"""The conditions within a condition: which there are, what each answers, and whether tests have seen it both ways.

Every part is evaluated by the engine, as a condition of its own, so that nothing here says what CEL means.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from autopilot.policies.bundle import Rule
from autopilot.policies.cel_engine import Answer, Conditions
from autopilot.policies.cel_syntax import Node, OutsideError, parsed, type_of
from autopilot.policies.columnar import written
from autopilot.policies.engine import ENGINE, CompiledBundle
from autopilot.policies.facts import SPECS, Value


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a rule's condition that holds or does not: its text, and its place in the condition."""

    rule: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class BranchCoverage:
    """One branch, and in how many cases it was true and false."""

    branch: Branch
    held: int
    did_not: int

    @property
    def complete(self) -> bool:
        """Whether both were seen."""
        return self.held > 0 and self.did_not > 0

    @property
    def missing(self) -> str:
        """What no case has shown, for people; empty when nothing is missing."""
        unseen = [word for word, count in (("true", self.held), ("false", self.did_not)) if not count]
        return f"never {' and never '.join(unseen)}" if unseen else ""


def branches_of(rule: Rule, params: Mapping[str, Value]) -> list[Branch]:
    """The parts of a rule's condition, the whole first. Negations and constants are left out: they add nothing."""
    try:
        nodes = list(parsed(rule.when).walk())
    except OutsideError:
        return [Branch(rule.id, rule.when, 0, len(rule.when))]
    found = [n for n in nodes if type_of(n, params) is bool and n.kind != "value" and not _negation(n)]
    unique = {written(node): node for node in found}
    return [Branch(rule.id, " ".join(rule.when[n.start : n.end].split()), n.start, n.end) for n in unique.values()]


def _negation(node: Node) -> bool:
    return node.kind == "unary" and node.text == "!"


def branch_coverage(ready: CompiledBundle, fact_sets: Iterable[Mapping[str, Value]]) -> list[BranchCoverage]:
    """For every branch of every rule, in how many of the fact sets it held and did not."""
    branches = [branch for rule in ready.bundle.rules for branch in branches_of(rule, ready.params)]
    conditions = compiled_texts([branch.text for branch in branches], ready.params)
    answers = [conditions.evaluate({**values, **ready.params}) for values in fact_sets]
    return [
        BranchCoverage(branch, sum(a[i] is True for a in answers), sum(a[i] is False for a in answers))
        for i, branch in enumerate(branches)
    ]


def compiled_texts(texts: Sequence[str], params: Mapping[str, Value]) -> Conditions:
    """Conditions over all facts and those parameters, compiled once for each content."""
    return _compiled(tuple(texts), tuple(sorted((name, type(value)) for name, value in params.items())))


@lru_cache(maxsize=512)
def _compiled(texts: tuple[str, ...], params: tuple[tuple[str, type[Value]], ...]) -> Conditions:
    return ENGINE.compile({name: spec.type for name, spec in SPECS.items()} | dict(params), texts)


def answers_of(texts: Sequence[str], values: Mapping[str, Value], params: Mapping[str, Value]) -> Sequence[Answer]:
    """The engine's answer for each text."""
    return compiled_texts(texts, params).evaluate({**values, **params}) if texts else ()
