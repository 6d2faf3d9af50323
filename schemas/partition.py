"""Kafka's default partitioner, so that everyone who writes a key by hand agrees with every client."""

from collections.abc import Mapping

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash as Kafka's Java client computes it, as an unsigned integer."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * _M) & _MASK
        k ^= k >> 24
        k = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    tail = data[length - length % 4 :]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(key: str, partitions: int, placements: Mapping[str, int] | None = None) -> int:
    """The partition of `key` among `partitions`: its explicit placement if it has one, murmur2 otherwise."""
    if placements is not None and key in placements:
        return placements[key] % partitions
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
