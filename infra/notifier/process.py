"""The process `notifier`: one consumer group that says what people must know and carries it to them."""

import threading
from collections.abc import Sequence

from autopilot.infra.notifier.channels import Channel
from autopilot.infra.notifier.delivery import PAUSES_S, Delivery
from autopilot.infra.notifier.notices import NAME, Notices
from autopilot.infra.notifier.sending import sender_of
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.streams.kafka import plain_consumer, watermarks
from autopilot.streams.mint import Mint
from autopilot.streams.worker import AgentWorker, WorkerOptions


class Notifier:
    """Runs until it is told to stop. Without channels it writes the log's part and sends nothing."""

    def __init__(
        self, options: WorkerOptions, channels: Sequence[Channel], *, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        self._ends = plain_consumer(options.kafka, f"{NAME}-ends")
        self._delivery = Delivery(
            channels,
            {channel.name: sender_of(channel) for channel in channels},
            Mint(Codec(options.registry), NAME, options.partitions, options.run),
            lambda partition: watermarks(self._ends, str(Topic.LOG), partition)[1],
            pauses_s=pauses_s,
        )
        self._worker = AgentWorker(Notices(), options, self._delivery)

    def run(self, stop: threading.Event) -> None:
        """Works until `stop`."""
        try:
            self._worker.run(stop)
        finally:
            self._delivery.close()
            self._ends.close()
