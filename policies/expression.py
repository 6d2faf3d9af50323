"""CEL expressions over flat typed variables, compiled once: the one expression language of bundles and remedies.

Common Expression Language (cel.dev), evaluated by Google's C++ implementation. Two answers are possible and nothing is
silent: a value of the announced type, or an `ExpressionError` that says why there is none.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from cel_expr_python import cel

from autopilot.policies.cel_engine import names_in

Value = bool | int | str
VariableTypes = Mapping[str, type[Value]]

_MOST_COMPILED = 4_096
_MOST_KEPT = 1_024

_CEL_TYPES: dict[type, cel.Type] = {bool: cel.Type.BOOL, int: cel.Type.INT, str: cel.Type.STRING}


class ExpressionError(ValueError):
    """An expression does not compile, or gives no value of the announced type: `source` and `reason` say why."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"`{source}`: {reason}")
        self.source = source
        self.reason = reason


class Environment:
    """The variables that expressions may use, by name and type."""

    def __init__(self, variables: VariableTypes) -> None:
        self.variables = dict(variables)
        self._env = cel.NewEnv(variables={name: _CEL_TYPES[kind] for name, kind in variables.items()})
        self._kept: dict[tuple[str, type[Value]], Expression] = {}

    def compile(self, source: str, gives: type[Value]) -> "Expression":
        """The compiled expression. Raises `ExpressionError` when it does not compile or gives another type."""
        kept = self._kept.get((source, gives))
        if kept is None:
            if len(self._kept) >= _MOST_COMPILED:
                self._kept.clear()
            kept = self._kept[source, gives] = self._compiled(source, gives)
        return kept

    def _compiled(self, source: str, gives: type[Value]) -> "Expression":
        try:
            compiled = self._env.compile(source)
        except Exception as error:  # the binding raises plain RuntimeError for every compile error
            raise ExpressionError(source, str(error)) from None
        if compiled.return_type() != _CEL_TYPES[gives]:
            raise ExpressionError(source, f"gives {compiled.return_type().name()}, expected {gives.__name__}")
        names = tuple(name for name in names_in(source) if name in self.variables)
        return Expression(source, compiled, gives, names)


class Expression:
    """A compiled expression. `names` are the variables that it mentions: all that its value depends on."""

    def __init__(self, source: str, compiled: cel.Expression, gives: type[Value], names: tuple[str, ...]) -> None:
        self.source = source
        self.names = names
        self._compiled = compiled
        self._gives = gives
        self._key_of = _reader(names)
        self._kept: dict[Any, Value] = {}

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The value under `values`, which must hold every variable. Raises `ExpressionError`.

        Values are kept for as many of the variables' values as came up last: evaluating costs more than looking up.
        """
        key = self._key_of(values)
        value = self._kept.get(key)
        if value is None:
            value = self._evaluate({name: values[name] for name in self.names})
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = value
        return value

    def _evaluate(self, data: Mapping[str, Value]) -> Value:
        try:
            result = self._compiled.eval(data=data)
        except Exception as error:  # an exhausted iteration budget raises RuntimeError
            raise ExpressionError(self.source, str(error)) from None
        value = result.plain_value()
        if result.type() == cel.Type.ERROR:
            raise ExpressionError(self.source, str(value))
        if type(value) is not self._gives:
            raise ExpressionError(self.source, f"gave {value!r}, expected {self._gives.__name__}")
        return value


def _reader(names: tuple[str, ...]) -> Callable[[Mapping[str, Value]], Any]:
    """What gives the values of all names, as something to look up by."""
    return itemgetter(*names) if names else lambda _: ()
