"""Pinned administrators: whose signer lists the effector acts under, whatever the log says.

The log is shared, and its signer list says who administers it. So that nobody becomes an administrator for the effector
by configuration on the log alone, it is told on its own machine who they are. With one in force whom it is not told of,
it refuses every step, and also what undoes one.
"""

from pathlib import Path

from autopilot.infra.keys import KeyFileError, public_key_of
from autopilot.infra.settings import PREFIX, Settings
from autopilot.infra.signers import ADMINISTRATOR
from autopilot.schemas.configuration import Configuration, Principal, Role

SETTING = f"{PREFIX}PINNED_ADMINISTRATORS"


def pinned_administrators(settings: Settings) -> frozenset[str]:
    """The public keys that the setting has; without it that of the administrator whose key `up` made in this home.

    None are pinned where neither is: a process on a machine without that key, which was told of nobody.
    """
    return frozenset(settings.pinned_administrators.split()) or _first_administrator(settings.keys)


def not_pinned(configuration: Configuration, pinned: frozenset[str]) -> list[Principal]:
    """The administrators of a configuration because of whom an effector with these pins would refuse every step."""
    administrators = [one for one in configuration.signers() if Role.ADMINISTRATOR in one.roles]
    return [one for one in administrators if pinned and one.public_key not in pinned]


def advice(unpinned: Principal, pinned: frozenset[str]) -> str:
    """What to do so that the effector acts under an administrator."""
    keys = " ".join([*sorted(pinned), unpinned.public_key])
    return (
        f"`{unpinned.name}` is an administrator whom the effector is not told of: it will refuse every step, also what"
        f' undoes one, until it is started with {SETTING}="{keys}"'
    )


def _first_administrator(keys: Path) -> frozenset[str]:
    try:
        return frozenset({public_key_of(keys, ADMINISTRATOR)})
    except KeyFileError:
        return frozenset()
