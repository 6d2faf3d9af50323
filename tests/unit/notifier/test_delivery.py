"""Delivery beside a fold: retries, ends, ages, and nothing before the partition is read to its end."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from notifying import channel, notification

from autopilot.infra.notifier.channels import Channel
from autopilot.infra.notifier.delivery import Delivery
from autopilot.infra.notifier.notices import Notices
from autopilot.infra.notifier.sending import Answer, Refused, Sent, Unsent
from autopilot.infra.notifier.state import NoticesState, Pending
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationFailed
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint

CODEC = Codec(BundledRegistry())
MINT = Mint(CODEC, "notifier", 4)
NOW_US = 2_000_000


class Script:
    """A sender that answers as it was told to, and then takes everything."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.sent: list[str] = []

    def __call__(self, pending: Pending) -> Answer:
        self.sent.append(pending.request.notification_id)
        return self._answers.pop(0) if self._answers else Sent()


class Bench:
    """A delivery with scripted channels, over the state of a fold that nothing else moves."""

    def __init__(self, senders: dict[str, Script], channels: Sequence[Channel] = (), *, end: int = 0) -> None:
        self.channels = list(channels) or [channel(name=name) for name in senders]
        self.now_us = NOW_US
        self.delivery = Delivery(
            self.channels,
            senders,
            MINT,
            lambda _: end,
            pauses_s=(0.01,),
            wall_us=lambda: self.now_us,
        )
        self.recover()

    def recover(self) -> None:
        self.fold: PartitionFold[NoticesState] = PartitionFold(Notices(), CODEC, MINT, reads_run=LIVE_RUN)
        self.keep(notification())

    def keep(self, one: Pending) -> None:
        self.fold.state.pending[one.request.notification_id] = one

    def turns(self, count: int = 1, position: int = 0) -> list[Payload]:
        """What was recorded: so much, however long it takes, and whatever comes in a while after it."""
        said: list[Payload] = []
        until = time.monotonic() + 60
        while len(said) < count:
            assert time.monotonic() < until, f"only {said} was recorded"
            said += self.while_(0.01, position)
        return said + self.while_(0.1, position)

    def while_(self, seconds: float, position: int = 0) -> list[Payload]:
        """What was recorded within a while."""
        said: list[Payload] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for outgoing in self.delivery.turn(2, self.fold, position):
                assert (outgoing.topic, outgoing.partition) == ("autopilot.log", 2)
                said.append(CODEC.decode(outgoing.value).payload)
            time.sleep(0.005)
        return said


@pytest.fixture
def benches() -> Iterator[Any]:
    made: list[Bench] = []

    def make(*args: Any, **kwargs: Any) -> Bench:
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield make
    for bench in made:
        bench.delivery.close()


def delivered(channel: str = "sre", attempts: int = 1) -> NotificationDelivered:
    return NotificationDelivered(notification_id="ntf-1", channel=channel, attempts=attempts)


def test_what_is_pending_is_sent_once_to_each_channel_and_recorded(benches: Any) -> None:
    sre, pager = Script(), Script()
    said = benches({"sre": sre, "pager": pager}).turns(2)
    assert sorted(said, key=lambda p: p.channel) == [delivered("pager"), delivered("sre")]
    assert sre.sent == pager.sent == ["ntf-1"]


def test_a_channel_that_answered_is_not_asked_again(benches: Any) -> None:
    sre = Script()
    bench = benches({"sre": sre})
    bench.fold.state.pending["ntf-1"].answered.append("sre")
    assert bench.while_(0.3) == []
    assert sre.sent == []


def test_a_filter_holds(benches: Any) -> None:
    sre = Script()
    assert benches({"sre": sre}, [channel(name="sre", domains=["bank"])]).while_(0.3) == []
    assert sre.sent == []


def test_what_was_not_taken_is_tried_again_and_the_tries_are_counted(benches: Any) -> None:
    assert benches({"sre": Script(Unsent("503"), Unsent("no route"))}).turns() == [delivered(attempts=3)]


def test_after_the_last_try_it_is_given_up_with_the_last_answer(benches: Any) -> None:
    sre = Script(*[Unsent(f"50{number}") for number in range(9)])
    said = benches({"sre": sre}, [channel(name="sre", max_attempts=3)]).turns()
    assert said == [NotificationFailed(notification_id="ntf-1", channel="sre", attempts=3, reason="502")]


def test_what_is_refused_for_good_is_not_tried_again(benches: Any) -> None:
    sre = Script(Refused("404 Not Found: no_service"))
    said = benches({"sre": sre}).turns()
    assert said == [
        NotificationFailed(notification_id="ntf-1", channel="sre", attempts=1, reason="404 Not Found: no_service")
    ]
    assert sre.sent == ["ntf-1"]


def test_a_dead_channel_delays_no_other(benches: Any) -> None:
    hangs = threading.Event()

    class Dead(Script):
        def __call__(self, pending: Pending) -> Answer:
            hangs.wait(120)
            return super().__call__(pending)

    bench = benches({"dead": Dead(), "sre": Script()})
    for number in range(2, 12):
        bench.keep(notification(notification_id=f"ntf-{number}"))
    try:
        said = bench.turns(11)
    finally:
        hangs.set()
    assert {(type(one), one.channel) for one in said} == {(NotificationDelivered, "sre")}
    assert len(said) == 11


def test_a_channel_says_how_long_to_wait(benches: Any) -> None:
    bench = benches({"sre": Script(Unsent("429", wait_s=60.0))})
    bench.delivery._pauses_s = (0.01, 0.4)
    assert bench.while_(0.3) == []
    assert bench.turns() == [delivered(attempts=2)]


def test_what_is_too_old_is_never_sent_and_says_so(benches: Any) -> None:
    sre = Script()
    bench = benches({"sre": sre}, [channel(name="sre", max_age_s=60)])
    bench.now_us = NOW_US + 120_000_000
    assert bench.turns() == [
        NotificationFailed(notification_id="ntf-1", channel="sre", attempts=0, reason="older than 60 s")
    ]
    assert sre.sent == []


def test_nothing_is_sent_before_the_partition_is_read_to_its_end(benches: Any) -> None:
    sre = Script()
    bench = benches({"sre": sre}, end=7)
    assert bench.while_(0.1, position=6) == []
    assert sre.sent == []
    assert bench.turns(position=7) == [delivered()]


def test_after_a_recovery_what_the_log_does_not_answer_is_sent_again(benches: Any) -> None:
    sre = Script()
    bench = benches({"sre": sre})
    assert bench.turns() == [delivered()]
    bench.recover()
    assert bench.turns() == [delivered()]
    assert sre.sent == ["ntf-1", "ntf-1"]
