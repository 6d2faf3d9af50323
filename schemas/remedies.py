"""The remedy catalogue: the language in which people say what may be done about an incident. See `docs/remedies.md`.

A remedy has either fixed `steps`, or a `goal` that the planner reaches with the catalogue's `operators`. Expressions
are CEL over the planner's variables and those that the catalogue declares.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from autopilot.schemas.events.observer import SliKind
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.written import Autonomy, Name, Written

VariableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""The name of a variable: lower-case letters, digits and `_`, beginning with a letter."""
Expressions = dict[VariableName, str]
"""An expression for each of some variables."""


class VariableType(StrEnum):
    """What a variable's values are."""

    INT = "int"
    STRING = "string"
    BOOL = "bool"


class RemedyVariable(Written):
    """A variable that operators change: a part of a target's declared state, or one that only plans have."""

    name: VariableName
    type: VariableType
    driver: Name | None = Field(default=None, description="driver of the target; left out for one that only plans have")
    role: str = Field(default="", description="role of the target, where the service has several of the driver")
    key: str = Field(default="", description="key in the target's declared state; empty for one that only plans have")
    default: bool | int | str | None = Field(
        default=None,
        description="its value where the state has none; left out, a remedy that needs it does not apply then;"
        " one that only plans have begins as `false`, 0 or empty",
    )
    meaning: str = Field(default="", description="for people")


class RemedyConstraint(Written):
    """What must hold after every step of a plan, and after its gate."""

    holds: str = Field(description="CEL giving a bool")
    message: str = Field(description="why, for people")


class RemedyAction(Written):
    """An action with parameters as CEL expressions over the planner's variables, each giving a string."""

    verb: Name = Field(description="the driver's verb")
    parameters: dict[str, str] = Field(default={}, description="CEL giving a string, for each of the verb's parameters")


class RemedyGate(Written):
    """What must be seen after a step before the next one is taken. See `StageGate` of the planner's events."""

    slo_names: list[str] = Field(
        default=[], description="SLOs that must not burn; those of the verification when it is empty"
    )
    guard_metrics: list[str] = Field(
        default=[], description="metrics that must not rise; `METRIC decrease` must not fall, `METRIC either` neither"
    )
    settle_ms: int = Field(default=5_000, ge=0, description="how long to wait after the step before measuring")
    after_ms: int = Field(default=60_000, ge=100, description="length of the window that is measured")
    deadline_ms: int = Field(default=600_000, ge=100, description="after it, without a verdict, it is inconclusive")
    canary: dict[str, str] = Field(default={}, description="attributes of the canary's series")
    control: dict[str, str] = Field(default={}, description="attributes of the series that it is compared with")


Compensation = RemedyAction | Literal["revert"]
"""What undoes a step: an action, or `revert` for putting back what was recorded before it."""


class RemedyStep(Written):
    """One step of a remedy."""

    id: Name = Field(description="name of the step within the remedy")
    driver: Name = Field(description="driver of the target, as the fleet names it")
    role: str = Field(default="", description="role of the target, where the service has several of the driver")
    action: RemedyAction
    compensation: Compensation | None = Field(
        default=None, description="an action, or `revert` for what was recorded before; left out when it needs none"
    )
    timeout_ms: int = Field(default=30_000, ge=100, description="how long one attempt may take")
    max_attempts: int = Field(default=2, ge=1, le=10, description="attempts in all")
    settle_ms: int = Field(default=0, ge=0, description="how long to wait after it before the next step")
    gate: RemedyGate | None = Field(default=None, description="what must be seen before the next step")


class RemedyOperator(Written):
    """A step that the planner may use to reach a goal: when it may be taken, and what it changes."""

    name: Name
    driver: Name = Field(description="driver of the target, as the fleet names it")
    role: str = Field(default="", description="role of the target, where the service has several of the driver")
    verb: Name = Field(description="the driver's verb")
    parameters: dict[str, str] = Field(default={}, description="CEL giving a string, for each of the verb's parameters")
    precondition: str = Field(default="true", description="CEL giving a bool: when it may be taken")
    effects: Expressions = Field(
        default={}, description="what it changes: for each variable CEL over the state before, giving the value after"
    )
    gate_effects: Expressions = Field(
        default={}, description="what holds once its gate was passed, over the state after the step"
    )
    cost: int = Field(default=1, ge=0, description="relative cost; a plan costs the sum")
    risk_class: RiskClass = Field(description="how much harm it could do; a plan's is the worst of its steps")
    blast_radius_instances: str = Field(
        default="service_instances", description="CEL giving an int: most instances that it touches at once"
    )
    compensation: Compensation | None = Field(
        default=None, description="an action, or `revert` for what was recorded before; left out when it needs none"
    )
    reversible: bool = Field(
        default=True,
        description="false when it cannot be undone; without a compensation it counts as reversible only while it"
        " changes no declared state",
    )
    timeout_ms: int = Field(default=30_000, ge=100, description="how long one attempt may take")
    max_attempts: int = Field(default=2, ge=1, le=10, description="attempts in all")
    settle_ms: int = Field(default=0, ge=0, description="how long to wait after it before the next step")
    gate: RemedyGate | None = Field(default=None, description="what must be seen before the next step")


class RemedyVerification(Written):
    """How the remedy's effect is judged."""

    guard_metrics: list[str] = Field(
        default=[],
        description="metrics that must not rise; `METRIC decrease` must not fall, `METRIC either` do neither",
    )
    before_ms: int = Field(
        default=300_000, ge=100, description="longest time before the execution that is compared with"
    )
    settle_ms: int = Field(default=30_000, ge=0, description="how long to wait after it before measuring")
    after_ms: int = Field(default=300_000, ge=100, description="length of the window after settling")
    deadline_ms: int = Field(default=1_800_000, ge=100, description="after it, without a verdict, it is inconclusive")


class Remedy(Written):
    """One thing that may be done about an incident."""

    name: Name
    summary: str = Field(description="what it does, for people; plans begin with it")
    signal_kinds: list[str] = Field(default=["slo_burn"], description="kinds of signal that it answers")
    slis: list[SliKind] = Field(default=[], description="what the burning objective measures; anything when empty")
    precondition: str = Field(default="true", description="CEL over the planner's variables, giving a bool")
    risk_class: RiskClass = Field(description="how much harm it could do; with a goal, the least that its plans count")
    autonomy: Autonomy = Field(
        default=Autonomy.RECOMMEND, description="how far it may go until a person changes that for a service"
    )
    reversible: bool = Field(default=True, description="with steps: whether each has a compensation or needs none")
    cost: int = Field(default=1, ge=0, description="with steps: relative cost")
    prior_successes_milli: int = Field(default=1_000, ge=1, description="declared prior: successes in thousandths")
    prior_failures_milli: int = Field(default=1_000, ge=1, description="declared prior: failures in thousandths")
    blast_radius_instances: str = Field(
        default="service_instances", description="with steps: CEL giving an int: most instances touched at once"
    )
    cooldown_ms: int = Field(default=60_000, ge=0, description="not used again on a service this soon after its use")
    recurrence_ms: int | None = Field(
        default=None,
        ge=0,
        description="when what it ended comes back this soon, it is not repeated; as long as the cooldown by default",
    )
    steps: list[RemedyStep] = Field(default=[], description="what to do, in order")
    goal: str = Field(default="", description="instead of steps: CEL giving a bool, to be reached with operators")
    operators: list[Name] = Field(default=[], description="with a goal: the operators to use; all when empty")
    max_steps: int = Field(default=6, ge=1, le=20, description="with a goal: the most steps of a plan")
    verification: RemedyVerification = RemedyVerification()
    rests_on: str = Field(default="", description="made when a catalogue is read: digest of what a goal rests on")

    @model_validator(mode="after")
    def _does_something(self) -> "Remedy":
        if bool(self.steps) == bool(self.goal):
            raise ValueError("either `steps` or a `goal`")
        return self

    @property
    def recurrence_us(self) -> int:
        """For how long after it ended an incident it is not repeated, microseconds."""
        return 1_000 * (self.cooldown_ms if self.recurrence_ms is None else self.recurrence_ms)


class RemedyFlapping(Written):
    """When a condition that comes and goes is left to a person: it was raised so often within the window."""

    raises: int = Field(default=5, ge=2, le=1_000, description="times that a condition is raised within the window")
    window_ms: int = Field(default=1_800_000, ge=1_000, description="the window, which ends at the last of them")


class RemedyCatalogue(Written):
    """What may be done."""

    kind: Literal["RemedyCatalogue"] = "RemedyCatalogue"
    name: Name
    variables: list[RemedyVariable] = Field(default=[], description="what operators change")
    operators: list[RemedyOperator] = Field(default=[], description="the steps that plans for a goal are made of")
    constraints: list[RemedyConstraint] = Field(default=[], description="what every plan for a goal keeps to")
    flapping: RemedyFlapping = Field(
        default=RemedyFlapping(), description="when nothing more is proposed; of several catalogues the first counts"
    )
    remedies: list[Remedy]
