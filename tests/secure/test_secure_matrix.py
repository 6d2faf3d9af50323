"""On a secure Kafka each principal can do what the table of grants says, and is refused everything else.

Every question is asked with the client that the processes use: writing and reading each topic, committing to each
group, writing in a transaction under each transactional id.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from waiting import eventually

from autopilot.infra.platform.kafka import EmbeddedKafka, broker_answers
from autopilot.infra.platform.topics import create_topics
from autopilot.infra.security.acls import acls_of, sync_acls
from autopilot.infra.security.ground import Ground
from autopilot.infra.security.principals import GRANTS, REGISTRY, Grants
from autopilot.infra.security.provision import change_password, provision
from autopilot.schemas.contract import Topic
from autopilot.streams import kafka as clients
from autopilot.streams.errors import UnreachableError
from autopilot.streams.reader import read_raw

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PARTITIONS = 4
OWNED = tuple(GRANTS[REGISTRY].owns)
TOPICS = (*map(str, Topic), *OWNED)
GROUPS = tuple(dict.fromkeys((*GRANTS, "planner.shadow:a", "planner-of-mine", "registry-1")))
TRANSACTIONS = (*(f"{name}.0" for name in GRANTS), "clock.broadcast", "broadcast.ada", "plannerx.0")
NO_TOPIC = KafkaError.TOPIC_AUTHORIZATION_FAILED
NO_GROUP = KafkaError.GROUP_AUTHORIZATION_FAILED
NO_TRANSACTION = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
NOT_ALLOWED = KafkaError.CLUSTER_AUTHORIZATION_FAILED


@dataclass(frozen=True)
class Secure:
    """A secure broker and the folder with everyone's credentials."""

    broker: EmbeddedKafka
    ground: Ground

    def client(self, name: str) -> dict[str, str]:
        return {"bootstrap.servers": self.broker.bootstrap, **self.ground.client(self.ground.credentials(name))}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    home = tmp_path_factory.mktemp("secure")
    ground = Ground(home)
    ground.ensure(list(GRANTS))
    broker = EmbeddedKafka(home / "kafka", security=ground)
    broker.start(print)
    try:
        added, removed = provision(ground, broker.admin_config())
        assert (added > 0, removed) == (True, 0)
        create_topics(broker.admin_config(), PARTITIONS)
        admin = AdminClient(broker.admin_config())
        for made in admin.create_topics([NewTopic(name, 1, 1) for name in OWNED]).values():
            made.result()
        fill(broker.admin_config())
        yield Secure(broker, ground)
    finally:
        broker.stop()


def fill(admin: dict[str, str]) -> None:
    """One record in every topic, so that there is something to read.

    What Kafka makes when it is first asked for, the coordinators of groups and transactions, is waited for.
    """
    producer = clients.producer(admin, "filler")
    for topic in TOPICS:
        producer.produce(topic, b"first", b"key", 0)
    assert producer.flush(60) == 0
    eventually(lambda: not any(commits(admin, str(Topic.LOG)).values()))
    eventually(lambda: not any(transacts(admin, transactional_id) for transactional_id in TRANSACTIONS))


# -- what the table says -----------------------------------------------------------------------------------------------


def may_join(grants: Grants, group: str) -> bool:
    return any(group == one or group.startswith(one + ".") for one in grants.groups) or any(
        group.startswith(prefix) for prefix in grants.group_prefixes
    )


def may_transact(grants: Grants, transactional_id: str) -> bool:
    return any(transactional_id.startswith(prefix) for prefix in grants.transactions)


# -- what Kafka does ---------------------------------------------------------------------------------------------------


def writes(config: dict[str, str]) -> set[str]:
    """The topics that can be written; anything but a refusal fails the test."""
    producer = clients.producer(config, "matrix", **{"message.timeout.ms": 60_000, "log_level": 0})
    answers: dict[str, int] = {}

    def done(error: KafkaError | None, message: Message) -> None:
        answers[str(message.topic())] = error.code() if error is not None else 0

    try:
        for topic in TOPICS:
            producer.produce(topic, b"x", b"key", 0, on_delivery=done)
        assert producer.flush(90) == 0
    except KafkaException as error:  # who may write nothing is not even given a producer's number
        if error.args[0].code() != NOT_ALLOWED:
            raise
        return set()
    assert set(answers) == set(TOPICS)
    assert set(answers.values()) <= {0, NO_TOPIC}
    return {topic for topic, code in answers.items() if not code}


def reads(config: dict[str, str]) -> set[str]:
    """The topics that can be read, by the system's own reader."""
    with ThreadPoolExecutor(4) as pool:
        return {
            topic for topic, read in zip(TOPICS, pool.map(lambda t: is_read(config, t), TOPICS), strict=True) if read
        }


def is_refused(config: dict[str, str]) -> bool:
    """Whether the broker turns the password down: one that does not answer in time has said nothing."""
    told: list[int] = []
    client = AdminClient({**config, "log_level": 0, "error_cb": lambda error: told.append(error.code())})
    until = time.monotonic() + 5
    while KafkaError._AUTHENTICATION not in told and time.monotonic() < until:
        client.poll(0.1)
    return KafkaError._AUTHENTICATION in told


def is_read(config: dict[str, str], topic: str) -> bool:
    """Whether the topic's first record can be read; anything but a refusal is raised."""
    try:
        (record,) = read_raw({**config, "log_level": "0"}, topic, end={0: 1})
    except (KafkaException, UnreachableError) as error:
        if "AUTHORIZATION_FAILED" not in str(error):
            raise
        return False
    return record.value == b"first"


def commits(config: dict[str, str], topic: str) -> dict[str, int]:
    """The error code of committing an offset of `topic` to each group; 0 for none."""
    client = AdminClient({**config, "log_level": 0})
    answers = {}
    for group in GROUPS:
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1)])
        try:
            (committed,) = client.alter_consumer_group_offsets([wanted])[group].result().topic_partitions
            answers[group] = committed.error.code() if committed.error is not None else 0
        except KafkaException as error:
            answers[group] = error.args[0].code()
    return answers


def transacts(config: dict[str, str], transactional_id: str) -> int:
    """The error code of becoming the producer of a transactional id; 0 for none."""
    properties = {"transactional.id": transactional_id, "log_level": 0}
    producer = clients.producer(config, "matrix", **properties)
    try:
        producer.init_transactions(60)
    except KafkaException as error:
        return int(error.args[0].code())
    return 0


@pytest.mark.parametrize("name", GRANTS)
def test_a_principal_writes_and_reads_its_topics_and_no_others(secure: Secure, name: str) -> None:
    grants, config = GRANTS[name], secure.client(name)
    assert writes(config) == {*grants.writes, *grants.owns}
    assert reads(config) == {*grants.reads, *grants.owns}


@pytest.mark.parametrize("name", GRANTS)
def test_a_principal_commits_to_its_groups_and_to_no_others(secure: Secure, name: str) -> None:
    grants = GRANTS[name]
    readable = next(iter((*grants.reads, *grants.owns)), str(Topic.LOG))
    expected = {group: 0 if may_join(grants, group) else NO_GROUP for group in GROUPS}
    assert commits(secure.client(name), readable) == expected


def test_a_principal_has_its_transactional_ids_and_no_others(secure: Secure) -> None:
    asked = [(name, transactional_id) for name in GRANTS for transactional_id in TRANSACTIONS]
    with ThreadPoolExecutor(6) as pool:
        answers = dict(zip(asked, pool.map(lambda one: transacts(secure.client(one[0]), one[1]), asked), strict=True))
    expected = {
        (name, transactional_id): 0 if may_transact(GRANTS[name], transactional_id) else NO_TRANSACTION
        for name, transactional_id in asked
    }
    assert answers == expected


def test_nobody_but_the_administrator_changes_the_cluster(secure: Secure) -> None:
    for name in GRANTS:
        client = AdminClient({**secure.client(name), "log_level": 0})
        with pytest.raises(KafkaException) as refused:
            client.create_topics([NewTopic("mine", 1, 1)])["mine"].result()
        assert refused.value.args[0].code() in (NOT_ALLOWED, NO_TOPIC)
        with pytest.raises(KafkaException) as refused:
            client.delete_topics([str(Topic.LOG)])[str(Topic.LOG)].result()
        assert refused.value.args[0].code() == NO_TOPIC
        with pytest.raises(KafkaException) as refused:
            sync_acls(client, {name: Grants("everything", writes=TOPICS)})
        assert refused.value.args[0].code() == NOT_ALLOWED


@pytest.mark.parametrize(
    "change",
    [
        {"sasl.password": "wrong"},
        {"sasl.username": "admin"},
        {"sasl.username": "nobody"},
        {"security.protocol": "SSL"},
        {"security.protocol": "SASL_PLAINTEXT"},
        {"security.protocol": "PLAINTEXT"},
    ],
    ids=lambda change: "-".join(f"{value}" for value in change.values()),
)
def test_nobody_gets_in_without_a_password_over_tls(secure: Secure, change: dict[str, str]) -> None:
    assert not broker_answers(secure.client("planner") | change, timeout_s=1.5)


def test_the_inner_listeners_ask_for_a_certificate_of_ours(secure: Secure, tmp_path: Path) -> None:
    inner = {"bootstrap.servers": f"127.0.0.1:{secure.broker.internal_port}"}
    trusting = {"security.protocol": "SSL", "ssl.ca.location": str(secure.ground.authority)}
    assert broker_answers(inner | secure.ground.admin(), timeout_s=60)
    assert not broker_answers(inner | trusting, timeout_s=1.5)
    stranger = Ground(tmp_path)
    stranger.ensure([])
    assert not broker_answers(inner | stranger.admin() | trusting, timeout_s=1.5)
    controller = {"bootstrap.servers": f"127.0.0.1:{secure.broker.controller_port}"}
    assert not broker_answers(controller | trusting, timeout_s=1.5)
    assert not broker_answers(controller, timeout_s=1.5)


def test_a_broker_with_a_certificate_of_another_authority_is_not_spoken_to(secure: Secure, tmp_path: Path) -> None:
    stranger = Ground(tmp_path)
    stranger.ensure([])
    assert not broker_answers(secure.client("planner") | {"ssl.ca.location": str(stranger.authority)}, timeout_s=1.5)


def test_refusals_are_in_the_brokers_log(secure: Secure) -> None:
    assert writes(secure.client("services")) == {Topic.TELEMETRY}
    refusal = r"User:services is Denied operation = \w+ .* resource = Topic:LITERAL:autopilot\.log "
    assert re.search(refusal, secure.broker.log.read_text())


def test_access_that_the_table_does_not_give_is_taken_away(secure: Secure) -> None:
    admin = AdminClient(secure.broker.admin_config())
    extra: list[AclBinding] = acls_of("services", Grants("too much", reads=(Topic.LOG,)))
    for made in admin.create_acls(extra).values():
        made.result()
    eventually(lambda: is_read(secure.client("services"), str(Topic.LOG)))
    assert provision(secure.ground, secure.broker.admin_config()) == (0, len(extra))
    eventually(lambda: not is_read(secure.client("services"), str(Topic.LOG)))
    assert provision(secure.ground, secure.broker.admin_config()) == (0, 0)


def test_a_changed_password_replaces_the_old_one(secure: Secure) -> None:
    old = secure.client("otlp")
    change_password(secure.ground, secure.broker.admin_config(), "otlp")
    assert broker_answers(secure.client("otlp"), timeout_s=60)
    eventually(lambda: is_refused(old))


def test_whoever_is_not_in_the_table_loses_the_password(secure: Secure) -> None:
    admin = AdminClient(secure.broker.admin_config())
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    for made in admin.alter_user_scram_credentials([UserScramCredentialUpsertion("guest", info, b"pw")]).values():
        made.result()
    guest = secure.client("otlp") | {"sasl.username": "guest", "sasl.password": "pw"}
    assert broker_answers(guest, timeout_s=60)
    provision(secure.ground, secure.broker.admin_config())
    eventually(lambda: is_refused(guest))
