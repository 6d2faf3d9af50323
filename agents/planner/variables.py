"""The variables that a remedy's expressions may use: one table of name, type and meaning, and those of a catalogue.

Text that is not known is empty and numbers that are not known are -1, so that an expression always has a value. A
remedy is considered only when its target is known; what concerns the target is then what the effector last observed.
A catalogue declares further ones; those have a value only where a target's state or a default gives one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from autopilot.agents.planner.incident import Incident, Signal
from autopilot.policies.expression import Environment, Value
from autopilot.schemas.configuration import RemedyVariable, Service, VariableType

UNKNOWN = -1
TYPES: dict[VariableType, type[Value]] = {VariableType.INT: int, VariableType.STRING: str, VariableType.BOOL: bool}
_NUMBER = re.compile(r"(-?[0-9]{1,18})(\.[0-9]+)?")
_BOOLS = {"true": True, "false": False}


class Variable(NamedTuple):
    """A variable of the planner."""

    name: str
    type: type[Value]
    meaning: str
    moves: bool = False
    """Whether it may change while the service, what is wrong with it and the states of its targets stay the same."""


VARIABLES = (
    Variable("service", str, "name of the suspect service"),
    Variable("domain", str, "its domain"),
    Variable("environment", str, "its environment, such as `production`"),
    Variable("tier", int, "its tier, 0 is the most important"),
    Variable("service_instances", int, "its declared capacity, in instances"),
    Variable("signal_kind", str, "kind of the signal that the remedy answers, such as `slo_burn`"),
    Variable("severity", str, "severity of that signal: `page`, `ticket` or `info`"),
    Variable("slo", str, "name of the objective that burns; empty for other kinds"),
    Variable("sli", str, "what the objective measures: `latency`, `errors`, `availability`, `saturation`"),
    Variable("burn_rate_milli", int, "highest burn rate among the signal's long windows, in thousandths", True),
    Variable("signal_confidence_bp", int, "how sure the observer is of the signal, basis points", True),
    Variable("quality_bp", int, "worst score of the service's telemetry when the signal was last heard of", True),
    Variable("signal_age_ms", int, "time since the signal's condition began", True),
    Variable("affected_services", int, "services with a raised signal in the incident", True),
    Variable("failed_attempts", int, "remedies of this incident that were denied, failed or rejected so far", True),
    Variable("has_target", bool, "whether the target's state is known"),
    Variable("target", str, "the target, as its driver names it"),
    Variable("target_age_ms", int, "time since the effector last observed the target", True),
    Variable("release", str, "release that the target runs"),
    Variable("previous_release", str, "release that it ran before"),
    Variable("release_age_ms", int, "time since the release was seen to change; -1 when it never was", True),
    Variable("desired", int, "instances wanted at the target"),
    Variable("running", int, "instances running there"),
    Variable("max_instances", int, "most instances that the target can have"),
)
"""Every variable, in the order in which they are documented."""

DECLARED_STATE = {
    "release": "release",
    "previous_release": "previous_release",
    "desired": "desired",
    "max_instances": "max",
}
"""Variables that are a target's declared state, and its key there. How many run is left out: it moves by itself."""

OF_A_TARGET = frozenset(
    {
        "has_target", "target", "target_age_ms", "release", "previous_release", "release_age_ms", "desired", "running",
        "max_instances",
    }
)  # fmt: skip
"""Variables that concern one target: in what is about a whole plan, such as a goal, they mean nothing."""

ENVIRONMENT = Environment({variable.name: variable.type for variable in VARIABLES})


@dataclass(frozen=True)
class Target:
    """A target's state as the effector last observed it."""

    driver: str
    target: str
    service: str
    state: dict[str, str]
    observed_at_us: int
    release_changed_at_us: int = UNKNOWN

    @cached_property
    def key(self) -> str:
        """Its key among all targets."""
        return target_key(self.driver, self.target)

    def number(self, key: str) -> int:
        """The state's value of `key` as a number; -1 when there is none."""
        text = self.state.get(key, "")
        return int(text) if text.isascii() and text.isdigit() else UNKNOWN


def environment_of(declared: Iterable[RemedyVariable]) -> Environment:
    """The planner's variables and those of a catalogue; where a name is both, the planner's counts."""
    return Environment({**{one.name: TYPES[one.type] for one in declared}, **ENVIRONMENT.variables})


class Reading(NamedTuple):
    """How a declared variable is read from a target's state."""

    name: str
    key: str
    read: Callable[[str], Value | None]
    otherwise: Value | None
    """Its default, or what one has that only plans have; None when it then has no value."""

    def value(self, state: Mapping[str, str]) -> Value | None:
        """Its value in a target's state; None when it has none."""
        text = state.get(self.key)
        if text is None:
            return self.otherwise
        read = self.read(text)
        return self.otherwise if read is None else read


def reading_of(variable: RemedyVariable) -> Reading:
    """How the variable is read. A number is the whole part of what the state says, so that `12.5` is 12."""
    otherwise = variable.default
    if otherwise is None and not variable.key:
        otherwise = TYPES[variable.type]()
    return Reading(variable.name, variable.key, _READ[variable.type], otherwise)


def _whole_number(text: str) -> int | None:
    number = _NUMBER.fullmatch(text)
    return int(number[1]) if number else None


_READ: dict[VariableType, Callable[[str], Value | None]] = {
    VariableType.INT: _whole_number,
    VariableType.STRING: str,
    VariableType.BOOL: lambda text: _BOOLS.get(text.lower()),
}
"""What a target's state says of a variable, by its type; None when that is no value of it."""


def target_key(driver: str, target: str) -> str:
    """The key of a target among all targets."""
    return f"{driver}/{target}"


def about_signal(incident: Incident, signal: Signal, service: Service, now_us: int) -> dict[str, Value]:
    """The value of every variable that concerns no target, for one signal of an incident."""
    return {
        "service": service.name,
        "domain": service.domain,
        "environment": service.environment,
        "tier": service.tier,
        "service_instances": service.instances,
        "signal_kind": signal.kind,
        "severity": signal.severity,
        "slo": signal.slo,
        "sli": signal.sli,
        "burn_rate_milli": signal.burn_milli,
        "signal_confidence_bp": signal.confidence_bp,
        "quality_bp": signal.quality_bp,
        "signal_age_ms": _age_ms(signal.started_at_us, now_us),
        "affected_services": len({one.service for one in incident.signals}),
        "failed_attempts": len(incident.tried),
    }


def about_target(target: Target | None, now_us: int) -> Mapping[str, Value]:
    """The value of every variable that concerns a target."""
    return _of_target(target, now_us) if target else _NO_TARGET


def _of_target(target: Target, now_us: int) -> dict[str, Value]:
    stated = target.state.get
    return {
        "has_target": True,
        "target": target.target,
        "target_age_ms": _age_ms(target.observed_at_us, now_us),
        "release": stated("release", ""),
        "previous_release": stated("previous_release", ""),
        "release_age_ms": _age_ms(target.release_changed_at_us, now_us),
        "desired": target.number("desired"),
        "running": target.number("running"),
        "max_instances": target.number("max"),
    }


def _age_ms(since_us: int, now_us: int) -> int:
    return UNKNOWN if since_us == UNKNOWN else max(0, now_us - since_us) // 1000


_NO_TARGET = {**_of_target(Target("", "", "", {}, UNKNOWN), UNKNOWN), "has_target": False}
