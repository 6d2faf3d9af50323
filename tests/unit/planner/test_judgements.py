"""When a judgement that was kept stands, and when a service is judged anew."""

from dataclasses import replace
from typing import Any

import pytest
from planner import shop
from scenario import START_US

from autopilot.agents.planner.case import Case, Level
from autopilot.agents.planner.confidence import Tally
from autopilot.agents.planner.fleet import FleetView, view_of
from autopilot.agents.planner.incident import Incident, Signal
from autopilot.agents.planner.remedies import Choice
from autopilot.agents.planner.variables import Target
from autopilot.schemas.configuration import Configuration, Remedy

STATE = {"release": "v2", "previous_release": "v1", "desired": "3", "running": "3", "max": "5"}
SIGNAL = Signal("sig", "shop", "cart", "slo_burn", "page", "cart-errors", "errors", "s", START_US, 9_000, 10_000, 9, "")
INCIDENT = Incident("inc", "shop", START_US, START_US, signals=(SIGNAL,), starts={"cart": START_US})


def view(*remedies: Remedy) -> FleetView:
    return view_of(Configuration().with_activated(shop.documents(remedies=remedies or shop.REMEDIES)))


def case(of: FleetView, *, state: dict[str, str] | None = None, seconds: int = 1, **changes: Any) -> Case:
    at_us = START_US + seconds * 1_000_000
    target = Target("supervisord", "cart", "cart", dict(state or STATE), at_us)
    memory: dict[str, Any] = {"tallies": {}, "used_at_us": {}, "ended_at_us": {}, "autonomies": {}}
    fields = {"incident": INCIDENT, "signals": [SIGNAL], **memory, **changes}
    return Case(service=of.services["cart"], targets={target.key: target}, now_us=at_us, **fields)


def test_the_same_signals_and_states_are_judged_once() -> None:
    of = view()
    first = of.judgements.choice(case(of))
    again = of.judgements.choice(case(of, seconds=50, signals=[replace(SIGNAL, signal_id="sig-2", quality_bp=9_000)]))
    assert again is first


def plain(choice: Choice) -> tuple[Any, ...]:
    steps = choice.best.steps if choice.best is not None else []
    return steps, choice.standings, choice.rejected, choice.retry_at_us


@pytest.mark.parametrize(
    "changes",
    [
        {"state": {**STATE, "desired": "5"}},
        {"signals": [replace(SIGNAL, severity="ticket")]},
        {"signals": [replace(SIGNAL, sli="latency")]},
        {"tallies": {"restart@cart/errors": Tally(verified=3)}},
        {"used_at_us": {"restart@cart": START_US}},
        {"ended_at_us": {"restart@cart/errors": START_US}},
        {"autonomies": {"restart@cart": Level("observe", "")}},
        {"incident": replace(INCIDENT, tried={"restart@cart": "it was denied"})},
    ],
    ids=lambda changes: "/".join(changes),
)
def test_what_is_another_is_judged_anew(changes: dict[str, Any]) -> None:
    remedies = [remedy.model_copy(update={"cooldown_ms": 60_000}) for remedy in shop.REMEDIES]
    of, fresh = view(*remedies), view(*remedies)
    before = of.judgements.choice(case(of))
    after = of.judgements.choice(case(of, **changes))
    assert after is not before
    assert plain(after) == plain(fresh.judgements.choice(case(fresh, **changes)))


def test_when_an_incident_began_matters_where_something_ended_before() -> None:
    of = view(shop.RESTART.model_copy(update={"recurrence_ms": 60_000}))
    late = replace(INCIDENT, opened_at_us=START_US + 60_000_000)
    ended = {"ended_at_us": {"restart@cart/errors": START_US}}
    assert of.judgements.choice(case(of, **ended)).best is None
    assert of.judgements.choice(case(of, incident=late, **ended)).best is not None
    long_ago = {"ended_at_us": {"restart@cart/errors": START_US - 60_000_000}}
    assert of.judgements.choice(case(of, **long_ago)).best is not None
    assert of.judgements.choice(case(of, **ended)).best is None


def test_the_end_of_a_cooldown_lets_a_remedy_apply_again() -> None:
    cooling = shop.RESTART.model_copy(update={"cooldown_ms": 60_000})
    of = view(cooling)
    used = {"used_at_us": {"restart@cart": START_US}}
    held, still, free = (of.judgements.choice(case(of, seconds=at, **used)) for at in (1, 59, 60))
    assert held is still
    assert (held.best, held.retry_at_us) == (None, START_US + 60_000_000)
    assert free.best is not None
    assert of.judgements.choice(case(of, seconds=59, **used)).best is None


def test_a_variable_that_moves_is_compared_where_the_catalogue_mentions_it() -> None:
    of = view(shop.RESTART.model_copy(update={"precondition": "quality_bp > 9000"}))
    seen = of.judgements.choice(case(of))
    blurred = of.judgements.choice(case(of, signals=[replace(SIGNAL, quality_bp=8_000)]))
    assert seen.best is not None
    assert blurred.best is None
