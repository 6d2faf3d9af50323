"""Where reading commands read: the views that the projector serves, or the log itself when it is not up.

The views are asked once they have come to where the log ended when the command began, so that a person sees what was
just written; folding the log from its beginning gives the same and takes as long as the log is long, so that a line on
standard error says it.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import httpx
from pydantic import ValidationError

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import announce
from autopilot.infra.composition import api_url, registry_of
from autopilot.infra.settings import NotUpError, Settings
from autopilot.projections.admission import Admission
from autopilot.projections.approvals import PendingApproval, pending_approvals
from autopilot.projections.client import Client
from autopilot.projections.hearing import Hearing
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.identity import LIVE_RUN
from autopilot.streams.reader import ends, read_raw

A = TypeVar("A")
PATIENCE_S: Final = 5.0
"""How long views may take to come to the end of the log before it is read instead."""


def from_views(settings: Settings, ask: Callable[[Client], A], scan: Callable[[], A]) -> A:
    """What the views answer, or what `scan` finds in the log. Raises `NotUpError` when there is neither."""
    if settings.run == LIVE_RUN:
        try:
            with Client(api_url(settings)) as client:
                health = client.health()
                if health.status == "ok" and client.wait_for(
                    ends(answering_kafka(settings), str(Topic.LOG)), PATIENCE_S
                ):
                    return ask(client)
            why = f"the views are {sum(health.lag.values())} records behind ({health.status})"
        except (httpx.HTTPError, ValidationError) as error:
            why = f"the query API does not answer ({error})"
        except NotUpError:
            why = "no views are served here"
    else:
        why = f"the views are of the run `{LIVE_RUN}`"
    answering_kafka(settings)  # without a Kafka that is known there is nothing to announce
    announce(f"{why}: reading the whole log")
    return scan()


def log_of(settings: Settings) -> Iterator[Recorded[Payload]]:
    """Every event of this run on the log that counts, each partition in order: as the views are shown it."""
    admission, hearing = Admission(Codec(registry_of(settings)), EVENT_TYPES.values(), {}, settings.run), Hearing()
    for record in read_raw(answering_kafka(settings), str(Topic.LOG)):
        recorded = hearing.take(admission, record)
        if recorded is not None:
            yield recorded


def waiting(settings: Settings) -> list[PendingApproval]:
    """The requests that wait for people, oldest first."""
    return from_views(
        settings, lambda client: client.approvals().approvals, lambda: pending_approvals(log_of(settings))
    )
