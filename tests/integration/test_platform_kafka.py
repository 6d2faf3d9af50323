"""The embedded Kafka: a real broker with the system's topics, whose data outlives its process."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from waiting import eventually

from autopilot.infra.platform.kafka import EmbeddedKafka, broker_answers
from autopilot.infra.platform.ports import PortInUseError
from autopilot.infra.platform.topics import TopicsError, create_topics, recreate_topics
from autopilot.schemas.contract import Topic

pytestmark = pytest.mark.kafka


def write(config: dict[str, str], topic: Topic, value: bytes) -> None:
    producer = Producer(dict(config))
    producer.produce(str(topic), value, partition=0)
    assert producer.flush(60) == 0


def first_value(config: dict[str, str], topic: Topic) -> bytes | None:
    consumer = Consumer(config | {"group.id": "reader", "enable.auto.commit": "false"})
    consumer.assign([TopicPartition(str(topic), 0, 0)])
    message = eventually(lambda: consumer.poll(1))
    consumer.close()
    assert message.error() is None, message.error()
    return message.value()


def test_the_topics_have_their_partitions_and_configurations(cluster: dict[str, str]) -> None:
    client = AdminClient(dict(cluster))
    topics = client.list_topics(timeout=60).topics
    counts = {str(t): len(topics[str(t)].partitions) for t in Topic}
    assert counts == {str(t): 1 if t is Topic.SEALS else 4 for t in Topic}
    log = ConfigResource(ResourceType.TOPIC, str(Topic.LOG))
    snapshots = ConfigResource(ResourceType.TOPIC, str(Topic.SNAPSHOTS))
    configs = {r.name: f.result() for r, f in client.describe_configs([log, snapshots]).items()}
    assert configs[str(Topic.LOG)]["retention.ms"].value == "-1"
    assert configs[str(Topic.LOG)]["message.timestamp.type"].value == "LogAppendTime"
    assert configs[str(Topic.SNAPSHOTS)]["cleanup.policy"].value == "compact"


def test_creating_topics_again_makes_none(cluster: dict[str, str]) -> None:
    assert create_topics(cluster, 4) == []


def test_another_partition_count_is_refused(cluster: dict[str, str]) -> None:
    with pytest.raises(TopicsError, match="has 4 partitions, expected 6"):
        create_topics(cluster, 6)


def test_recreating_topics_empties_them(cluster: dict[str, str]) -> None:
    write(cluster, Topic.LOG, b"old")
    recreate_topics(cluster, 4)
    write(cluster, Topic.LOG, b"new")
    assert first_value(cluster, Topic.LOG) == b"new"


def test_data_outlives_the_broker_process(tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path)
    config = {"bootstrap.servers": broker.bootstrap}
    broker.start()
    try:
        create_topics(config, 2)
        write(config, Topic.LOG, b"kept")
        with pytest.raises(PortInUseError, match=f"port {broker.port} .*`AUTOPILOT_KAFKA_PORT`"):
            EmbeddedKafka(tmp_path / "other", port=broker.port).start()
        broker.stop()
        assert not broker_answers(config, timeout_s=1)
        broker.start()
        assert first_value(config, Topic.LOG) == b"kept"
    finally:
        broker.stop()
