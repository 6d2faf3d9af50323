"""Topics are made once and looked at once they are known, however far what the broker knows lags behind."""

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata, NewTopic, PartitionMetadata, TopicMetadata

from autopilot.infra.platform.topics import TopicsError, make_topics, partition_count
from autopilot.schemas.contract import Topic


class LaggingBroker:
    """A controller with its topics, and a broker that tells of what was there so many looks ago."""

    def __init__(self, standing: dict[str, int], lag: int) -> None:
        self.standing = standing
        self._lag = lag

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        self._lag -= 1
        told = ClusterMetadata()
        for name, count in self.standing.items() if self._lag < 2 else ():
            told.topics[name] = metadata(count if self._lag < 0 else 0)
        return told

    def create_topics(self, new_topics: list[NewTopic], **options: float) -> dict[str, Future[None]]:
        answers: dict[str, Future[None]] = {new.topic: Future() for new in new_topics}
        for new in new_topics:
            if new.topic in self.standing:
                answers[new.topic].set_exception(KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS)))
            else:
                self.standing[new.topic] = new.num_partitions
                answers[new.topic].set_result(None)
        return answers


def metadata(partitions: int) -> TopicMetadata:
    topic = TopicMetadata()
    for number in range(partitions):
        topic.partitions[number] = PartitionMetadata()
        topic.partitions[number].leader = 0
    return topic


def counts(partitions: int) -> dict[str, int]:
    return {str(topic): partition_count(topic, partitions) for topic in Topic}


LAGS = pytest.mark.parametrize("lag", range(5))


@LAGS
def test_what_is_missing_is_made_and_known_before_it_is_told(lag: int) -> None:
    broker = LaggingBroker({}, lag)
    assert make_topics(broker, 4) == list(Topic)
    assert broker.standing == counts(4)


@LAGS
def test_what_was_there_already_was_not_made(lag: int) -> None:
    standing = {name: count for name, count in counts(4).items() if name != str(Topic.LOG)}
    assert make_topics(LaggingBroker(standing, lag), 4) == [Topic.LOG]


@LAGS
def test_another_partition_count_is_refused_as_soon_as_it_is_known(lag: int) -> None:
    with pytest.raises(TopicsError, match=f"topic `{Topic.TELEMETRY}` has 6 partitions, expected 4"):
        make_topics(LaggingBroker(counts(4) | {str(Topic.TELEMETRY): 6}, lag), 4)
