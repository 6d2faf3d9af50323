"""Where reading commands read: the views that the projector serves, or the log itself when it is not up.

The views are asked when they follow the log; folding the log from its beginning gives the same and takes as long as the
log is long, so that a line on standard error says it.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import httpx
from pydantic import ValidationError

from autopilot.infra.cli.output import announce
from autopilot.infra.composition import api_url
from autopilot.infra.settings import NotUpError, Settings
from autopilot.projections.client import Client
from autopilot.schemas.identity import LIVE_RUN

A = TypeVar("A")
LAG: Final = 1_000
"""Records that the views may be behind before the log is read instead."""


def from_views(settings: Settings, ask: Callable[[Client], A], scan: Callable[[], A]) -> A:
    """What the views answer, or what `scan` finds in the log. `settings.run` says whose log it is."""
    if settings.run == LIVE_RUN:
        try:
            with Client(api_url(settings)) as client:
                health = client.health()
                if health.status == "ok" and sum(health.lag.values()) <= LAG:
                    return ask(client)
            why = f"the views are {sum(health.lag.values())} records behind ({health.status})"
        except (httpx.HTTPError, ValidationError) as error:
            why = f"the query API does not answer ({error})"
        except NotUpError:
            why = "no views are served here"
    else:
        why = f"the views are of the run `{LIVE_RUN}`"
    announce(f"{why}: reading the whole log")
    return scan()
