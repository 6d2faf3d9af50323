"""The Kafka of a command: whether anything is there is known before a client waits for it for half a minute."""

from autopilot.infra.platform.ports import answers
from autopilot.infra.settings import Settings, kafka_config
from autopilot.streams.errors import UnreachableError

CONNECT_S = 3.0
"""How long each address may take to accept a connection."""


def answering_kafka(settings: Settings) -> dict[str, str]:
    """As `kafka_config`, for a command that a person waits for. Raises `UnreachableError` when no address accepts."""
    config = kafka_config(settings)
    addresses = config["bootstrap.servers"]
    if not any(_accepts(address.strip()) for address in addresses.split(",")):
        raise UnreachableError(f"kafka at `{addresses}` does not answer")
    return config


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    return port.isdigit() and answers(int(port), CONNECT_S, host.strip("[]"))
