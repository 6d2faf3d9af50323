"""One plausible event of every type, for measuring the codec: every list holds two items, every text a few words."""

import types
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

from autopilot.schemas.contract import Contract, Payload
from autopilot.schemas.envelope import Envelope, Event
from autopilot.schemas.events import EVENT_TYPES

ENVELOPE = Envelope(
    event_id="0d5b2e8a-9f5b-5a58-8a37-5f8f0c6a2b11",
    run="live",
    correlation_id="inc-3f0a9c2b71d4e6a8",
    causation_id="5f8f0c6a-2b11-5a58-8a37-0d5b2e8a9f5b",
    cause_topic="autopilot.log",
    cause_partition=2,
    cause_offset=1_234_567,
    occurred_at_us=1_760_000_000_000_000,
    domain="shop",
    service="checkout",
    producer="planner",
)


def event_of(model: type[Payload]) -> Event[Payload]:
    """An event of the type with every field filled."""
    return Event(ENVELOPE, model(**{name: _value(name, info.annotation) for name, info in model.model_fields.items()}))


def all_events() -> dict[str, Event[Payload]]:
    """One event of every type, by name."""
    return {name: event_of(model) for name, model in EVENT_TYPES.items()}


def _value(name: str, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _value(name, annotation.__origin__)
    if origin in (Union, types.UnionType):
        return _value(name, next(a for a in arguments if a is not type(None)))
    if origin is list:
        return [_value(name, arguments[0]) for _ in range(2)]
    if origin is dict:
        return {"service.instance.id": _value(name, arguments[1])}
    if issubclass(annotation, StrEnum):
        return next(iter(annotation))
    if issubclass(annotation, Contract):
        return annotation(**{n: _value(n, info.annotation) for n, info in annotation.model_fields.items()})
    plain: dict[type, Any] = {
        bool: True,
        int: 1_760_000_000_000_000 if name.endswith("_us") else 3,
        float: 0.25,
        str: f"{name} of the checkout",
        bytes: b"x" * 64,
    }
    return plain[annotation]
