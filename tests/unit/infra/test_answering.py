"""A command whose Kafka is away says so at once."""

import socket

import pytest

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.platform.ports import HOST, free_port
from autopilot.infra.settings import Settings
from autopilot.streams.errors import UnreachableError


@pytest.mark.parametrize("addresses", ["{away}", "{away},{away}", "nonsense"])
def test_where_nobody_listens_the_address_is_named(addresses: str) -> None:
    kafka = addresses.format(away=f"{HOST}:{free_port()}")
    with pytest.raises(UnreachableError) as refused:
        answering_kafka(Settings(kafka=kafka))
    assert str(refused.value) == f"kafka at `{kafka}` does not answer"


def test_one_address_that_accepts_is_enough() -> None:
    with socket.create_server((HOST, 0)) as listening:
        kafka = f"{HOST}:{free_port()}, PLAINTEXT://{HOST}:{listening.getsockname()[1]}"
        assert answering_kafka(Settings(kafka=kafka))["bootstrap.servers"] == kafka
