"""The system's topics: partition counts and configurations, and how they are made."""

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from autopilot.infra.errors import MendableError
from autopilot.schemas.contract import Topic

KafkaConfig = Mapping[str, str]
"""Client configuration as librdkafka names it: `bootstrap.servers`, `security.protocol` ..."""

_WEEK_MS = 7 * 24 * 3600 * 1000
_FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1"}
_LARGE = {"max.message.bytes": str(2 * 1024 * 1024)}
_TIMEOUT_S = 30.0


class TopicsError(MendableError):
    """The topics cannot be made, or stand with another shape than this configuration says."""


def topic_config(topic: Topic) -> dict[str, str]:
    """The Kafka configuration of one topic.

    The broker's clock stamps every record, so that latencies are measured by one clock and no sender can hold up
    retention. The log is kept for ever; telemetry for a week. Snapshots and dead letters wrap other records, so they
    may be larger than those.
    """
    stamped = {"message.timestamp.type": "LogAppendTime"}
    return stamped | {
        Topic.TELEMETRY: {"retention.ms": str(_WEEK_MS)},
        Topic.LOG: _FOR_EVER,
        Topic.SNAPSHOTS: {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"} | _LARGE,
        Topic.SEALS: _FOR_EVER,
        Topic.DEAD_LETTERS: _FOR_EVER | _LARGE,
        Topic.KPIS: {"retention.ms": str(_WEEK_MS)},
        Topic.KPI_STATE: {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"},
    }.get(topic, {})


def partition_count(topic: Topic, partitions: int) -> int:
    """How many partitions a topic has when the system has `partitions`: as many, but one for the seals."""
    return 1 if topic is Topic.SEALS else partitions


def create_topics(kafka: KafkaConfig, partitions: int) -> list[Topic]:
    """Makes the topics that are missing and gives them, once the broker knows them.

    Raises `TopicsError` when a topic that is there has another partition count: it is fixed at creation, because a key
    would move.
    """
    client = AdminClient({**kafka, "log_level": 3})
    try:
        present = client.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise TopicsError(f"kafka at `{kafka['bootstrap.servers']}` does not answer: {_text(error)}") from None
    for topic in Topic:
        standing = present.get(str(topic))
        wanted = partition_count(topic, partitions)
        if standing is not None and standing.partitions and len(standing.partitions) != wanted:
            raise TopicsError(
                f"topic `{topic}` has {len(standing.partitions)} partitions, expected {wanted}: "
                "the count is fixed at creation; set `AUTOPILOT_PARTITIONS` to the count that stands"
            )
    missing = [topic for topic in Topic if str(topic) not in present]
    _create(client, missing, partitions, {})
    return missing


def recreate_topics(kafka: KafkaConfig, partitions: int, more: Mapping[Topic, Mapping[str, str]] | None = None) -> None:
    """Deletes the system's topics with everything in them, and makes them anew. For tests and throw-away clusters.

    `more` are settings of single topics beside their own.
    Kafka forgets the committed offsets of a deleted topic; groups without members are deleted, too.
    """
    client = AdminClient({**kafka, "log_level": 3})
    present = client.list_topics(timeout=_TIMEOUT_S).topics
    standing = [str(topic) for topic in Topic if str(topic) in present]
    if standing:
        for deleted in client.delete_topics(standing, operation_timeout=_TIMEOUT_S).values():
            deleted.result()
        _await_broker(client, standing, present=False)
    _delete_idle_groups(client)
    _create(client, list(Topic), partitions, more or {})


def _create(client: AdminClient, topics: list[Topic], partitions: int, more: Mapping[Topic, Mapping[str, str]]) -> None:
    if not topics:
        return
    wanted = [
        NewTopic(
            str(topic),
            num_partitions=partition_count(topic, partitions),
            config=topic_config(topic) | dict(more.get(topic, {})),
        )
        for topic in topics
    ]
    for name, created in client.create_topics(wanted, operation_timeout=_TIMEOUT_S).items():
        try:
            created.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"topic `{name}` cannot be created: {_text(error)}") from None
    _await_broker(client, [str(topic) for topic in topics], present=True)


def _await_broker(client: AdminClient, names: list[str], *, present: bool) -> None:
    """Returns once the broker knows those topics with a leader for each partition, or none of them any more.

    The controller, which makes and deletes them, is ahead of it.
    """
    until = time.monotonic() + _TIMEOUT_S
    while waited_for := _otherwise(client, names, present):
        if time.monotonic() > until:
            word = "created" if present else "deleted"
            raise TopicsError(f"topics {', '.join(waited_for)} were {word}, and the broker does not know it yet")
        time.sleep(0.05)


def _otherwise(client: AdminClient, names: list[str], present: bool) -> list[str]:
    """Those of the topics that the broker does not know whole, or, when not `present`, those that it knows."""
    try:
        known = client.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException:
        return names
    if not present:
        return [name for name in names if name in known]
    led = {name for name, topic in known.items() if all(part.leader >= 0 for part in topic.partitions.values())}
    return [name for name in names if name not in led or not known[name].partitions]


def _delete_idle_groups(client: AdminClient) -> None:
    """Leaves those that still have members; one may have ended by itself since it was listed."""
    groups = [group.group_id for group in client.list_consumer_groups().result().valid]
    if not groups:
        return
    for deleted in client.delete_consumer_groups(groups).values():
        try:
            deleted.result()
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.NON_EMPTY_GROUP, KafkaError.GROUP_ID_NOT_FOUND):
                raise


def _text(error: KafkaException) -> str:
    return str(error.args[0].str())
