"""Fixtures on a real Apache Kafka. They are lazy: a run without Kafka tests starts none."""

from collections.abc import Iterator

import pytest

from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import recreate_topics

PARTITIONS = 4


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of one embedded Kafka for the whole run, on a free port."""
    broker = EmbeddedKafka(tmp_path_factory.mktemp("kafka"))
    broker.start(print)
    yield broker.bootstrap
    broker.stop()


@pytest.fixture
def cluster(kafka: str) -> dict[str, str]:
    """Client configuration of that Kafka with the system's topics made anew: empty, 4 partitions, no groups."""
    config = {"bootstrap.servers": kafka}
    recreate_topics(config, PARTITIONS)
    return config
