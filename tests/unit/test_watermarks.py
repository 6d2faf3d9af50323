"""Where a partition ends, asked of a broker that does not know its leader yet, or does not answer."""

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ClusterMetadata

from autopilot.streams.errors import UnreachableError
from autopilot.streams.kafka import watermarks
from autopilot.streams.reader import partitions_of


class Answering(Consumer):
    """A consumer whose broker gives these errors, one after the other, and then the ends 3 and 7."""

    def __new__(cls, *_: object) -> "Answering":
        return super().__new__(cls)

    def __init__(self, *codes: int) -> None:
        super().__init__({"group.id": "unused.watermarks", "bootstrap.servers": "127.0.0.1:1", "log_level": 0})
        self.codes = list(codes)

    def get_watermark_offsets(self, partition: TopicPartition, *_: object, **__: object) -> tuple[int, int]:
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return 3, 7


def test_a_partition_without_a_leader_is_asked_again() -> None:
    consumer = Answering(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    assert watermarks(consumer, "t", 0) == (3, 7)
    assert consumer.codes == []


def test_any_other_error_says_that_the_broker_cannot_be_asked() -> None:
    with pytest.raises(UnreachableError, match=r"t\[2\] ends"):
        watermarks(Answering(KafkaError._TIMED_OUT), "t", 2)


class Silent(Answering):
    """A consumer whose broker is away."""

    def list_topics(self, *_: object, **__: object) -> ClusterMetadata:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "Failed to get metadata"))


def test_a_broker_that_is_away_is_told_in_words_alone() -> None:
    with pytest.raises(UnreachableError) as told:
        partitions_of(Silent(), "t")
    assert str(told.value) == "the broker does not answer: Failed to get metadata"
