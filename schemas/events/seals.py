"""What the sealer says: signed checkpoints over every committed record of the log and of telemetry."""

from typing import ClassVar

from autopilot.schemas.contract import Contract, Payload, TimestampUs, Topic, described


class SealedSegment(Contract):
    """The records of one partition in the offsets from `first_offset` up to, not including, `next_offset`."""

    source_topic: str = described("The sealed topic.")
    source_partition: int = described("The sealed partition.", ge=0)
    first_offset: int = described("First offset of the range.", ge=0)
    next_offset: int = described("First offset after the range: the last record's offset and one.", ge=0)
    records: int = described("Number of records in the range; other offsets of it are transaction markers.", ge=0)
    digest: bytes = described("SHA-256 over topic, partition, range and, of every record, offset, timestamp and body.")
    previous_chain: bytes = described("`chain` of the partition's segment before; 32 zero bytes for the first.")
    chain: bytes = described("SHA-256 over `previous_chain` and `digest`: covers the partition from its beginning.")
    offsets: bytes = described("The records' offsets: differences as big-endian 64-bit integers, zlib-compressed.")
    timestamps: bytes = described("The records' Kafka timestamps, in the same form.")
    bodies: bytes = described("First 8 bytes of each record's body digest, to say which record differs.")


class LogSealed(Payload):
    """A checkpoint: what stands in the sealed ranges, signed by the sealer. Each names the one before it."""

    topic: ClassVar[Topic] = Topic.SEALS

    sequence: int = described("1 for the first seal; each next one is one higher.", ge=1)
    previous_seal: bytes = described("SHA-256 of the Avro record of the seal before; empty for the first.")
    sealed_at_us: TimestampUs = described("When it was sealed, by the sealer's clock.")
    public_key: str = described("Ed25519 public key of the sealer, 32 bytes in base64; whether it counts, signers say.")
    segments: list[SealedSegment] = described("One for each sealed partition, by topic and partition; may be empty.")
