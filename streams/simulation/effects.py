"""A declared model of what actions do: which verb changes which metric, how, and after which delay. Pure.

`recorded` has no effects: every step is answered as done, and telemetry goes on as it was recorded. With effects, the
samples of the changed metrics are no longer what was recorded, from the delay after the step on until the step is
undone. Nothing propagates by itself: what a remedy does to a service's callers has to be declared too.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from autopilot.schemas.configuration import Written


class Change(StrEnum):
    """What happens to a metric's samples."""

    RESTORE = "restore"
    """The series' median over `baseline_ms` before the incident began."""
    RESAMPLE = "resample"
    """Drawn, by the seed, from the series' samples of `baseline_ms` before the incident began."""
    SCALE = "scale"
    """Multiplied by `value`."""
    SET = "set"
    """`value`."""


class MetricEffect(Written):
    """What a step does to one metric."""

    metric: str
    service: str = Field(default="", description="whose metric; empty for the service that the step is for")
    change: Change
    value: float = Field(default=0.0, allow_inf_nan=False)


class Effect(Written):
    """What a verb of a driver does."""

    driver: str
    verb: str
    services: list[str] = Field(default=[], description="for steps of these services only; empty for all")
    after_ms: int = Field(default=60_000, ge=0, description="from the step to the first changed sample")
    lasts_ms: int | None = Field(default=None, ge=1, description="how long from then on; null for ever")
    baseline_ms: int = Field(default=1_800_000, ge=1, description="what counts as before the incident")
    crash_class: Literal["convergent", "witnessed", "keyed", "blind"] = "convergent"
    state: dict[str, str] = Field(
        default={}, description="keys of the target's state that it sets: a value, or `{name}` of a parameter or key"
    )
    metrics: tuple[MetricEffect, ...] = ()

    def answers(self, driver: str, verb: str, service: str) -> bool:
        """Whether it says what this step does."""
        return (driver, verb) == (self.driver, self.verb) and (not self.services or service in self.services)


class Target(Written):
    """What a target is like at the beginning."""

    driver: str
    target: str
    state: dict[str, str]


class EffectModel(Written):
    """All that is declared. The first effect that answers a step counts."""

    kind: Literal["EffectModel"] = "EffectModel"
    name: str
    description: str = ""
    targets: tuple[Target, ...] = ()
    effects: tuple[Effect, ...] = ()
    approve_after_ms: int | None = Field(
        default=None, ge=0, description="a simulated approver grants every request after so long; null for never"
    )

    def effect_of(self, driver: str, verb: str, service: str) -> Effect | None:
        """What a step does; None when nothing is declared."""
        return next((each for each in self.effects if each.answers(driver, verb, service)), None)


RECORDED = EffectModel(
    name="recorded",
    description="nothing changes: what would have been done, against what happened",
)
"""The model without effects."""
