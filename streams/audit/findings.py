"""What an audit finds: a kind, a place and a sentence."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from autopilot.schemas.envelope import Position


class Kind(StrEnum):
    """What was found. `NOTES` are worth knowing; all others are violations."""

    ALTERED = "altered"
    """A sealed record has another key, value or header."""
    RESTAMPED = "restamped"
    """A sealed record has another timestamp."""
    MISSING = "missing"
    """A sealed record is not there."""
    INSERTED = "inserted"
    """A record stands among sealed ones that was never sealed there."""
    SWAPPED = "swapped"
    """Two sealed records stand in each other's place, or one stands out of order."""
    REWRITTEN_TAIL = "rewritten_tail"
    """From here to the end of what is sealed, other records stand than were sealed."""
    MOVED = "moved"
    """Records are what was sealed, in order, but at other offsets: the partition was written anew."""
    SEAL_BROKEN = "seal_broken"
    """A seal is not signed by a key that may seal, contradicts itself, or does not follow on the one before it."""
    SEAL_MISSING = "seal_missing"
    """A seal that the file outside has, or the sequence implies, is not on the topic, or is another one there."""
    SIGNATURE = "signature"
    """An event that means nothing without a signature has none that holds."""
    NO_DECISION = "no_decision"
    """A step or an execution rests on a decision that is not in the log before it, or is for another plan."""
    NOT_AUTHORISED = "not_authorised"
    """The decision was not authorised by the policy's key, was revoked before, or had expired."""
    NOT_VERIFIED = "not_verified"
    """An execution went past a gate, or ended and its deadline has passed, without a verdict that lets it."""
    NOT_STARTED = "not_started"
    """A step has a result, but nothing was written before it was taken."""
    DUPLICATE = "duplicate"
    """Two records bear the same event id."""
    ORPHAN = "orphan"
    """An event names a cause that does not stand where it says."""
    DAMAGED = "damaged"
    """A file of an archive is gone, differs from its manifest, or cannot be read in this range."""
    UNDECODABLE = "undecodable"
    """A record of the log that is no event of a known schema."""
    EXPIRED = "expired"
    """Expired under seal: retention took sealed records from the front. What was archived verifies in the archive."""
    UNSEALED = "unsealed"
    """Records that no seal covers: not yet protected, or never were."""
    PENDING = "pending"
    """An execution still waits for its verdict."""
    UNKNOWN_SEALER = "unknown_sealer"
    """The seals bear one key, but no signer list and no pinned key says that it may seal."""


NOTES = frozenset({Kind.EXPIRED, Kind.UNSEALED, Kind.PENDING, Kind.UNKNOWN_SEALER})
"""Kinds that are no violation."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `records` of them from `position` to `last_offset`."""

    kind: Kind
    position: Position
    detail: str
    last_offset: int
    records: int = 1

    @property
    def violation(self) -> bool:
        """Whether something is wrong, rather than worth knowing."""
        return self.kind not in NOTES

    def as_json(self) -> dict[str, Any]:
        """The finding for programs."""
        content = asdict(self)
        topic, partition, offset = content.pop("position")
        return {"topic": topic, "partition": partition, "offset": offset, "violation": self.violation, **content}


def at(kind: Kind, position: Position, detail: str) -> Finding:
    """A finding about one record."""
    return Finding(kind, position, detail, position.offset)
