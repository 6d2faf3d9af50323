"""What the runtime itself says: time, upgrades, faults, and the two kinds of record that are not events of the log."""

from typing import ClassVar

from autopilot.schemas.contract import Contract, Payload, TimestampUs, Topic, described


class Tick(Payload):
    """Time passes: broadcast once a second. Monotonic; a late one is ignored."""

    broadcast: ClassVar[bool] = True

    at_us: TimestampUs = described("The time.")


class AgentUpgraded(Payload):
    """New code of an agent took over; replay across this offset is a what-if."""

    agent: str = described("Name of the agent.")
    code_digest: str = described("Digest of the new code.")
    previous_digest: str = described("Digest of the code before; empty for the first.")
    partition: int = described("The agent's input partition.", ge=0)
    from_offset: int = described("First offset of that partition that the new code handled.", ge=0)


class AgentFaulted(Payload):
    """`handle` raised: the agent parks the domain, decides nothing for it, and a person is told."""

    agent: str = described("Name of the agent.")
    parked: str = described("The domain that is parked, or `*` for the whole partition.")
    error: str = described("Type and message of the error.")
    traceback: str = described("Where it was raised: file names, line numbers and functions.")


class DeadLettered(Payload):
    """A record that could not be handled, raw, with where it came from and what was wrong."""

    topic: ClassVar[Topic] = Topic.DEAD_LETTERS

    reader: str = described("The agent or process that could not handle it.")
    source_topic: str = described("Topic of the record.")
    source_partition: int = described("Partition of the record.", ge=0)
    source_offset: int = described("Offset of the record.", ge=0)
    error_class: str = described("`undecodable`, `unknown_schema`, `invalid`, `unknown_service`, `oversized` ...")
    field: str = described("The field that is wrong; empty when the record as a whole is.")
    value: str = described("The value seen, shortened to 200 characters.")
    expected: str = described("What was expected.")
    key: bytes = described("The record's key.")
    raw: bytes = described("The record's value, unchanged.")
    headers: dict[str, bytes] = described("The record's headers.")


class SnapshotPart(Contract):
    """One chunk of a snapshot."""

    index: int = described("Which part, from 0.", ge=0)
    sha256: str = described("SHA-256 of the part's bytes, hexadecimal.")


class AgentSnapshot(Payload):
    """The manifest of a snapshot, written after its parts: the state after `next_offset - 1`."""

    topic: ClassVar[Topic] = Topic.SNAPSHOTS

    agent: str = described("Name of the agent.")
    code_digest: str = described("Digest of the code that made it; other code does not use it.")
    source_topic: str = described("The agent's input topic.")
    source_partition: int = described("The agent's input partition.", ge=0)
    next_offset: int = described("First offset that the state does not contain.", ge=0)
    state_digest: str = described("SHA-256 of the whole state's bytes, hexadecimal.")
    parts: list[SnapshotPart] = described("The parts; empty when the state is in this record.")
    state: bytes = described("The whole state when it fits into one record; empty otherwise.")
    taken_at_us: TimestampUs = described("The last tick that the state contains.")
