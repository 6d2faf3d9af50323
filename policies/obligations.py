"""The obligations that a rule may impose. Whoever carries out a plan refuses an obligation that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

APPROVAL: Final = "approval"
"""The policy waits for it; an executor only checks that the authorisation bears enough approvals."""
NOTIFY: Final = "notify"
WHEN_REACHED: Final = "when_reached"
BEFORE_START: Final = "before_start"
LONGEST_REQUEST_MS: Final = 6 * 86_400_000
"""Longest time that people may be given: six days. The effector remembers for a week what a held step is of."""
TOLERANCES: Final = r"[a-z_]+:[0-9]{1,16}(\s*,\s*[a-z_]+:[0-9]{1,16})*"
"""How tolerances are written."""


class Per(StrEnum):
    """What is approved on its own, from the coarsest to the finest. A stage ends with a step that has a gate."""

    PLAN = "plan"
    STAGE = "stage"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter of an obligation: a whole number when `whole`, else a text; it may be left out when `optional`."""

    meaning: str
    whole: bool = False
    optional: bool = False
    most: int | None = None
    """The largest whole number; None for no bound."""
    pattern: str = ""
    """What a text must match as a whole; anything when empty."""
    default: str = ""
    """What it means to leave an optional one out."""


@dataclass(frozen=True, slots=True)
class ObligationSpec:
    """One obligation: its meaning and its parameters, all of which must be given but for the optional ones."""

    meaning: str
    parameters: Mapping[str, ParameterSpec]


OBLIGATIONS: Final[Mapping[str, ObligationSpec]] = {
    APPROVAL: ObligationSpec(
        "The plan waits until people have approved it",
        {
            "group": ParameterSpec("The role in the signer list whose members may approve"),
            "needed": ParameterSpec("How many different people must approve, at least 1", whole=True),
            "expires_ms": ParameterSpec(
                f"How long the request stands, in milliseconds, at most {LONGEST_REQUEST_MS} (six days);"
                " then the plan is denied",
                whole=True,
                most=LONGEST_REQUEST_MS,
            ),
            "per": ParameterSpec(
                "What is approved on its own: the whole `plan` (without it), each `stage`, which is the steps up to and"
                " with one that has a gate, or each `step`",
                optional=True,
                pattern="|".join(Per),
                default=Per.PLAN,
            ),
            "ask": ParameterSpec(
                "`when_reached` (without it): an execution waits before each stage or step until it is approved, or"
                " `before_start`: all of them are asked for at once; only with `per: stage` or `per: step`",
                optional=True,
                pattern=f"{WHEN_REACHED}|{BEFORE_START}",
                default=WHEN_REACHED,
            ),
            "tolerances": ParameterSpec(
                "Facts that the approval rests on, how far each may move, as `plan_confidence_bp:500, breaker_open:0`",
                optional=True,
                pattern=TOLERANCES,
            ),
        },
    ),
    NOTIFY: ObligationSpec(
        "Someone is told that the plan is being executed",
        {"to": ParameterSpec("Who: a person, a team or a channel")},
    ),
}
"""Obligation name -> what it is."""


def parameter_of(obligation: str, parameters: Mapping[str, object], name: str) -> str:
    """A parameter of an obligation as text, or what it means to leave it out. Raises `KeyError` for an unknown one."""
    return str(parameters.get(name, OBLIGATIONS[obligation].parameters[name].default))


def in_words(obligation: str, parameters: Mapping[str, object]) -> str:
    """What an obligation comes to, for people: its parameters, and those left out as what that means."""
    if obligation != APPROVAL:
        return f"{obligation} " + ", ".join(f"{name} {value}" for name, value in sorted(parameters.items()))
    per = Per(parameter_of(obligation, parameters, "per"))
    asked = parameter_of(obligation, parameters, "ask")
    when = "before the start" if per is Per.PLAN or asked == BEFORE_START else "as it is reached"
    of = f"the whole {per}" if per is Per.PLAN else f"each {per}"
    bounds = tolerances_of(str(parameters.get("tolerances", "")))
    moved = "".join(f", void when {fact} moves by more than {most}" for fact, most in bounds.items())
    who = f"{parameters['needed']} of `{parameters['group']}` within {parameters['expires_ms']} ms"
    return f"{obligation} of {of}, asked for {when}, by {who}{moved}"


def tolerances_of(text: str) -> dict[str, int]:
    """Tolerances by fact, from the text that an obligation states them in; empty for an empty text."""
    pairs = (part.strip().split(":") for part in text.split(",") if part.strip())
    return {name: int(most) for name, most in pairs}
