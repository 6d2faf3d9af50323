"""Fixtures on a real Apache Kafka. They are lazy: a run without Kafka tests starts none.

`TEST_KAFKA=container` runs it in a container (`make test-containers`) and not as a process.

Hypothesis measures no time here: how long an example takes says how busy the machine is, and several tests run at once.
What hangs is ended by pytest's own timeout. It draws the same examples in every run of the same code, so that a change
is judged by itself; `--hypothesis-profile=exploring` draws others, and `--hypothesis-seed=N` repeats those.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import recreate_topics

PARTITIONS = 4
EMBEDDED, CONTAINER = "embedded", "container"

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("exploring", settings.get_profile("untimed"), derandomize=False)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of one Kafka for the whole run, on a free port."""
    where = os.environ.get("TEST_KAFKA", EMBEDDED)
    if where not in (EMBEDDED, CONTAINER):
        pytest.fail(f"TEST_KAFKA is `{where}`, expected `{EMBEDDED}` or `{CONTAINER}`")
    yield from _contained() if where == CONTAINER else _embedded(tmp_path_factory.mktemp("kafka"))


def _embedded(home: Path) -> Iterator[str]:
    broker = EmbeddedKafka(home)
    broker.start(print)
    yield broker.bootstrap
    broker.stop()


def _contained() -> Iterator[str]:
    from container_kafka import ContainerKafka  # a run without containers loads no client of Docker

    broker = ContainerKafka()
    broker.start()
    print(f"kafka {broker.bootstrap} is container {broker.container.get_container_id()[:12]}")
    yield broker.bootstrap
    broker.stop()


@pytest.fixture
def cluster(kafka: str) -> dict[str, str]:
    """Client configuration of that Kafka with the system's topics made anew: empty, 4 partitions, no groups."""
    config = {"bootstrap.servers": kafka}
    recreate_topics(config, PARTITIONS)
    return config
