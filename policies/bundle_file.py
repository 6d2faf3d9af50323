"""Reads a bundle from YAML; every error names file, line and column and says what to write instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autopilot.policies.bundle import PlacedError, PolicyBundle
from autopilot.policies.cel_engine import ConditionError, PolicyEngine, names_in
from autopilot.policies.engine import ENGINE, CompiledBundle, compiled
from autopilot.policies.facts import SPECS


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class BundleError(ValueError):
    """A bundle cannot be used: `problems` says why, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class BundleFile:
    """A bundle with its source text, so that what is found later can point into it."""

    compiled: CompiledBundle
    source: "YamlText"

    @property
    def bundle(self) -> PolicyBundle:
        """The bundle."""
        return self.compiled.bundle

    def problem(self, loc: Sequence[str | int], message: str) -> Problem:
        """A problem at the place in the file that `loc` leads to, such as `("rules", 2, "when")`."""
        return self.source.problem(loc, message)


def parse_bundle(text: str, file: str, engine: PolicyEngine = ENGINE) -> BundleFile:
    """The bundle that a YAML text holds, compiled. `file` is its name in errors. Raises `BundleError`."""
    source = YamlText(text, file, "begin with `kind: PolicyBundle`")
    try:
        bundle = PolicyBundle.model_validate(source.data)
    except ValidationError as error:
        problems = [source.found(detail, PolicyBundle) for detail in error.errors()]
        raise BundleError(sorted(problems, key=lambda problem: (problem.line, problem.column))) from None
    try:
        return BundleFile(compiled(bundle, engine), source)
    except ConditionError as error:
        message = f"condition: {_cel_advice(error, bundle)}"
        raise BundleError([source.within(("rules", error.index, "when"), error, message)]) from None


class YamlText:
    """A YAML text as plain data, and where in the text each part stands."""

    def __init__(self, text: str, file: str, beginning: str) -> None:
        self.file = file
        self._lines = text.splitlines()
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self._check_keys(root)
            self.data: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise BundleError([Problem(file, *place, f"not YAML: {error.problem}")]) from None
        if not isinstance(root, yaml.MappingNode):
            raise BundleError([Problem(file, 1, 1, f"not a mapping: {beginning}")])
        self._root = root

    def found(self, detail: ErrorDetails, model: type[BaseModel]) -> Problem:
        """What `model` finds wrong, with what to write instead."""
        return self.problem(_place(detail), _advice(detail, model))

    def problem(self, loc: Sequence[str | int], message: str) -> Problem:
        """A problem at the place that `loc` leads to."""
        mark = self._node(loc).start_mark
        return Problem(self.file, mark.line + 1, mark.column + 1, message)

    def within(self, loc: Sequence[str | int], error: ConditionError, message: str) -> Problem:
        """The place of an error within a text: exact for texts on one line and for `|` blocks."""
        node = self._node(loc)
        line, column, style = node.start_mark.line, node.start_mark.column, getattr(node, "style", None)
        if style == "|" and line + error.line < len(self._lines):
            line += error.line
            column = len(self._lines[line]) - len(self._lines[line].lstrip())
        elif style in ('"', "'"):
            column += 1
        if style != ">":
            column += error.column - 1
        return Problem(self.file, line + 1, column + 1, message)

    def _node(self, loc: Sequence[str | int]) -> yaml.Node:
        node: yaml.Node = self._root
        for step in loc:
            found: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                found = next((value for key, value in node.value if key.value == step), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
            if found is None:
                break
            node = found
        return node

    def _check_keys(self, node: yaml.Node | None) -> None:
        """YAML takes the last of two equal keys in silence; here it is an error."""
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._check_keys(item)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    place = (key.start_mark.line + 1, key.start_mark.column + 1)
                    raise BundleError([Problem(self.file, *place, f"`{key.value}` is given twice: keep one")])
                seen.add(key.value)
                self._check_keys(value)


def _place(detail: ErrorDetails) -> list[str | int]:
    """The path to what is wrong, without what is not in the file: names of the members of a union."""
    cause = detail.get("ctx", {}).get("error")
    loc = (*detail["loc"], *(cause.loc if isinstance(cause, PlacedError) else ()))
    return [step for step in loc if isinstance(step, int) or not step.startswith(("bool", "int", "constrained"))]


def _advice(detail: ErrorDetails, model: type[BaseModel]) -> str:
    where = ".".join(str(step) for step in _place(detail)) or "bundle"
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"unknown field `{detail['loc'][-1]}`: {_nearest_field(detail['loc'], model)}"
    if kind == "missing":
        return f"`{where}` is missing: write it"
    if kind in ("enum", "literal_error"):
        return f"`{where}` is {value!r}: write {detail['ctx']['expected']}"
    if where == "version":
        return f'`version` is {value!r}: write a text such as "1.2.0", in quotes'
    message = detail["msg"].removeprefix("Value error, ")
    return f"`{where}` is {value!r}: {message}" if isinstance(value, str | int) else f"`{where}`: {message}"


def _nearest_field(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    fields = _fields(model, loc[:-1])
    near = get_close_matches(str(loc[-1]), fields, n=1)
    return f"write `{near[0]}`" if near else f"the fields here are {', '.join(fields)}"


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The fields of the model that `loc` leads to."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            nested = _nested(model.model_fields[step].annotation)
            model = nested or model
    return list(model.model_fields)


def _nested(annotation: Any) -> type[BaseModel] | None:
    """The model within a field's type, such as the `Rule` of `list[Rule]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = getattr(annotation, "__args__", ())
    return next((found for part in parts if (found := _nested(part)) is not None), None)


def _cel_advice(error: ConditionError, bundle: PolicyBundle) -> str:
    """The engine's word, with the nearest name when a name is unknown."""
    if "undeclared reference to" not in error.reason:
        return error.reason
    known = [*SPECS, *bundle.values()]
    for name in names_in(error.source):
        if name not in known and (name.startswith("params.") or f"'{name}'" in error.reason):
            near = get_close_matches(name, known, n=1)
            return f"`{name}` is no fact and no parameter: write " + (f"`{near[0]}`" if near else "one of the facts")
    return error.reason
