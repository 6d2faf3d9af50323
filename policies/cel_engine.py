"""CEL in C++ behind the policy engine's port: a bundle's conditions joined into one list, evaluated at once.

Each condition is compiled alone first, so that an error names it; then all are joined as a list (a chain of operators
would hit the parser's recursion limit). One erring element turns the whole list into an error, so that only then the
conditions are evaluated singly. Evaluation holds the interpreter's lock: scale by processes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, Protocol

from cel_expr_python import cel

from autopilot.policies.facts import Value

VariableTypes = Mapping[str, type[Value]]
Answer = bool | str
"""Whether a condition holds, or the text of the error that it gave."""

_TYPES: Final[dict[type, cel.Type]] = {bool: cel.Type.BOOL, int: cel.Type.INT, str: cel.Type.STRING}
_TEXT: Final = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_WORD: Final = re.compile(r"(?<![\w.])(?:params\.)?[A-Za-z_]\w*")
_FLOAT: Final = re.compile(r"(?<![\w.])(\d+\.\d+|\d+[eE][+-]?\d+|double\s*\()")
_MOST_KEPT: Final = 4_096
_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")


class ConditionError(ValueError):
    """A condition does not compile: `index` says which; `line` and `column` count from 1 within its text."""

    def __init__(self, index: int, source: str, reason: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"`{source}`: {reason}")
        self.index = index
        self.source = source
        self.reason = reason
        self.line = line
        self.column = column


class Conditions(Protocol):
    """Compiled conditions."""

    def evaluate(self, values: Mapping[str, Value]) -> Sequence[Answer]:
        """One answer for each condition, in order. Never raises."""
        ...


class PolicyEngine(Protocol):
    """What evaluates conditions. `identity` is part of every bundle digest: name and version."""

    identity: str

    def compile(
        self, variables: VariableTypes, sources: Sequence[str], constants: Mapping[str, Value] | None = None
    ) -> Conditions:
        """The compiled conditions. Raises `ConditionError` for the first that is wrong.

        `constants` are the variables whose values never change; evaluating gives them all the same.
        """
        ...


def names_in(source: str) -> list[str]:
    """The names that a condition mentions, each once, in order; what stands in quotes is not a name."""
    return list(dict.fromkeys(_WORD.findall(_TEXT.sub('""', source))))


@dataclass(frozen=True)
class _OfText:
    """A condition on one text alone: its answers are kept, by text. A pattern is costly, and texts repeat."""

    index: int
    name: str
    expression: cel.Expression
    answers: dict[Value, Answer] = field(default_factory=dict)

    def answer(self, text: Value) -> Answer:
        found = self.answers.get(text)
        if found is None:
            if len(self.answers) >= _MOST_KEPT:
                self.answers.clear()
            found = self.answers[text] = _single(self.expression, {self.name: text})
        return found


@dataclass(frozen=True)
class _CelConditions:
    joined: cel.Expression | None
    singly: Sequence[cel.Expression]
    of_text: Sequence[_OfText]
    used: frozenset[str]
    """The variables that `joined` needs."""
    known: frozenset[str]

    def evaluate(self, values: Mapping[str, Value]) -> Sequence[Answer]:
        answers: list[Answer] = []
        if self.joined is not None:
            answer = _evaluated(self.joined, {name: values[name] for name in self.used})
            if not isinstance(answer, list):
                data = {name: values[name] for name in self.known}
                return [_single(expression, data) for expression in self.singly]
            answers = answer
        for each in self.of_text:
            answers.insert(each.index, each.answer(values[each.name]))
        return answers


def _evaluated(expression: cel.Expression, data: Mapping[str, Value]) -> object:
    """The plain value, or an error's text."""
    try:
        result = expression.eval(data=data)
    except Exception as error:  # an exhausted iteration budget raises a plain RuntimeError
        return str(error)
    return result.plain_value() if result.type() != cel.Type.ERROR else str(result.plain_value())


def _single(expression: cel.Expression, data: Mapping[str, Value]) -> Answer:
    answer = _evaluated(expression, data)
    return answer if isinstance(answer, bool) else str(answer)


class CelEngine:
    """Google's CEL in C++, by `cel-expr-python`."""

    identity = f"cel-expr-python/{version('cel-expr-python')}"

    def compile(
        self, variables: VariableTypes, sources: Sequence[str], constants: Mapping[str, Value] | None = None
    ) -> Conditions:
        """See `PolicyEngine.compile`. Floats are refused: a decision rests on integers.

        Constants are written into the conditions, after these were checked as they stand: what is handed over at each
        evaluation is then less.
        """
        env = cel.NewEnv(variables={name: _TYPES[kind] for name, kind in variables.items()})
        singly = [_compiled(env, index, source) for index, source in enumerate(sources)]
        used = [[name for name in names_in(source) if name in variables] for source in sources]
        known = frozenset(name for names in used for name in names)
        plain = [_with_constants(source, constants or {}) for source in sources]
        open_names = [[name for name in names if name not in (constants or {})] for names in used]
        of_text = [
            _OfText(index, names[0], env.compile(plain[index]))
            for index, names in enumerate(open_names)
            if len(names) == 1 and variables[names[0]] is str
        ]
        apart = {each.index for each in of_text}
        rest = [index for index in range(len(sources)) if index not in apart]
        joined = env.compile("[" + ", ".join(f"(\n{plain[index]}\n)" for index in rest) + "]") if rest else None
        needed = frozenset(name for index in rest for name in open_names[index])
        return _CelConditions(joined, singly, of_text, needed, known)


def _with_constants(source: str, constants: Mapping[str, Value]) -> str:
    """The condition with literals in the place of constants; what stands in quotes is left alone."""
    parts: list[str] = []
    at = 0
    for quoted in _TEXT.finditer(source):
        parts += [_WORD.sub(lambda word: _literal(word[0], constants), source[at : quoted.start()]), quoted[0]]
        at = quoted.end()
    return "".join((*parts, _WORD.sub(lambda word: _literal(word[0], constants), source[at:])))


def _literal(name: str, constants: Mapping[str, Value]) -> str:
    if name not in constants:
        return name
    value = constants[name]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else f"({value})"


def _compiled(env: cel.Env, index: int, source: str) -> cel.Expression:
    fraction = _FLOAT.search(_TEXT.sub(lambda text: '"' + "_" * (len(text[0]) - 2) + '"', source))
    if fraction:
        before = source[: fraction.start()]
        column = fraction.start() - (before.rfind("\n") + 1) + 1
        reason = f"`{fraction[1]}` is a fraction: write a whole number in basis points, thousandths or ms"
        raise ConditionError(index, source, reason, before.count("\n") + 1, column)
    try:
        compiled = env.compile(source)
    except Exception as error:  # the binding raises plain RuntimeError for every compile error
        place = _PLACE.search(str(error))
        if place is None:
            raise ConditionError(index, source, str(error)) from None
        line, column = int(place[1]), int(place[2])
        if source.splitlines()[line - 1][: column - 1].endswith("params"):
            column -= len("params")  # the engine points at the dot of a name that it does not know
        raise ConditionError(index, source, place[3], line, column) from None
    if compiled.return_type() != cel.Type.BOOL:
        reason = f"gives {compiled.return_type().name()}: write a condition that is true or false"
        raise ConditionError(index, source, reason)
    return compiled
