"""What a driver author writes for the conformance suite: a driver at its real target, and how to bring faults about."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from autopilot.infra.effector.port import (
    ConflictError,
    CrashClass,
    DeniedError,
    Driver,
    MissingError,
    Observation,
    TargetError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.events.planner import Action


class Fault(StrEnum):
    """What can go wrong at a target."""

    DENIED = "denied"
    """The target refuses the credential."""
    MISSING = "missing"
    """There is no such target."""
    UNREACHABLE = "unreachable"
    """Nobody answers."""
    TIMEOUT = "timeout"
    """The target answers, or comes round, too late."""
    CONFLICT = "conflict"
    """Another writer changed the target after it was observed."""
    PARTIAL = "partial"
    """The act gets half way."""


ERRORS: Mapping[Fault, type[TargetError]] = {
    Fault.DENIED: DeniedError,
    Fault.MISSING: MissingError,
    Fault.UNREACHABLE: TransientError,
    Fault.TIMEOUT: TargetTimeoutError,
    Fault.CONFLICT: ConflictError,
    Fault.PARTIAL: TargetTimeoutError,
}
"""What a driver raises for each fault. Part of an effect is told as a timeout, so that it is undone: `PartialError`."""


@dataclass(frozen=True)
class Case:
    """One act that changes its target, each time that the rig has reset it."""

    action: Action
    crash_class: CrashClass
    effects: int = 1
    """How many changes one such act leaves in the target's history."""
    volatile: frozenset[str] = frozenset()
    """Keys of the state that an act moves and nothing puts back, such as process ids and revisions."""
    refused: tuple[Mapping[str, str], ...] = ()
    """Parameters that the driver refuses: out of its bounds, or no values at all."""
    timeout_s: float = 120.0

    @property
    def verb(self) -> str:
        """The verb."""
        return self.action.verb

    def __str__(self) -> str:
        return " ".join((self.verb, *(f"{name}={value}" for name, value in self.action.parameters.items())))


@dataclass(frozen=True)
class Provoked:
    """A fault that is there now, and the act that meets it."""

    case: Case
    driver: Driver | None = None
    """The driver that meets it, when it is not the rig's: one with another credential, or another address."""
    before: Observation | None = None
    """What was observed before the fault came; None when the driver is to look now."""
    timeout_s: float = 60.0


class Rig(Protocol):
    """A driver at a target of its own. One rig is used by one check at a time."""

    name: ClassVar[str]
    cases: ClassVar[Sequence[Case]]
    """At least one for each verb."""
    impossible: ClassVar[Mapping[Fault, str]]
    """Faults that cannot arise at this target, and why not, in words."""

    @property
    def driver(self) -> Driver:
        """The driver."""
        ...

    @property
    def entry(self) -> Mapping[str, Any]:
        """The driver as an entry of the targets file, from which another process makes the same one."""
        ...

    def reset(self, case: Case) -> None:
        """Brings the target to where the case's act changes something, by whatever way."""
        ...

    def effects(self, case: Case) -> int:
        """How many changes the target's own history tells, at the target of the case."""
        ...

    def provoke(self, fault: Fault) -> AbstractContextManager[Provoked]:
        """Brings a fault about; it is gone when the context is left. Resets what it needs."""
        ...
