"""Every event type, by family. `EVENT_TYPES` maps an event type's name to its model."""

from autopilot.schemas.contract import Payload
from autopilot.schemas.events import (
    effector,
    executor,
    governance,
    kpis,
    notifications,
    observer,
    people,
    planner,
    policy,
    runtime,
    seals,
    telemetry,
    verifier,
)

FAMILIES = (
    telemetry,
    observer,
    planner,
    policy,
    executor,
    effector,
    verifier,
    people,
    governance,
    notifications,
    runtime,
    seals,
    kpis,
)

EVENT_TYPES: dict[str, type[Payload]] = {
    name: model
    for family in FAMILIES
    for name, model in vars(family).items()
    if isinstance(model, type) and issubclass(model, Payload) and model is not Payload
}
"""Event type name -> payload model, in the order of the families."""
