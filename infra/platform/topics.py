"""The system's topics: partition counts and configurations, and how they are made."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic, TopicMetadata

from autopilot.infra.errors import MendableError
from autopilot.schemas.contract import Topic

KafkaConfig = Mapping[str, str]
"""Client configuration as librdkafka names it: `bootstrap.servers`, `security.protocol` ..."""

_WEEK_MS = 7 * 24 * 3600 * 1000
_FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1"}
_LARGE = {"max.message.bytes": str(2 * 1024 * 1024)}
_TIMEOUT_S = 30.0
_PAUSE_S = 0.05


Known = Mapping[str, TopicMetadata]
"""What a broker knows of topics, by name."""


class TopicAdmin(Protocol):
    """What making topics needs of a client."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """What the broker knows."""
        ...

    def create_topics(self, new_topics: list[NewTopic], **options: float) -> dict[str, Future[None]]:
        """Has topics made; each answer raises when there is one of that name."""
        ...


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
    try:
        return make_topics(AdminClient({**kafka, "log_level": 3}), partitions)
    except KafkaException as error:
        raise TopicsError(f"kafka at `{kafka['bootstrap.servers']}` does not answer: {_text(error)}") from None


def make_topics(client: TopicAdmin, partitions: int) -> list[Topic]:
    """As `create_topics`. What the client knows may lag behind: a topic counts as made here only if the broker says so,
    and any other is looked at once it is known with its partitions.

    Raises `KafkaException` when the broker does not answer at first.
    """
    present = client.list_topics(timeout=_TIMEOUT_S).topics
    _check_counts(present, partitions)
    made = _create(client, [topic for topic in Topic if str(topic) not in present], partitions, {})
    _check_counts(_await_topics(client, made), partitions)
    return made


def _check_counts(known: Known, partitions: int) -> None:
    """Raises `TopicsError` for a topic with another partition count; one of which none is known yet says nothing."""
    for topic in Topic:
        standing, wanted = known.get(str(topic)), partition_count(topic, partitions)
        if standing is not None and standing.partitions and len(standing.partitions) != wanted:
            raise TopicsError(
                f"topic `{topic}` has {len(standing.partitions)} partitions, expected {wanted}: "
                "the count is fixed at creation; set `AUTOPILOT_PARTITIONS` to the count that stands"
            )


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
        _await_gone(client, standing)
    _delete_idle_groups(client)
    _await_topics(client, _create(client, list(Topic), partitions, more or {}))


def _create(
    client: TopicAdmin, topics: list[Topic], partitions: int, more: Mapping[Topic, Mapping[str, str]]
) -> list[Topic]:
    """Has them made, and gives those that were: another process may have made some since."""
    if not topics:
        return []
    wanted = [
        NewTopic(
            str(topic),
            num_partitions=partition_count(topic, partitions),
            config=topic_config(topic) | dict(more.get(topic, {})),
        )
        for topic in topics
    ]
    made = []
    for name, created in client.create_topics(wanted, operation_timeout=_TIMEOUT_S).items():
        try:
            created.result()
            made.append(Topic(name))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"topic `{name}` cannot be created: {_text(error)}") from None
    return made


def _await_topics(client: TopicAdmin, made: list[Topic]) -> Known:
    """What the broker knows, once it knows all topics with partitions, and a leader for each of those `made`.

    The controller, which makes and deletes them, is ahead of it.
    """
    until = time.monotonic() + _TIMEOUT_S
    while True:
        known = _known(client) or {}
        waited_for = [str(topic) for topic in Topic if not _is_whole(known.get(str(topic)), led=topic in made)]
        if not waited_for:
            return known
        if time.monotonic() > until:
            raise TopicsError(f"topics {', '.join(waited_for)} were created, and the broker does not know it yet")
        time.sleep(_PAUSE_S)


def _is_whole(topic: TopicMetadata | None, *, led: bool) -> bool:
    if topic is None or not topic.partitions:
        return False
    return not led or all(partition.leader >= 0 for partition in topic.partitions.values())


def _await_gone(client: TopicAdmin, names: list[str]) -> None:
    """Returns once the broker knows none of those topics any more."""
    until = time.monotonic() + _TIMEOUT_S
    while (known := _known(client)) is None or not known.keys().isdisjoint(names):
        if time.monotonic() > until:
            raise TopicsError(f"topics {', '.join(names)} were deleted, and the broker does not know it yet")
        time.sleep(_PAUSE_S)


def _known(client: TopicAdmin) -> Known | None:
    """What the broker knows now; None when it does not answer."""
    try:
        return client.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException:
        return None


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
