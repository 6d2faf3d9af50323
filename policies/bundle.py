"""The policy bundle: rules over facts, with their parameters, their messages and their own tests.

A bundle is data. What it means is the engine's part (`autopilot.policies.engine`); how it is read from a file, with
errors that point at the line, is `autopilot.policies.bundle_file`'s. `docs/policy-language.md` describes the language.
"""

from enum import StrEnum
from functools import lru_cache
from re import fullmatch
from string import Formatter
from typing import Annotated, Final, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from autopilot.policies.facts import FACTS_VERSION, SPECS, Value, unknown_fact
from autopilot.policies.obligations import OBLIGATIONS, ParameterSpec, Per, parameter_of, tolerances_of
from autopilot.schemas.configuration import KINDS, Name, Written, canonical

ParamName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A parameter's name: lower-case letters, digits and `_`."""

BoundedInt = Annotated[StrictInt, Field(ge=-(2**53), le=2**53)]
ParamValue = StrictBool | BoundedInt | StrictStr
ExpectedObligation = str | dict[str, dict[str, StrictInt | StrictStr]]
"""An obligation that a case expects: its name, or its name with parameters that it must bear."""


class PlacedError(ValueError):
    """Something wrong within a bundle; `loc` leads to it, such as `("rules", 2, "message")`."""

    def __init__(self, loc: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.loc = loc


class Effect(StrEnum):
    """What a rule does when its condition holds."""

    PERMIT = "permit"
    DENY = "deny"
    OBLIGATE = "obligate"


class Ruling(StrEnum):
    """What a bundle says of a fact set."""

    ALLOW = "allow"
    DENY = "deny"
    NEEDS_APPROVAL = "needs_approval"


class Param(Written):
    """A constant that rules use as `params.NAME`. Its type is that of its value."""

    value: ParamValue
    description: str


def _expected(value: int | str, parameter: ParameterSpec) -> str:
    """What a parameter should be, where the value is none of that; empty where it is."""
    if parameter.whole:
        if not isinstance(value, int) or value < 1:
            return "a whole number of at least 1"
        most = parameter.most
        return f"a whole number of at most {most}" if most is not None and value > most else ""
    if not isinstance(value, str) or not value:
        return "a text"
    return parameter.meaning if parameter.pattern and not fullmatch(parameter.pattern, value) else ""


class RuleObligation(Written):
    """What an `obligate` rule asks for. Texts may hold `{fact}` and `{params.name}`."""

    name: str
    parameters: dict[str, StrictInt | StrictStr] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> "RuleObligation":
        spec = OBLIGATIONS.get(self.name)
        if spec is None:
            raise ValueError(f"unknown obligation `{self.name}`: write one of {', '.join(OBLIGATIONS)}")
        needed = [name for name, parameter in spec.parameters.items() if not parameter.optional]
        optional = [name for name, parameter in spec.parameters.items() if parameter.optional]
        if not set(needed) <= set(self.parameters) <= {*needed, *optional}:
            more = f", and may have {', '.join(optional)}" if optional else ""
            raise ValueError(f"`{self.name}` takes exactly the parameters {', '.join(needed)}{more}")
        for name, value in self.parameters.items():
            expected = _expected(value, spec.parameters[name])
            if expected:
                raise ValueError(f"`{name}` is {value!r}: write {expected}")
        if "ask" in self.parameters and parameter_of(self.name, self.parameters, "per") == Per.PLAN:
            raise ValueError(
                "`ask` says when each stage or step is asked for:"
                " write `per: stage` or `per: step` as well, or leave it out"
            )
        for name in tolerances_of(str(self.parameters.get("tolerances", ""))):
            if name not in SPECS:
                raise unknown_fact(name)
        return self


class Rule(Written):
    """One rule: when its condition holds, its effect counts."""

    id: Name
    effect: Effect
    when: str = Field(min_length=1, description="CEL over facts and `params`, giving a bool")
    message: str = Field(min_length=1, description="for people, with `{fact}` and `{params.name}` filled in")
    owner: str = Field(default="", description="who answers for the rule")
    controls: list[str] = Field(default=[], description="ids of the controls that it implements")
    obligation: RuleObligation | None = None

    @model_validator(mode="after")
    def _obligation_goes_with_obligate(self) -> "Rule":
        if (self.effect is Effect.OBLIGATE) != (self.obligation is not None):
            raise ValueError("`obligation` belongs to rules with `effect: obligate`, and each of those needs one")
        return self

    def templates(self) -> list[tuple[str, str]]:
        """The texts in which values are filled in, with the field that each stands in."""
        parameters = self.obligation.parameters.values() if self.obligation else ()
        return [("message", self.message), *(("obligation", value) for value in parameters if isinstance(value, str))]


class Expectation(Written):
    """What a case expects; what is not given is not asked."""

    verdict: Ruling
    rules: list[str] | None = Field(default=None, description="ids of exactly the rules that decided it")
    obligations: list[ExpectedObligation] | None = Field(
        default=None,
        description="names of exactly the obligations imposed; instead of a name, `NAME: {parameter: value, ...}`",
    )

    @field_validator("obligations")
    @classmethod
    def _known_parameters(cls, obligations: list[ExpectedObligation] | None) -> list[ExpectedObligation] | None:
        for one in obligations or []:
            for name, parameters in one.items() if isinstance(one, dict) else ():
                known = OBLIGATIONS[name].parameters if name in OBLIGATIONS else {}
                for parameter in parameters:
                    if parameter not in known:
                        raise ValueError(f"`{name}` has no parameter `{parameter}`")
        return obligations


class Case(Written):
    """One inline test: the baseline facts with some of them changed, and what is expected."""

    name: str = Field(min_length=1)
    facts: dict[str, ParamValue] = Field(default_factory=dict)
    expect: Expectation

    @field_validator("facts")
    @classmethod
    def _of_the_schema(cls, facts: dict[str, Value]) -> dict[str, Value]:
        for name, value in facts.items():
            if name not in SPECS:
                raise unknown_fact(name)
            SPECS[name].check(value)
        return facts


class PolicyBundle(Written):
    """A named, versioned set of rules."""

    kind: Literal["PolicyBundle"] = "PolicyBundle"
    name: Name
    version: str = Field(pattern=r"^[0-9]+(\.[0-9]+){0,2}$")
    description: str
    facts: int = Field(description="version of the facts schema that it was written for")
    params: dict[ParamName, Param] = Field(default_factory=dict)
    rules: list[Rule] = Field(min_length=1)
    tests: list[Case] = Field(default_factory=list)

    @field_validator("facts")
    @classmethod
    def _facts_version(cls, version: int) -> int:
        if not 1 <= version <= FACTS_VERSION:
            raise ValueError(f"facts schema {version} is not known: write `facts: {FACTS_VERSION}`")
        return version

    @model_validator(mode="after")
    def _coherent(self) -> "PolicyBundle":
        ids = [rule.id for rule in self.rules]
        for index, rule in enumerate(self.rules):
            if rule.id in ids[:index]:
                raise PlacedError(("rules", index, "id"), f"the rule id `{rule.id}` is used twice: give it another")
            for field, text in rule.templates():
                self._check_placeholders(("rules", index, field), text)
        return self

    def _check_placeholders(self, loc: tuple[str | int, ...], text: str) -> None:
        known = [*SPECS, *(f"params.{param}" for param in self.params)]
        try:
            names = placeholders(text)
        except ValueError as error:
            raise PlacedError(loc, str(error)) from None
        for name in names:
            if name not in known:
                raise PlacedError(loc, f"in a message, {unknown_fact(name, known)}")

    @property
    def title(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def source(self) -> str:
        """The canonical source: what the digest covers."""
        return canonical(self.model_dump(mode="json"))

    def values(self) -> dict[str, Value]:
        """The parameters' values under the names that rules use."""
        return {f"params.{name}": param.value for name, param in self.params.items()}


def placeholders(text: str) -> list[str]:
    """The names between braces in `text`. Raises ValueError on a stray brace."""
    try:
        return [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"`{text}`: {error}; write {{{{ and }}}} for braces") from None


@lru_cache(maxsize=4096)
def _split(text: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((literal, name) for literal, name, _, _ in Formatter().parse(text))


def filled(text: str, values: dict[str, Value]) -> str:
    """`text` with the values in the place of their names; bools as CEL writes them."""
    parts: list[str] = []
    for literal, name in _split(text):
        parts.append(literal)
        if name is not None:
            value = values[name]
            parts.append(str(value).lower() if isinstance(value, bool) else str(value))
    return "".join(parts)


DOCUMENT_KINDS: Final[dict[str, type[Written]]] = {**KINDS, "PolicyBundle": PolicyBundle}
"""Every kind of document that may be applied, with its model."""
