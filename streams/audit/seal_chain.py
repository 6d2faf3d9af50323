"""Whether the seals themselves hold: their signatures, their order, and each following on the one before it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from autopilot.schemas.configuration import Principal, Role
from autopilot.schemas.events.seals import LogSealed, SealedSegment
from autopilot.schemas.signing import holds, key_id
from autopilot.streams.audit.findings import Finding, Kind, at
from autopilot.streams.record import SIGNATURE
from autopilot.streams.seal_file import Seal
from autopilot.streams.seals import GENESIS, Partition, chained, partition_of


@dataclass(frozen=True)
class CheckedSeals:
    """What the seals are good for: the segments of those that hold, by partition in order, and what was found."""

    segments: Mapping[Partition, list[SealedSegment]]
    findings: list[Finding]
    seals: int
    last_sealed_at_us: int


def check_seals(seals: Sequence[Seal], sealers: Sequence[str]) -> CheckedSeals:
    """Checks seals in the order in which they stand. `sealers` are the public keys that may seal.

    Without any such key, the key of the first seal is taken on trust and that is noted: the seals then prove that
    nothing changed since, but not who sealed.
    """
    findings: list[Finding] = []
    trusted = list(sealers)
    if seals and not trusted:
        trusted = [seals[0].content.public_key]
        detail = f"no signer list names the key {_short_key(trusted[0])} that the seals bear; pin it with `--key`"
        findings.append(at(Kind.UNKNOWN_SEALER, seals[0].record.position, detail))
    segments: dict[Partition, list[SealedSegment]] = {}
    before: Seal | None = None
    for seal in seals:
        wrong = [*_own_faults(seal, trusted), *_order_faults(before, seal)]
        findings += wrong
        if not any(finding.kind is Kind.SEAL_BROKEN for finding in wrong):
            findings += _link(seal, segments)
            before = seal
    last = seals[-1].content.sealed_at_us if seals else 0
    return CheckedSeals(segments, findings, len(seals), last)


def compare_with_file(on_topic: Sequence[Seal], in_file: Sequence[Seal]) -> list[Finding]:
    """What the topic says otherwise than the file outside, of the seals that the file has."""
    standing = {seal.content.sequence: seal for seal in on_topic}

    def verdict(seal: Seal) -> str:
        other = standing.get(seal.content.sequence)
        if other is None:
            return "in the file and not on the topic"
        return "" if other.digest == seal.digest else "on the topic, but another than in the file"

    findings = []
    for what, run in groupby(in_file, key=verdict):
        if what:
            seals = list(run)
            first, last = seals[0], seals[-1]
            detail = f"seals {first.content.sequence} to {last.content.sequence}: {what}"
            last_offset = last.record.position.offset
            findings.append(Finding(Kind.SEAL_MISSING, first.record.position, detail, last_offset, len(seals)))
    return findings


def sealers_in(signers: Sequence[Principal]) -> list[str]:
    """The public keys that a signer list allows to seal."""
    return [principal.public_key for principal in signers if Role.SEALER in principal.roles]


def _own_faults(seal: Seal, trusted: Sequence[str]) -> Iterator[Finding]:
    record, content = seal.record, seal.content
    header = record.headers.get(SIGNATURE, b"")
    name = LogSealed.event_type()
    if not any(holds(header, key, name, record.key, record.value) for key in trusted):
        detail = f"seal {content.sequence} bears no signature of a key that may seal"
        yield at(Kind.SEAL_BROKEN, record.position, detail)
    for segment in content.segments:
        if chained(segment.previous_chain, segment.digest) != segment.chain:
            detail = f"seal {content.sequence}: the chain of {partition_of(segment)} does not follow from its digest"
            yield at(Kind.SEAL_BROKEN, record.position, detail)


def _order_faults(before: Seal | None, seal: Seal) -> Iterator[Finding]:
    sequence, position = seal.content.sequence, seal.record.position
    expected = before.content.sequence + 1 if before else 1
    if sequence > expected:
        detail = f"seals {expected} to {sequence - 1} are missing before it"
        yield Finding(Kind.SEAL_MISSING, position, detail, position.offset, sequence - expected)
    elif sequence < expected:
        yield at(Kind.SEAL_BROKEN, position, f"seal {sequence} stands where {expected} is expected")
    elif seal.content.previous_seal != (before.digest if before else b""):
        yield at(Kind.SEAL_BROKEN, position, f"seal {sequence} does not name the seal before it")


def _link(seal: Seal, segments: dict[Partition, list[SealedSegment]]) -> Iterator[Finding]:
    """Takes over a sound seal's segments; says where one does not follow on the partition's last."""
    for segment in seal.content.segments:
        partition = partition_of(segment)
        known = segments.setdefault(partition, [])
        chain, end = (known[-1].chain, known[-1].next_offset) if known else (GENESIS, 0)
        if segment.previous_chain != chain or segment.first_offset < end:
            detail = f"seal {seal.content.sequence}: {partition} does not follow on what was sealed of it before"
            yield at(Kind.SEAL_MISSING, seal.record.position, detail)
        known.append(segment)


def _short_key(public_key: str) -> str:
    try:
        return key_id(public_key)
    except ValueError:
        return repr(public_key)
