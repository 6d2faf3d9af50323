"""Kafka's default partitioner, by the vectors that Kafka's own tests and librdkafka publish."""

import pytest

from autopilot.schemas.partition import murmur2, partition_of

PUBLISHED = {
    b"": 275646681,
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
    b"1": -1993445489,
    b"12": 126087238,
    b"123": -267702483,
    b"1234": -1614185708,
    b"12345": -1188365604,
    b"kafka": -798503068,
}
"""Key -> hash as the Java client gives it, a signed 32-bit integer."""


@pytest.mark.parametrize(("key", "signed"), PUBLISHED.items())
def test_murmur2_gives_the_published_hashes(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


def test_a_key_goes_where_its_positive_hash_says() -> None:
    assert partition_of("foobar", 50) == 16
    assert partition_of("foobar", 10) == 6


def test_an_explicit_placement_wins_and_stays_within_the_partitions() -> None:
    assert partition_of("foobar", 4, {"foobar": 3}) == 3
    assert partition_of("foobar", 2, {"foobar": 3}) == 1
    assert partition_of("foobar", 10, {"other": 3}) == 6
