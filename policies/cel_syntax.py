"""The part of CEL that tools understand: a condition as a tree, each node with its place in the text.

Only tools look into conditions (coverage, explanations, static checks, mutants, columns); what a condition means is the
engine's business alone. A condition outside this part, such as one with a comprehension, raises `OutsideError`, and
tools then treat it as a whole.

Grammar: the CEL specification's, without maps, messages, indexing, macros, floats, unsigned numbers, bytes and raw or
triple-quoted texts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from autopilot.policies.facts import SPECS, Value

MOST_DEEP: Final = 100
_LIMIT: Final = 2**63
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>0x[0-9a-fA-F]+|\d+)(?![\w.])|(?P<name>[A-Za-z_]\w*)"
    r'|(?P<text>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|(?P<mark>\|\||&&|[=!<>]=|[-+*/%<>!?:(),.\[\]]))'
)
_ESCAPES: Final[Mapping[str, str]] = {
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v",
    "?": "?", "`": "`",
}  # fmt: skip
_RANKS: Final[Mapping[str, int]] = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3, "+": 4, "-": 4, "*": 5, "/": 5,
    "%": 5,
}  # fmt: skip
_LOGIC: Final = frozenset({"||", "&&"})
COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
ARITHMETIC: Final = frozenset({"+", "-", "*", "/", "%"})
_BOOL_CALLS: Final = frozenset({"matches", "contains", "startsWith", "endsWith"})


class OutsideError(ValueError):
    """A condition uses something that tools do not look into."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a condition. `start` and `end` are its place in the text.

    `kind` is `value`, `name`, `list`, `call`, `member` (a call on its first part), `unary`, `binary` or `choice`;
    `text` is the name, the operator or the function; `value` is that of a literal.
    """

    kind: str
    text: str
    parts: tuple["Node", ...]
    start: int
    end: int
    value: Value = False

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, parents first."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def names(self) -> frozenset[str]:
        """The facts and parameters in it."""
        return frozenset(node.text for node in self.walk() if node.kind == "name")

    @property
    def logic(self) -> bool:
        """Whether it joins, negates or chooses between conditions."""
        return (self.kind == "binary" and self.text in _LOGIC) or (self.kind == "unary" and self.text == "!")


def type_of(node: Node, params: Mapping[str, Value]) -> type | None:
    """The type that a node gives; None when that is not plain. `params` are as `PolicyBundle.values` gives them."""
    if node.kind == "value":
        return type(node.value)
    if node.kind == "name":
        return SPECS[node.text].type if node.text in SPECS else type(params[node.text]) if node.text in params else None
    if node.kind == "choice":
        return type_of(node.parts[1], params)
    if node.kind in ("call", "member"):
        return bool if node.text in _BOOL_CALLS else int if node.text == "size" else None
    if node.kind in ("unary", "binary") and (node.text in ARITHMETIC):
        return type_of(node.parts[0], params)
    return None if node.kind == "list" else bool


def atoms_of(node: Node) -> Iterator[Node]:
    """The comparisons, calls and facts that a condition joins. Constants are none."""
    if node.logic or node.kind == "choice":
        for part in node.parts:
            yield from atoms_of(part)
    elif node.kind != "value":
        yield node


@lru_cache(maxsize=4096)
def parsed(source: str) -> Node:
    """The tree of a condition. Raises `OutsideError` for what tools do not look into."""
    parser = _Parser(source)
    node = parser.expression()
    parser.end()
    return node


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Parser:
    """By precedence climbing."""

    def __init__(self, source: str) -> None:
        self._tokens = list(_tokens(source))
        self._at = 0
        self._depth = 0

    def end(self) -> None:
        if self._peek().kind != "end":
            raise OutsideError(f"`{self._peek().text}` was not expected")

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MOST_DEEP:
            raise OutsideError("nested too deeply")
        node = self._binary(1)
        if self._accept("?"):
            then = self._binary(1)
            self._expect(":")
            other = self.expression()
            node = Node("choice", "?:", (node, then, other), node.start, other.end)
        self._depth -= 1
        return node

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while (rank := _RANKS.get(self._peek().text, 0)) >= least and self._peek().kind in ("mark", "name"):
            operator = self._next().text
            right = self._binary(rank + 1)
            left = Node("binary", operator, (left, right), left.start, right.end)
        return left

    def _unary(self) -> Node:
        token = self._peek()
        if token.kind != "mark" or token.text not in ("!", "-"):
            return self._postfix()
        self._next()
        following = self._peek()
        if token.text == "-" and following.kind == "number":
            self._next()
            return _number("-" + following.text, token.start, following.end)
        operand = self._unary()
        return Node("unary", token.text, (operand,), token.start, operand.end)

    def _postfix(self) -> Node:
        node = self._primary()
        while self._accept("."):
            name = self._next()
            if name.kind != "name":
                raise OutsideError(f"`{name.text}` was not expected")
            if self._peek().text == "(":
                arguments, end = self._arguments(")")
                node = Node("member", name.text, (node, *arguments), node.start, end)
            elif node.kind == "name" and node.text == "params":
                node = Node("name", f"params.{name.text}", (), node.start, name.end)
            else:
                raise OutsideError(f"`.{name.text}` is a field")
        return node

    def _primary(self) -> Node:
        token = self._next()
        if token.kind == "number":
            return _number(token.text, token.start, token.end)
        if token.kind == "text":
            return Node("value", token.text, (), token.start, token.end, _unescaped(token.text))
        if token.text == "(":
            inner = self.expression()
            return Node(inner.kind, inner.text, inner.parts, token.start, self._expect(")").end, inner.value)
        if token.text == "[":
            self._at -= 1
            items, end = self._arguments("]")
            return Node("list", "[]", items, token.start, end)
        if token.kind == "name" and token.text != "in":
            return self._named(token)
        raise OutsideError(f"`{token.text}` was not expected")

    def _named(self, token: _Token) -> Node:
        if token.text in ("true", "false"):
            return Node("value", token.text, (), token.start, token.end, token.text == "true")
        if self._peek().text == "(":
            arguments, end = self._arguments(")")
            return Node("call", token.text, arguments, token.start, end)
        return Node("name", token.text, (), token.start, token.end)

    def _arguments(self, closing: str) -> tuple[tuple[Node, ...], int]:
        self._next()
        found: list[Node] = []
        while self._peek().text != closing or self._peek().kind != "mark":
            found.append(self.expression())
            if not self._accept(","):
                break
        return tuple(found), self._expect(closing).end

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _accept(self, mark: str) -> bool:
        if self._peek().kind == "mark" and self._peek().text == mark:
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> _Token:
        token = self._next()
        if token.kind != "mark" or token.text != mark:
            raise OutsideError(f"`{token.text}` was not expected")
        return token


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    end = len(source.rstrip())
    while at < end:
        found = _TOKEN.match(source, at)
        if found is None or found.lastgroup is None:
            raise OutsideError(f"`{source[at:].strip()[:20]}` was not expected")
        kind = found.lastgroup
        following = source[found.end() : found.end() + 1]
        if kind == "name" and following in ('"', "'"):
            raise OutsideError("a raw text or bytes")
        if kind == "text" and following == found[kind][0]:
            raise OutsideError("a triple-quoted text")
        yield _Token(kind, found[kind], found.start(kind), found.end(kind))
        at = found.end()
    yield _Token("end", "", len(source), len(source))


def _number(text: str, start: int, end: int) -> Node:
    value = int(text, 0) if "x" in text else int(text)
    if not -_LIMIT <= value < _LIMIT:
        raise OutsideError(f"`{text}` is beyond 64 bits")
    return Node("value", text, (), start, end, value)


def _unescaped(quoted: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPES:
            raise OutsideError(f"the escape `{found[0]}`")
        return _ESCAPES[found[1]]

    return re.sub(r"\\(.)", one, quoted[1:-1])
