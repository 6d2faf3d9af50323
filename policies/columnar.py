"""Conditions over columns: the same answers as the engine's, for the part of CEL for which that can be shown.

What is translated, and why it is equal:

- `&&`, `||`, `!` and `?:` over answers of three values (holds, does not, error), by CEL's own table: an error does not
  matter where the other side decides (CEL specification, "Logical operators").
- comparisons of whole numbers, and `+ - * / %` in them, when the bounds of the facts show that no result leaves 64
  bits: CEL's overflow error cannot come up, and numpy counts alike. Division truncates towards zero; by zero it errs.
- whatever depends on a single text fact: the engine itself is asked, once for each different text.
- bool facts, and `==` and `!=` between bools.

Everything else, `NotColumnarError`, is the engine's: it is asked once for each different combination of values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import add, mul, sub
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autopilot.policies.cel_engine import Answer, PolicyEngine, names_in
from autopilot.policies.cel_syntax import ARITHMETIC, COMPARISONS, Node, OutsideError, parsed, type_of
from autopilot.policies.columns import Bools, FactTable, Ints
from autopilot.policies.facts import SPECS, Value

_LIMIT: Final = 2**63
_COMPARE: Final[Mapping[str, Callable[[Ints, Ints], Bools]]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


_CALCULATE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {"+": add, "-": sub, "*": mul}


class NotColumnarError(ValueError):
    """A condition cannot be shown to mean the same over columns."""


@dataclass(frozen=True, slots=True)
class Answers:
    """For every row whether the condition holds, and whether it gives an error (None: it never does)."""

    holds: Bools
    errs: Bools | None = None

    def negated(self) -> "Answers":
        """The answers of the negation."""
        return Answers(~self.holds if self.errs is None else ~(self.holds | self.errs), self.errs)

    def either(self, other: "Answers") -> "Answers":
        """`||`: an error matters only where nothing holds."""
        holds = self.holds | other.holds
        errs = _any(self.errs, other.errs)
        return Answers(holds, None if errs is None else errs & ~holds)

    def both(self, other: "Answers") -> "Answers":
        """`&&`: an error matters only where the other side is not false."""
        if self.errs is None and other.errs is None:
            return Answers(self.holds & other.holds)
        return self.negated().either(other.negated()).negated()


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A column of whole numbers, or one for all rows, within `low` and `high`."""

    column: Ints
    low: int
    high: int
    errs: Bools | None = None


def columnar(source: str, params: Mapping[str, Value]) -> bool:
    """Whether a condition can be answered over columns."""
    try:
        _Translation(FactTable.of_checked([]), params, None).condition(parsed(source))
    except (NotColumnarError, OutsideError):
        return False
    return True


def answers(source: str, params: Mapping[str, Value], table: FactTable, engine: PolicyEngine) -> Answers:
    """A condition's answers for every row; by columns where they can be shown to be equal, else by the engine."""
    try:
        return _Translation(table, params, engine).condition(parsed(source))
    except (NotColumnarError, OutsideError):
        return by_engine(source, params, table, engine)


def by_engine(source: str, params: Mapping[str, Value], table: FactTable, engine: PolicyEngine) -> Answers:
    """A condition's answers by the engine alone, once for each different combination of the values it sees."""
    names = [name for name in names_in(source) if name in SPECS]
    rows, which = table.combinations(names)
    return _spread(_asked(source, params, rows, engine), which)


def _asked(
    source: str, params: Mapping[str, Value], rows: list[dict[str, Value]], engine: PolicyEngine
) -> list[Answer]:
    types = {n: SPECS[n].type for n in names_in(source) if n in SPECS} | {n: type(v) for n, v in params.items()}
    conditions = engine.compile(types, [source])
    return [conditions.evaluate({**row, **params})[0] for row in rows]


def _spread(asked: list[Answer], which: NDArray[np.integer]) -> Answers:
    holds = np.fromiter((answer is True for answer in asked), np.bool_, len(asked))
    errs = np.fromiter((isinstance(answer, str) for answer in asked), np.bool_, len(asked))
    return Answers(holds[which], errs[which] if errs.any() else None)


class _Translation:
    """One condition over one table. Without an engine it only finds out whether it can be done."""

    def __init__(self, table: FactTable, params: Mapping[str, Value], engine: PolicyEngine | None) -> None:
        self._table = table
        self._params = params
        self._engine = engine

    def condition(self, node: Node) -> Answers:
        """The answers of a condition. Raises `NotColumnarError`."""
        if node.kind == "binary" and node.text in ("&&", "||"):
            one, other = (self.condition(part) for part in node.parts)
            return one.both(other) if node.text == "&&" else one.either(other)
        if node.kind == "unary" and node.text == "!":
            return self.condition(node.parts[0]).negated()
        if node.kind == "choice":
            return self._chosen(*(self.condition(part) for part in node.parts))
        return self._atom(node)

    def _chosen(self, test: Answers, then: Answers, other: Answers) -> Answers:
        holds = np.where(test.holds, then.holds, other.holds)
        no = np.zeros(1, np.bool_)
        errs = np.where(test.holds, no if then.errs is None else then.errs, no if other.errs is None else other.errs)
        errs = errs if test.errs is None else errs | test.errs
        return Answers(holds & ~errs, errs)

    def _atom(self, node: Node) -> Answers:
        names = [name for name in node.names() if name in SPECS]
        if len(names) == 1 and SPECS[names[0]].type is str:
            return self._of_text(node, names[0])
        if node.kind in ("name", "value"):
            return self._plain(node)
        if node.kind == "binary" and node.text in COMPARISONS:
            kinds = {type_of(part, self._params) for part in node.parts}
            if kinds == {int}:
                return self._compared(node.text, *(self._numbers(part) for part in node.parts))
            if kinds == {bool} and node.text in ("==", "!="):
                return self._same(node)
        if node.kind == "binary" and node.text == "in" and node.parts[1].kind == "list":
            return self._listed(node)
        raise NotColumnarError(f"`{node.text}` is left to the engine")

    def _plain(self, node: Node) -> Answers:
        value = node.value if node.kind == "value" else self._params.get(node.text)
        if node.text in self._table.bools:
            return Answers(self._table.bools[node.text])
        if not isinstance(value, bool):
            raise NotColumnarError(f"`{node.text}` is no condition")
        return Answers(np.full(self._table.rows, value))

    def _same(self, node: Node) -> Answers:
        one, other = (self.condition(part) for part in node.parts)
        errs = _any(one.errs, other.errs)
        holds = (one.holds == other.holds) if node.text == "==" else (one.holds != other.holds)
        return Answers(holds if errs is None else holds & ~errs, errs)

    def _compared(self, operator: str, left: _Numbers, right: _Numbers) -> Answers:
        holds = _COMPARE[operator](left.column, right.column)
        errs = _any(left.errs, right.errs)
        if errs is None:
            return Answers(self._whole(holds))
        return Answers(self._whole(holds & ~errs), self._whole(errs))

    def _listed(self, node: Node) -> Answers:
        sought, among = node.parts
        if {type_of(part, self._params) for part in (sought, *among.parts)} != {int}:
            raise NotColumnarError("a list of anything but whole numbers")
        found = [self._compared("==", self._numbers(sought), self._numbers(item)) for item in among.parts]
        if any(answer.errs is not None for answer in found):
            raise NotColumnarError("an error within a list")
        return Answers(np.logical_or.reduce([answer.holds for answer in found]))

    def _of_text(self, node: Node, name: str) -> Answers:
        """The engine's own answers, one for each different text."""
        if type_of(node, self._params) is not bool:
            raise NotColumnarError("a part that is no condition")
        if self._engine is None:
            return Answers(np.zeros(0, np.bool_))
        text = self._table.texts[name]
        rows: list[dict[str, Value]] = [{name: word} for word in text.vocabulary]
        return _spread(_asked(written(node), self._params, rows, self._engine), text.codes)

    # -- whole numbers -----------------------------------------------------------------------------------------------

    def _numbers(self, node: Node) -> _Numbers:
        if node.kind == "name" and node.text in self._table.ints:
            spec = SPECS[node.text]
            return _Numbers(self._table.ints[node.text], spec.low, spec.high)
        if node.kind in ("value", "name"):
            value = node.value if node.kind == "value" else self._params.get(node.text)
            if type(value) is int:
                return _Numbers(np.full(1, value, np.int64), value, value)
        if node.kind == "unary" and node.text == "-":
            inner = self._numbers(node.parts[0])
            return _bounded(-_wide(inner), [-inner.low, -inner.high], inner.errs)
        if node.kind == "binary" and node.text in ARITHMETIC:
            return _calculated(node.text, *(self._numbers(part) for part in node.parts))
        raise NotColumnarError(f"`{node.text}` is no plain number")

    def _whole(self, column: Bools) -> Bools:
        return column if len(column) == self._table.rows else np.broadcast_to(column, self._table.rows)


def _calculated(operator: str, left: _Numbers, right: _Numbers) -> _Numbers:
    errs = _any(left.errs, right.errs)
    if operator in ("/", "%"):
        return _divided(operator, left, right, errs)
    calculate = _CALCULATE[operator]
    corners = [calculate(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    if not -_LIMIT <= min(corners) <= max(corners) < _LIMIT:
        raise NotColumnarError("a result may leave 64 bits")
    return _bounded(calculate(_wide(left), _wide(right)), corners, errs)


def _divided(operator: str, left: _Numbers, right: _Numbers, errs: Bools | None) -> _Numbers:
    most = max(abs(left.low), abs(left.high))
    if most >= _LIMIT or max(abs(right.low), abs(right.high)) >= _LIMIT:
        raise NotColumnarError("a result may leave 64 bits")
    dividend, divisor = _wide(left), _wide(right)
    by_zero = divisor == 0 if right.low <= 0 <= right.high else None
    divisor = divisor if by_zero is None else np.where(by_zero, 1, divisor)
    quotient: Ints = np.abs(dividend) // np.abs(divisor) * np.sign(dividend) * np.sign(divisor)
    result: Ints = quotient if operator == "/" else dividend - quotient * divisor
    return _bounded(result, [-most, most], _any(errs, by_zero))


def _wide(numbers: _Numbers) -> NDArray[np.int64]:
    """The column with 64 bits, as calculations need it."""
    return numbers.column.astype(np.int64, copy=False)


def _bounded(column: Ints, corners: list[int], errs: Bools | None) -> _Numbers:
    low, high = min(corners), max(corners)
    if low < -_LIMIT or high >= _LIMIT:
        raise NotColumnarError("a result may leave 64 bits")
    return _Numbers(column, low, high, errs)


def _any(one: Bools | None, other: Bools | None) -> Bools | None:
    return other if one is None else one if other is None else one | other


def written(node: Node) -> str:
    """A node as a condition again: fully bracketed, equal in meaning."""
    parts = [written(part) for part in node.parts]
    if node.kind in ("name", "value"):
        return node.text
    if node.kind == "unary":
        return f"{node.text}({parts[0]})"
    if node.kind == "binary":
        return f"({parts[0]}) {node.text} ({parts[1]})"
    if node.kind == "choice":
        return f"({parts[0]}) ? ({parts[1]}) : ({parts[2]})"
    if node.kind == "list":
        return f"[{', '.join(parts)}]"
    return f"({parts[0]}).{node.text}({', '.join(parts[1:])})" if node.kind == "member" else (
        f"{node.text}({', '.join(parts)})"
    )  # fmt: skip
