"""Faust's Kafka transport as this system needs it: read-committed, and with librdkafka's security settings.

Outside its exactly-once mode Faust reads uncommitted records, which here would be those of aborted transactions.
"""

import ssl
from collections.abc import Mapping
from typing import Any

import aiokafka
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class ReadCommittedThread(driver.AIOKafkaConsumerThread):
    """The thread that consumes; its one client shows what was committed, in order, and nothing else."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # The client reads it when it starts; Faust has no setting that reaches it.
        consumer._isolation_level = "read_committed"
        return consumer


class ReadCommittedConsumer(driver.Consumer):
    """Faust's consumer on that thread.

    Between two records of a log of transactions there are offsets without any: markers, and what was aborted. Faust
    commits up to the first such gap. Here records are acknowledged in their order, so the last one decides.
    """

    def committed_offset(self, tp: TP) -> int:
        """From where on the group reads a partition that it owns, as far as it has committed; 0 when it never has."""
        return self._committed_offset.get(tp) or 0

    def _new_consumer_thread(self) -> ReadCommittedThread:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        acknowledged = self._acked[tp]
        if not acknowledged:
            return None
        after_last: int = max(acknowledged) + 1
        self._acked_index[tp].difference_update(acknowledged)
        acknowledged.clear()
        return after_last

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps mean nothing here."""


class ReadCommittedTransport(driver.Transport):
    """The transport with that consumer."""

    Consumer = ReadCommittedConsumer


def credentials(kafka: Mapping[str, str]) -> Credentials | None:
    """Faust's credentials for a client configuration of librdkafka; None where it asks for none."""
    protocol = kafka.get("security.protocol", "PLAINTEXT").upper()
    context = _tls(kafka) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL"):
        return SASLCredentials(
            username=kafka.get("sasl.username"),
            password=kafka.get("sasl.password"),
            mechanism=kafka.get("sasl.mechanism", "PLAIN"),
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None


def _tls(kafka: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=kafka.get("ssl.ca.location"))
    context.check_hostname = kafka.get("ssl.endpoint.identification.algorithm", "https") != "none"
    if "ssl.certificate.location" in kafka:
        context.load_cert_chain(kafka["ssl.certificate.location"], kafka.get("ssl.key.location"))
    return context


def broker_urls(kafka: Mapping[str, str]) -> list[str]:
    """The bootstrap servers as Faust's addresses."""
    return [f"kafka://{server.strip()}" for server in kafka["bootstrap.servers"].split(",")]


def worker_settings(kafka: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a Faust app that have to do with the broker."""
    return {"broker": broker_urls(kafka), "broker_credentials": credentials(kafka)}
