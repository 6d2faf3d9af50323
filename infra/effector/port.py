"""The port to targets: what a driver is, and the errors by which it says what its caller should do.

TargetError                 the target is not as it was asked to be
+-- TransientError               try again later
+-- PermanentError               do not try again: the request itself cannot succeed
+-- TargetTimeoutError           it took too long: the effect may be there in part
|   +-- PartialError                 part of the effect is there, and the rest cannot be had
+-- DeniedError                  the target refused the credential: do not try again with it
+-- MissingError                 there is no such target
+-- ConflictError                another writer changed the target: do not try again, plan anew on what is there now
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.planner import Action


class CrashClass(StrEnum):
    """How a verb survives that its process dies in the middle of it."""

    CONVERGENT = "convergent"
    """It states what is wanted: applying it again does no harm."""
    WITNESSED = "witnessed"
    """The target shows whether it happened, by process ids, start times or revisions."""
    KEYED = "keyed"
    """The target keeps our key and says what it did under it."""
    BLIND = "blind"
    """Nothing shows whether it happened: it is never repeated, a person decides."""


class TargetError(Exception):
    """The target is not as it was asked to be."""

    failure: ClassVar[FailureClass] = FailureClass.PERMANENT


class TransientError(TargetError):
    """It may succeed when tried again; this attempt changed nothing, or nothing that applying again would not mend."""

    failure = FailureClass.TRANSIENT


class PermanentError(TargetError):
    """It will not succeed when tried again."""

    failure = FailureClass.PERMANENT


class TargetTimeoutError(TargetError):
    """It took too long; the effect may be partial."""

    failure = FailureClass.TIMEOUT


class PartialError(TargetTimeoutError):
    """Part of the effect is there and the rest failed: told as a timeout is, so that what is there can be undone."""


class DeniedError(TargetError):
    """The target refused the credential."""

    failure = FailureClass.DENIED


class MissingError(TargetError):
    """The target, or what is asked of it, does not exist."""

    failure = FailureClass.MISSING


class ConflictError(TargetError):
    """Another writer changed the target since it was observed."""

    failure = FailureClass.CONFLICT


@dataclass(frozen=True, slots=True)
class Observation:
    """A target as its driver read it. `revision` is the target's own, empty when it has none."""

    state: Mapping[str, str]
    revision: str = ""


class Difference(NamedTuple):
    """One difference that an action would make."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What an action did: whether anything had to be changed, and the target's state after it."""

    changed: bool
    after: Mapping[str, str]


def nothing_to_put_back(action: Action) -> PermanentError:
    """What `revert` raises for a verb that leaves nothing to be put back."""
    return PermanentError(f"`{action.verb}` leaves nothing that could be put back")


class Driver(Protocol):
    """One kind of target. Methods are called from several threads, never two at once for the same target.

    All of them raise `TargetError`s, and none takes much longer than the timeout that it is given. An error that comes
    after something was changed is a `TargetTimeoutError`: only of those it is asked what is to be undone.
    """

    name: str
    verbs: Mapping[str, CrashClass]
    """The verbs that it knows, and how each survives a crash."""
    reverts: frozenset[str]
    """Those of them whose effect `revert` can put back."""

    def observe(self, target: str) -> Observation:
        """The target as it is now. Changes nothing."""
        ...

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        """What `action` would change about a target that is as observed. Changes nothing."""
        ...

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float, /) -> Applied:
        """Does it. `observation` is the recorded state before the first try; `key` is the same for each try."""
        ...

    def happened(self, action: Action, before: Mapping[str, str], observation: Observation) -> bool | None:
        """Whether a witnessed action that was begun in state `before` is done; None if it cannot be told.

        After False the action is applied again with `before` as its observation, and completes what is missing.
        """
        ...

    def revert(self, action: Action, before: Mapping[str, str], key: str, timeout_s: float, /) -> Applied:
        """Puts back what `action` changed, whole or in part, as `before` has it; the second time it changes nothing.

        `before` is the target's state before the first try of `action`. Raises `PermanentError` for a verb that is not
        among `reverts`, and `ConflictError` when another writer has changed the same thing meanwhile.
        """
        ...


@runtime_checkable
class KeyedDriver(Driver, Protocol):
    """A driver with keyed verbs."""

    def done_under(self, action: Action, key: str) -> Applied | None:
        """What the target did under the key of an action; None when it never saw the key."""
        ...
