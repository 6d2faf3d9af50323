"""The obligations that a rule may impose. Whoever carries out a plan refuses an obligation that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
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
                "`plan` (without it), or `step`: each step is approved on its own",
                optional=True,
                pattern="plan|step",
                default="plan",
            ),
            "ask": ParameterSpec(
                "`when_reached` (without it): an execution waits before each step until it is approved, or"
                " `before_start`: all steps are asked for at once; only with `per: step`",
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


def tolerances_of(text: str) -> dict[str, int]:
    """Tolerances by fact, from the text that an obligation states them in; empty for an empty text."""
    pairs = (part.strip().split(":") for part in text.split(",") if part.strip())
    return {name: int(most) for name, most in pairs}
