"""CEL expressions over flat typed variables, compiled once: the one expression language of bundles and remedies.

Common Expression Language (cel.dev), evaluated by Google's C++ implementation. Two answers are possible and nothing is
silent: a value of the announced type, or an `ExpressionError` that says why there is none.
"""

from collections.abc import Mapping
from functools import lru_cache

from cel_expr_python import cel

Value = bool | int | str
VariableTypes = Mapping[str, type[Value]]

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
        self.compile = lru_cache(maxsize=4096)(self._compile)

    def _compile(self, source: str, gives: type[Value]) -> "Expression":
        """The compiled expression. Raises `ExpressionError` when it does not compile or gives another type."""
        try:
            compiled = self._env.compile(source)
        except Exception as error:  # the binding raises plain RuntimeError for every compile error
            raise ExpressionError(source, str(error)) from None
        if compiled.return_type() != _CEL_TYPES[gives]:
            raise ExpressionError(source, f"gives {compiled.return_type().name()}, expected {gives.__name__}")
        return Expression(source, compiled, gives)


class Expression:
    """A compiled expression."""

    def __init__(self, source: str, compiled: cel.Expression, gives: type[Value]) -> None:
        self.source = source
        self._compiled = compiled
        self._gives = gives

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The value under `values`, which must hold every variable. Raises `ExpressionError`."""
        try:
            result = self._compiled.eval(data=values)
        except Exception as error:  # an exhausted iteration budget raises RuntimeError
            raise ExpressionError(self.source, str(error)) from None
        value = result.plain_value()
        if result.type() == cel.Type.ERROR:
            raise ExpressionError(self.source, str(value))
        if type(value) is not self._gives:
            raise ExpressionError(self.source, f"gave {value!r}, expected {self._gives.__name__}")
        return value
