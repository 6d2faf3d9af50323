"""Delivery: what the log says is to be told is sent to the channels that take it, and the answer is recorded.

At least once: the log has a request before anything is sent, and what was sent is recorded afterwards. A notifier that
dies in between sends again, under the same `Idempotency-Key`. Nothing is sent before a partition is read to where it
ended when it was taken over, so that what was answered already is known.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import structlog

from autopilot.infra.notifier.channels import Channel
from autopilot.infra.notifier.sending import Answer, Refused, Sender, Sent
from autopilot.infra.notifier.state import NoticesState, Pending
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationFailed
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing

THREADS = 2
"""Tries under way at once on one channel. Each channel has its own: one that is dead delays no other."""
PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
"""How long is waited after the first, second ... try that failed; after the last, each time as long."""

Key = tuple[str, str]
"""Notification and channel."""


@dataclass
class _Course:
    """How far one notification has come on one channel."""

    attempts: int = 0
    due_s: float = 0.0
    last: str = ""
    under_way: Future[Answer] | None = None
    recorded: bool = False


class _Partition:
    """One partition since it was taken over."""

    def __init__(self, fold: PartitionFold[NoticesState], end: int) -> None:
        self.fold = fold
        self.end = end
        self.courses: dict[Key, _Course] = {}
        self.settled: set[str] = set()
        """Notifications that every channel has answered."""


class Delivery:
    """Beside the fold of `Notices`: sends what is pending. `end_of` asks the broker where a partition ends."""

    def __init__(
        self,
        channels: Sequence[Channel],
        senders: Mapping[str, Sender],
        mint: Mint,
        end_of: Callable[[int], int],
        *,
        pauses_s: Sequence[float] = PAUSES_S,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._channels = channels
        self._senders = senders
        self._mint = mint
        self._end_of = end_of
        self._pauses_s = pauses_s
        self._wall_us = wall_us
        self._partitions: dict[int, _Partition] = {}
        self._pools = {name: ThreadPoolExecutor(THREADS, thread_name_prefix=f"notifier-{name}") for name in senders}
        self._log = structlog.get_logger("autopilot.notifier")

    def turn(self, partition: int, fold: PartitionFold[NoticesState], position: int) -> Sequence[Outgoing]:
        """See `Beside.turn`."""
        known = self._partitions.get(partition)
        if known is None or known.fold is not fold:
            known = self._partitions[partition] = _Partition(fold, self._end_of(partition))
        if position < known.end:
            return []
        known.end = 0
        return [self._record(partition, fold, draft) for draft in self._deliver(known, fold.state.pending)]

    def close(self) -> None:
        """Begins nothing more; what is under way is not waited for and will be sent again."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _deliver(self, partition: _Partition, pending: Mapping[str, Pending]) -> Iterator[Draft]:
        for name in [key for key in partition.courses if key[0] not in pending]:
            del partition.courses[name]
        partition.settled &= pending.keys()
        for notification_id, one in pending.items():
            if notification_id in partition.settled:
                continue
            open_channels = [c for c in self._channels if c.name not in one.answered and c.takes(one)]
            if not open_channels:
                partition.settled.add(notification_id)
            for channel in open_channels:
                course = partition.courses.setdefault((notification_id, channel.name), _Course())
                said = None if course.recorded else self._advance(course, channel, one)
                if said is not None:
                    course.recorded = True
                    yield Draft(said, one.domain, one.service, one.request.incident_id)

    def _advance(self, course: _Course, channel: Channel, one: Pending) -> Payload | None:
        """Sends when it is time to, and says what is to be recorded once there is anything."""
        if course.under_way is not None:
            if not course.under_way.done():
                return None
            answer, course.under_way = course.under_way.result(), None
            return self._answered(course, channel, one, answer)
        if self._wall_us() - one.at_us > channel.max_age_s * 1_000_000:
            last = f", last: {course.last}" if course.last else ""
            return self._failed(course, channel, one, f"older than {channel.max_age_s:.0f} s{last}")
        if time.monotonic() >= course.due_s:
            course.attempts += 1
            course.under_way = self._pools[channel.name].submit(self._senders[channel.name], one)
        return None

    def _answered(self, course: _Course, channel: Channel, one: Pending, answer: Answer) -> Payload | None:
        if isinstance(answer, Sent):
            notification_id = one.request.notification_id
            self._log.info("delivered", notification=notification_id, channel=channel.name, attempts=course.attempts)
            return NotificationDelivered(
                notification_id=notification_id, channel=channel.name, attempts=course.attempts
            )
        course.last = answer.reason
        if isinstance(answer, Refused) or course.attempts >= channel.max_attempts:
            return self._failed(course, channel, one, answer.reason)
        pause_s = self._pauses_s[min(course.attempts, len(self._pauses_s)) - 1]
        course.due_s = time.monotonic() + max(pause_s, min(answer.wait_s, self._pauses_s[-1]))
        self._log.warning("not delivered, trying again", channel=channel.name, reason=answer.reason)
        return None

    def _failed(self, course: _Course, channel: Channel, one: Pending, reason: str) -> Payload:
        notification_id = one.request.notification_id
        self._log.error("not delivered", notification=notification_id, channel=channel.name, reason=reason)
        return NotificationFailed(
            notification_id=notification_id, channel=channel.name, attempts=course.attempts, reason=reason
        )

    def _record(self, partition: int, fold: PartitionFold[NoticesState], draft: Draft) -> Outgoing:
        now_us = max(self._wall_us(), fold.runtime.now_us)
        return replace(self._mint.from_outside(draft, now_us, fold.runtime.placements), partition=partition)
