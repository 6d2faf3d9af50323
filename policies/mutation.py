"""Mutants of a bundle: one thing changed at a time. A bundle's own tests must notice each.

Operators, constants, facts and effects are changed, negations put in, parts of conditions left out, params moved,
obligations weakened, rules removed. A mutant that says the same as the bundle on every fact set that was made for the
two is reported as alike: there is nothing for a test to notice.

    python -m autopilot.policies.mutation FILE ...
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autopilot.policies.bulk import BulkJudge
from autopilot.policies.bundle import Case, PolicyBundle, Rule, RuleObligation
from autopilot.policies.bundle_file import parse_bundle
from autopilot.policies.cel_engine import ConditionError
from autopilot.policies.cel_syntax import ARITHMETIC, Node, OutsideError, parsed
from autopilot.policies.checks import failures_of
from autopilot.policies.engine import ENGINE, CompiledBundle, PolicySet, compiled
from autopilot.policies.fact_sets import generated
from autopilot.policies.facts import BASELINE, FACTS, SPECS, FactSet
from autopilot.policies.obligations import APPROVAL, BEFORE_START, WHEN_REACHED, Per, parameter_of

GOAL_BP: Final = 9_500
_FACT_SETS: Final = 4_000
_OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "&&": ("||",), "||": ("&&",), "==": ("!=",), "!=": ("==",), "<": ("<=", ">=", ">"), "<=": ("<", ">", ">="),
    ">": (">=", "<=", "<"), ">=": (">", "<", "<="), "+": ("-",), "-": ("+",), "*": ("+",), "/": ("*",), "%": ("/",),
}  # fmt: skip
_EFFECTS: Final[Mapping[str, str]] = {"permit": "deny", "deny": "permit", "obligate": "permit"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed bundle: which kind of change, where, and what."""

    kind: str
    place: str
    change: str
    bundle: PolicyBundle

    def __str__(self) -> str:
        return f"{self.kind} in {self.place}: {self.change}"


@dataclass(frozen=True)
class MutationReport:
    """What became of the mutants. `survivors` were not noticed; `alike` say the same as the bundle on all fact sets."""

    bundle: str
    caught: int
    survivors: tuple[Mutant, ...]
    alike: tuple[Mutant, ...]

    @property
    def total(self) -> int:
        """Mutants that could be noticed."""
        return self.caught + len(self.survivors)

    @property
    def caught_bp(self) -> int:
        """Share of them that the tests noticed, in basis points."""
        return 10_000 * self.caught // self.total if self.total else 10_000


def mutants(bundle: PolicyBundle) -> list[Mutant]:
    """Every mutant of a bundle, each once, in the order of the bundle. Some may not compile."""
    rules = [mutant for index in range(len(bundle.rules)) for mutant in _of_rule(bundle, index)]
    unique = {mutant.bundle.source: mutant for mutant in [*_of_params(bundle), *rules]}
    unique.pop(bundle.source, None)
    return list(unique.values())


def mutation_run(bundle: PolicyBundle, more: Sequence[Case] = ()) -> MutationReport:
    """Runs the bundle's tests, and `more` cases, on every mutant that compiles."""
    cases = [*bundle.tests, *more]
    caught, survivors, alike = 0, list[Mutant](), list[Mutant]()
    for mutant in mutants(bundle):
        ready = _ready(mutant.bundle)
        if ready is None:
            continue
        if noticed(ready, cases):
            caught += 1
        elif _alike(bundle, mutant.bundle):
            alike.append(mutant)
        else:
            survivors.append(mutant)
    return MutationReport(bundle.title, caught, tuple(survivors), tuple(alike))


def noticed(ready: CompiledBundle, cases: Sequence[Case]) -> bool:
    """Whether some case fails."""
    policies = PolicySet((ready,))
    return any(failures_of(case, policies.judge(FactSet.of({**BASELINE, **case.facts}))) for case in cases)


def _ready(bundle: PolicyBundle) -> CompiledBundle | None:
    try:
        return compiled(bundle, ENGINE)
    except ConditionError:
        return None


def _alike(bundle: PolicyBundle, other: PolicyBundle) -> bool:
    """Whether two bundles rule alike, with the same obligations, on fact sets made for both."""
    judge = BulkJudge(generated([bundle, other], _FACT_SETS))
    one, two = (PolicySet((compiled(each, ENGINE),)) for each in (bundle, other))
    return not len(judge.differing(one, two))


# -- changes ----------------------------------------------------------------------------------------------------------


def _of_params(bundle: PolicyBundle) -> Iterator[Mutant]:
    for name, param in bundle.params.items():
        if isinstance(param.value, bool):
            changed: list[Any] = [not param.value]
        elif isinstance(param.value, int):
            changed = [param.value - 1, param.value + 1, 0]
        else:
            changed = [param.value + "x", ""]
        for value in changed:
            params = {**bundle.params, name: param.model_copy(update={"value": value})}
            yield _mutant(bundle, "constant", f"params.{name}", f"{param.value!r} -> {value!r}", params=params)


def _of_rule(bundle: PolicyBundle, index: int) -> Iterator[Mutant]:
    rule = bundle.rules[index]
    for kind, change, condition in _conditions(rule.when):
        yield _with_rule(bundle, index, kind, change, rule.model_copy(update={"when": condition}))
    effect = _EFFECTS[rule.effect]
    copied = rule.model_copy(update={"effect": type(rule.effect)(effect), "obligation": None})
    yield _with_rule(bundle, index, "effect", f"{rule.effect} -> {effect}", copied)
    yield from _obligations(bundle, index)
    if len(bundle.rules) > 1:
        rest = [other for other in bundle.rules if other is not rule]
        yield _mutant(bundle, "effect", f"rule {rule.id}", "removed", rules=rest)


def _obligations(bundle: PolicyBundle, index: int) -> Iterator[Mutant]:
    rule = bundle.rules[index]
    needed = rule.obligation.parameters.get("needed") if rule.obligation else None
    if rule.obligation is None or not isinstance(needed, int):
        return
    for value in (needed - 1, needed + 1):
        if value >= 1:
            parameters = {**rule.obligation.parameters, "needed": value}
            obligation = rule.obligation.model_copy(update={"parameters": parameters})
            changed = rule.model_copy(update={"obligation": obligation})
            yield _with_rule(bundle, index, "constant", f"needed {needed} -> {value}", changed)
    if rule.obligation.name == APPROVAL:
        yield from _asked_otherwise(bundle, index, rule.obligation)


def _asked_otherwise(bundle: PolicyBundle, index: int, obligation: RuleObligation) -> Iterator[Mutant]:
    """Each stage or step is asked for at another time; something larger or smaller is approved on its own."""
    per = Per(parameter_of(obligation.name, obligation.parameters, "per"))
    if per is Per.PLAN:
        return
    asked = parameter_of(obligation.name, obligation.parameters, "ask")
    other = BEFORE_START if asked == WHEN_REACHED else WHEN_REACHED
    whole = {name: value for name, value in obligation.parameters.items() if name not in ("per", "ask")}
    parts = Per.STEP if per is Per.STAGE else Per.STAGE
    for change, parameters in (
        (f"ask {asked} -> {other}", {**obligation.parameters, "ask": other}),
        (f"per {per} -> {parts}", {**obligation.parameters, "per": parts.value}),
        (f"per {per} -> {Per.PLAN}", whole),
    ):
        copied = obligation.model_copy(update={"parameters": parameters})
        changed = bundle.rules[index].model_copy(update={"obligation": copied})
        yield _with_rule(bundle, index, "constant", change, changed)


def _conditions(source: str) -> Iterator[tuple[str, str, str]]:
    """Kind, change and condition of every mutant of a condition."""
    yield "operator", f"negated `{_short(source)}`", f"!({source})"
    try:
        nodes = list(parsed(source).walk())
    except OutsideError:
        return
    for node in nodes:
        old = source[node.start : node.end]
        for kind, new in _replacements(node, source):
            yield kind, f"`{_short(old)}` -> `{_short(new)}`", source[: node.start] + f"({new})" + source[node.end :]


def _replacements(node: Node, source: str) -> Iterator[tuple[str, str]]:
    parts = [source[part.start : part.end] for part in node.parts]
    if node.kind == "binary":
        for operator in _OPERATORS.get(node.text, ()):
            yield "operator", f"{parts[0]} {operator} {parts[1]}"
        if node.logic or node.text in ARITHMETIC:
            yield from (("operator", part) for part in parts)
    elif node.kind == "unary":
        yield "operator", parts[0]
    elif node.kind == "list" and len(parts) > 1:
        for index in range(len(parts)):
            yield "constant", "[" + ", ".join(parts[:index] + parts[index + 1 :]) + "]"
    elif node.kind == "value":
        yield from (("constant", text) for text in _constants(node))
    elif node.kind == "name" and node.text in SPECS:
        yield from (("field", name) for name in _neighbours(node.text))


def _constants(node: Node) -> list[str]:
    if isinstance(node.value, bool):
        return [str(not node.value).lower()]
    if isinstance(node.value, int):
        return [str(node.value - 1), str(node.value + 1)]
    return ['"another"']


def _neighbours(name: str) -> list[str]:
    """The two facts of the same type that stand next in the schema."""
    alike = [spec.name for spec in FACTS if spec.type is SPECS[name].type]
    at = alike.index(name)
    return [alike[(at + 1) % len(alike)], alike[at - 1]]


def _with_rule(bundle: PolicyBundle, index: int, kind: str, change: str, rule: Rule) -> Mutant:
    rules = [*bundle.rules[:index], rule, *bundle.rules[index + 1 :]]
    return _mutant(bundle, kind, f"rule {rule.id}", change, rules=rules)


def _mutant(bundle: PolicyBundle, kind: str, place: str, change: str, **update: object) -> Mutant:
    return Mutant(kind, place, change, bundle.model_copy(update=update))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 70 else plain[:67] + "..."


def main(files: Sequence[str]) -> int:
    """Prints a report on each file; 1 when a share is below the goal."""
    reports = [mutation_run(parse_bundle(Path(file).read_text(encoding="utf-8"), file).bundle) for file in files]
    for report in reports:
        share = report.caught_bp / 100
        sys.stdout.write(f"{report.bundle}: {report.caught} of {report.total} mutants caught ({share:g} %),")
        sys.stdout.write(f" {len(report.alike)} more say the same as the bundle\n")
        sys.stdout.write("".join(f"  survived: {mutant}\n" for mutant in report.survivors))
    return 0 if all(report.caught_bp >= GOAL_BP for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
