"""Rules that can never matter: conditions that no facts fulfil, and rules that an earlier one makes pointless.

Shown, not guessed. Each comparison of one fact with constants splits that fact's values into ranges, within which the
comparison does not change; so one value of each range stands for all. What cannot be split so (two facts compared, a
pattern) may be true or false as it likes, unless the bounds of its facts decide it. Every fact set is then one of the
combinations, so what holds in none of them holds never. The other way about is not claimed: a rule that is not
reported may still be unreachable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from autopilot.policies.bundle import Effect, PolicyBundle, Rule
from autopilot.policies.cel_syntax import COMPARISONS, Node, OutsideError, atoms_of, parsed, type_of
from autopilot.policies.columnar import written
from autopilot.policies.fact_sets import Condition, thresholds
from autopilot.policies.facts import SPECS, Value

MOST: Final = 50_000
"""Combinations looked at for one question; beyond, nothing is said."""
_FREE: Final[list[Value]] = [False, True]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """What is wrong with the rule at `index`, for people."""

    index: int
    message: str


def unreachable(bundle: PolicyBundle) -> list[Unreachable]:
    """The rules that can never matter, in order."""
    params = bundle.values()
    conditions = [_Abstract.of(rule.when, params) for rule in bundle.rules]
    found: list[Unreachable] = []
    for index, (rule, condition) in enumerate(zip(bundle.rules, conditions, strict=True)):
        if condition is None:
            continue
        message = _never(rule, condition) or _shadowed(rule, condition, bundle.rules, conditions, index)
        if message:
            found.append(Unreachable(index, message))
    return found


def _never(rule: Rule, condition: "_Abstract") -> str:
    outcomes = _outcomes([condition]) if condition.names else None
    if outcomes is None:
        return ""
    if not any(outcome[0] for outcome in outcomes):
        return f"`{rule.id}` can never hold: no facts within their bounds fulfil its condition"
    if all(outcome[0] for outcome in outcomes) and rule.effect is Effect.DENY:
        return f"`{rule.id}` always holds: whatever the facts, it denies"
    return ""


def _shadowed(
    rule: Rule, condition: "_Abstract", rules: Sequence[Rule], conditions: Sequence["_Abstract | None"], index: int
) -> str:
    for at, (other, wider) in enumerate(zip(rules, conditions, strict=True)):
        if at == index or wider is None or not _may_shadow(rule, other, earlier=at < index):
            continue
        if not wider.names & condition.names:
            continue
        outcomes = _outcomes([condition, wider])
        if outcomes is not None and all(b for a, b in outcomes if a):
            verb = "denies" if other.effect is Effect.DENY else "holds"
            return f"`{rule.id}` never matters: whenever it holds, `{other.id}` {verb} as well"
    return ""


def _may_shadow(rule: Rule, other: Rule, *, earlier: bool) -> bool:
    """Whether `other`, where it holds whenever `rule` does, leaves nothing for `rule` to say.

    A denial makes permits and obligations pointless wherever it stands; of two that say the same, the later one is
    reported.
    """
    if other.effect is Effect.DENY and rule.effect is not Effect.DENY:
        return True
    return earlier and (other.effect, other.obligation) == (rule.effect, rule.obligation) and other.when != rule.when


@dataclass(frozen=True)
class _Abstract:
    """A condition over atoms: each atom is a fact, with one value for each range, or a part that is free."""

    tree: Node
    params: Mapping[str, Value]
    source: str
    atoms: Mapping[str, Node]

    @classmethod
    def of(cls, source: str, params: Mapping[str, Value]) -> "_Abstract | None":
        try:
            tree = parsed(source)
        except OutsideError:
            return None
        return cls(tree, params, source, {written(atom): atom for atom in atoms_of(tree)})

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name in self.tree.names() if name in SPECS)


def _outcomes(conditions: Sequence[_Abstract]) -> list[tuple[bool, ...]] | None:
    """What the conditions answer together in every combination; None when there are too many."""
    simple: set[str] = set()
    free: list[str] = []
    for condition in conditions:
        for text, atom in condition.atoms.items():
            fact = _splits(atom, condition.params)
            if fact:
                simple.add(fact)
            elif text not in free and _decided(atom, condition.params) is None:
                free.append(text)
    pools = thresholds([Condition(each.source, each.params) for each in conditions])
    names = [*sorted(simple), *free]
    choices = [pools[name] for name in sorted(simple)] + [_FREE] * len(free)
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MOST:
        return None
    seen: dict[tuple[bool, ...], None] = {}
    for values in product(*choices):
        combination = dict(zip(names, values, strict=True))
        seen[tuple(_holds(each.tree, combination, each.params) for each in conditions)] = None
    return list(seen)


def _splits(atom: Node, params: Mapping[str, Value]) -> str:
    """The fact whose values the atom splits into ranges at its constants; empty when it does no such thing."""
    if atom.kind == "name":
        return atom.text if atom.text in SPECS else ""
    if atom.kind != "binary" or not (atom.text in COMPARISONS or atom.text == "in"):
        return ""
    sides = [_plain(part, params) for part in atom.parts]
    facts = [part.text for part in atom.parts if part.kind == "name" and part.text in SPECS]
    if len(facts) != 1 or sides.count(False) > 0:
        return ""
    ordered = atom.text in ("<", "<=", ">", ">=")
    return "" if ordered and SPECS[facts[0]].type is not int else facts[0]


def _plain(node: Node, params: Mapping[str, Value]) -> bool:
    if node.kind == "list":
        return all(part.kind == "value" or part.text in params for part in node.parts)
    return node.kind == "value" or (node.kind == "name" and (node.text in SPECS or node.text in params))


def _holds(node: Node, values: Mapping[str, Value], params: Mapping[str, Value]) -> bool:
    """Whether the condition holds in a combination."""
    if node.kind == "value":
        return bool(node.value)
    if node.kind == "unary" and node.text == "!":
        return not _holds(node.parts[0], values, params)
    if node.kind == "choice":
        return _holds(node.parts[1 if _holds(node.parts[0], values, params) else 2], values, params)
    if node.logic:
        one, other = (_holds(part, values, params) for part in node.parts)
        return (one and other) if node.text == "&&" else (one or other)
    return _atom_holds(node, values, params)


def _atom_holds(node: Node, values: Mapping[str, Value], params: Mapping[str, Value]) -> bool:
    if not _splits(node, params):
        decided = _decided(node, params)
        return bool(values[written(node)]) if decided is None else decided
    if node.kind == "name":
        return bool(values[node.text])
    left, right = (_value(part, values, params) for part in node.parts)
    if isinstance(right, list):
        return left in right
    return _compare(node.text, left, right)


def _compare(operator: str, left: object, right: object) -> bool:
    if operator in ("==", "!="):
        return (left == right) == (operator == "==")
    one, other = int(str(left)), int(str(right))
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[operator]


def _value(node: Node, values: Mapping[str, Value], params: Mapping[str, Value]) -> Value | list[Value]:
    if node.kind == "list":
        return [part.value if part.kind == "value" else params[part.text] for part in node.parts]
    if node.kind == "value":
        return node.value
    return params[node.text] if node.text in params else values[node.text]


# -- bounds -----------------------------------------------------------------------------------------------------------


def _decided(atom: Node, params: Mapping[str, Value]) -> bool | None:
    """What a comparison of numbers answers when the bounds of its facts decide it; else None."""
    if atom.kind == "name" and atom.text in params:
        return bool(params[atom.text])
    if atom.kind != "binary" or atom.text not in COMPARISONS or type_of(atom.parts[0], params) is not int:
        return None
    left, right = (_bounds(part, params) for part in atom.parts)
    if left is None or right is None:
        return None
    always = {"<": left[1] < right[0], "<=": left[1] <= right[0], ">": left[0] > right[1], ">=": left[0] >= right[1]}
    never = {"<": left[0] >= right[1], "<=": left[0] > right[1], ">": left[1] <= right[0], ">=": left[1] < right[0]}
    apart = left[1] < right[0] or left[0] > right[1]
    always["!="], never["=="] = apart, apart
    return True if always.get(atom.text) else False if never.get(atom.text) else None


def _bounds(node: Node, params: Mapping[str, Value]) -> tuple[int, int] | None:
    """Between which numbers a calculation lies; None when that is not known."""
    if node.kind == "name" and node.text in SPECS:
        return (SPECS[node.text].low, SPECS[node.text].high) if SPECS[node.text].type is int else None
    if node.kind in ("name", "value"):
        value = node.value if node.kind == "value" else params.get(node.text)
        return (value, value) if type(value) is int else None
    if node.kind != "binary" or node.text not in ("+", "-", "*"):
        return None
    left, right = (_bounds(part, params) for part in node.parts)
    if left is None or right is None:
        return None
    corners = [_corner(node.text, a, b) for a in left for b in right]
    return min(corners), max(corners)


def _corner(operator: str, one: int, other: int) -> int:
    return one + other if operator == "+" else one - other if operator == "-" else one * other
