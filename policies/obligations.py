"""The obligations that a rule may impose. Whoever carries out a plan refuses an obligation that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

APPROVAL: Final = "approval"
"""The policy waits for it; an executor only checks that the authorisation bears enough approvals."""
NOTIFY: Final = "notify"


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter of an obligation: a whole number when `whole`, else a text."""

    meaning: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ObligationSpec:
    """One obligation: its meaning and its parameters, all of which must be given."""

    meaning: str
    parameters: Mapping[str, ParameterSpec]


OBLIGATIONS: Final[Mapping[str, ObligationSpec]] = {
    APPROVAL: ObligationSpec(
        "The plan waits until people have approved it",
        {
            "group": ParameterSpec("The role in the signer list whose members may approve"),
            "needed": ParameterSpec("How many different people must approve, at least 1", whole=True),
            "expires_ms": ParameterSpec("How long the request stands, in milliseconds; then the plan is denied", True),
        },
    ),
    NOTIFY: ObligationSpec(
        "Someone is told that the plan is being executed",
        {"to": ParameterSpec("Who: a person, a team or a channel")},
    ),
}
"""Obligation name -> what it is."""
