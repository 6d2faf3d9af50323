"""Why a verdict is what it is: every rule with the values of its parts, and the nearest changes that would turn it.

A change is of one fact alone. Candidates are the values at which some rule could answer otherwise (`thresholds`, and
for sums and comparisons of facts the value at which they meet); each is put to the engine, so what is said is true.
For each fact and each other ruling, the nearest number is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autopilot.policies.branches import answers_of
from autopilot.policies.bundle import Effect, Rule, Ruling, filled
from autopilot.policies.cel_engine import Answer, names_in
from autopilot.policies.cel_syntax import COMPARISONS, Node, OutsideError, parsed, type_of
from autopilot.policies.columnar import written
from autopilot.policies.engine import CompiledBundle, PolicySet, Verdict
from autopilot.policies.expression import Environment, ExpressionError
from autopilot.policies.fact_sets import conditions_of, thresholds
from autopilot.policies.facts import SPECS, FactSet, Value
from autopilot.policies.obligations import in_words


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a condition: its text, its answer (an error as its text), the values it saw, and what it is made of."""

    text: str
    answer: Answer
    values: Mapping[str, Value]
    parts: tuple["Part", ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """One rule: whether it held, whether it decided, what it says, and its condition part by part.

    `imposes` is the obligation of one that holds, in words; empty for none.
    """

    rule: str
    effect: Effect
    answer: Answer
    decided: bool
    message: str
    condition: Part
    imposes: str = ""


@dataclass(frozen=True, slots=True)
class Flip:
    """One fact changed, from `before` to `after`, and the ruling that it would give."""

    fact: str
    before: Value
    after: Value
    ruling: Ruling
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict explained.

    `built_in` are decisive rules that no bundle holds, such as `builtin:no-permit`; `flips` are the changes that give
    another ruling, `eased` those that leave the denial to fewer rules.
    """

    ruling: Ruling
    reason: str
    built_in: tuple[str, ...]
    rules: tuple[ExplainedRule, ...]
    flips: tuple[Flip, ...]
    eased: tuple[Flip, ...]


def explained(policies: PolicySet, facts: FactSet) -> Explanation:
    """The explanation of what the bundles say of a fact set. Deterministic, no I/O."""
    verdict = policies.judge(facts)
    qualified = len(policies.bundles) > 1
    rules = tuple(
        _rule(each, rule, answer, f"{each.bundle.name}/{rule.id}" if qualified else rule.id, facts.values, verdict)
        for each in policies.bundles
        for rule, answer in zip(each.bundle.rules, each.answers(facts.values), strict=True)
    )
    named = {rule.rule for rule in rules}
    built_in = tuple(name for name in verdict.decisive if name.removeprefix("error:") not in named)
    changes = list(_changes(policies, facts))
    return Explanation(
        verdict.ruling,
        verdict.reason,
        built_in,
        rules,
        _nearest(flip for flip in changes if flip.ruling is not verdict.ruling),
        _nearest(flip for flip in changes if _eases(flip, verdict)),
    )


def _rule(
    each: CompiledBundle, rule: Rule, answer: Answer, name: str, facts: Mapping[str, Value], verdict: Verdict
) -> ExplainedRule:
    decided = name in verdict.decisive or f"error:{name}" in verdict.decisive
    known = {**facts, **each.params}
    message = filled(rule.message, known) if answer is True else ""
    condition = _whole(rule.when, known, each.params)
    imposes = _imposed(rule, known) if answer is True else ""
    return ExplainedRule(name, rule.effect, answer, decided, message, condition, imposes)


def _imposed(rule: Rule, known: dict[str, Value]) -> str:
    if rule.obligation is None:
        return ""
    parameters = {name: filled(str(text), known) for name, text in rule.obligation.parameters.items()}
    return in_words(rule.obligation.name, parameters)


def _whole(source: str, known: Mapping[str, Value], params: Mapping[str, Value]) -> Part:
    text = " ".join(source.split())
    try:
        return _part(parsed(source), source, known, params)
    except OutsideError:
        return Part(text, answers_of([source], known, params)[0], {})


def _part(node: Node, source: str, known: Mapping[str, Value], params: Mapping[str, Value]) -> Part:
    text = " ".join(source[node.start : node.end].split())
    answer = answers_of([written(node)], known, params)[0]
    if node.logic or node.kind == "choice":
        return Part(text, answer, {}, tuple(_part(part, source, known, params) for part in node.parts))
    names = dict.fromkeys(each.text for each in node.walk() if each.kind == "name" and each.text in known)
    return Part(text, answer, {name: known[name] for name in names})


# -- what would turn it -----------------------------------------------------------------------------------------------


def _changes(policies: PolicySet, facts: FactSet) -> Iterator[Flip]:
    """Every change to try, in the order of the facts schema, the nearest first, with what the engine says of it."""
    for name, pool in _candidates(policies, facts.values).items():
        for value in _by_distance(facts.values[name], pool):
            verdict = policies.judge(facts.changed(name, value))
            yield Flip(name, facts.values[name], value, verdict.ruling, verdict.decisive)


def _nearest(changes: Iterable[Flip]) -> tuple[Flip, ...]:
    """Of each fact and outcome the first; of facts with few values all."""
    nearest: dict[object, Flip] = {}
    for change in changes:
        spec = SPECS[change.fact]
        listed = spec.type is bool or bool(spec.choices)
        by_rules = change.rules if spec.type is str or change.ruling is Ruling.DENY else ()
        nearest.setdefault((change.fact, change.after if listed else (change.ruling, by_rules)), change)
    return tuple(nearest.values())


def _eases(change: Flip, verdict: Verdict) -> bool:
    return change.ruling is verdict.ruling is Ruling.DENY and set(change.rules) < set(verdict.decisive)


def _by_distance(present: Value, pool: Sequence[Value]) -> list[Value]:
    others = [value for value in dict.fromkeys(pool) if value != present]
    if isinstance(present, bool) or not isinstance(present, int):
        return others
    return sorted(others, key=lambda value: (abs(int(value) - present), int(value)))


def _candidates(policies: PolicySet, facts: Mapping[str, Value]) -> dict[str, list[Value]]:
    """For each fact that matters, the values to try; every one is within the fact's bounds."""
    bundles = [each.bundle for each in policies.bundles]
    conditions = conditions_of(bundles)
    mentioned = {name for condition in conditions for name in names_in(condition.source)}
    mentioned |= {"halted", "service_known", "remedy_autonomy", "approvals_granted"}
    pools = {name: pool for name, pool in thresholds(conditions, made_up=False).items() if name in mentioned}
    for condition in conditions:
        for name, value in _meetings(condition.source, {**facts, **condition.params}, condition.params):
            pools[name].append(value)
    needed = [int(r.obligation.parameters.get("needed", 0)) for b in bundles for r in b.rules if r.obligation]
    pools["approvals_granted"] += needed
    return pools


def _meetings(source: str, known: Mapping[str, Value], params: Mapping[str, Value]) -> Iterator[tuple[str, int]]:
    """For each comparison of calculations, and each fact in it, the values about which its two sides meet."""
    try:
        nodes = [n for n in parsed(source).walk() if n.kind == "binary" and n.text in COMPARISONS]
    except OutsideError:
        return
    for node in nodes:
        if all(type_of(part, params) is int for part in node.parts):
            for name in sorted(node.names() & SPECS.keys()):
                yield from _meeting(node, name, known)


def _meeting(node: Node, name: str, known: Mapping[str, Value]) -> Iterator[tuple[str, int]]:
    spec, present = SPECS[name], known[name]
    if spec.type is not int:
        return
    beside = int(present) + (1 if int(present) < spec.high else -1)
    here, there = (_difference(node, {**known, name: value}) for value in (int(present), beside))
    if here is None or there is None or here == there:
        return
    slope = (there - here) * (beside - int(present))
    meets = int(present) - here // slope
    for value in (meets - 1, meets, meets + 1):
        if spec.low <= value <= spec.high:
            yield name, value


def _difference(node: Node, values: Mapping[str, Value]) -> int | None:
    """By how much the left side exceeds the right one; None when that errs."""
    left, right = (written(part) for part in node.parts)
    try:
        return int(_environment(values).compile(f"({left}) - ({right})", int).evaluate(values))
    except ExpressionError:
        return None


def _environment(values: Mapping[str, Value]) -> Environment:
    return Environment({name: type(value) for name, value in values.items()})
