"""The facts schema: everything that a decision may see, with its type, meaning, unit and source.

A decision sees all of these and nothing else. `FactSet.of` checks strictly (a bool is not an int, every fact is there,
none is unknown, each is within its bounds), so that an engine never meets a wrong type. The order of `FACTS` is
canonical: it is the order in the event, in the digest and in the documentation.

Adding a fact, or widening one, raises `FACTS_VERSION`; a bundle states the version that it was written for.
`python -m autopilot.policies.facts` prints the table of the documentation.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

from autopilot.schemas.configuration import canonical
from autopilot.schemas.events.policy import Fact
from autopilot.schemas.identity import digest_of

FACTS_VERSION: Final = 1

Value = bool | int | str

_BIG: Final = 2**53
_WHOLE_BP: Final = 10_000


class FactError(ValueError):
    """A fact set breaks the schema: `fact`, the value seen and what was expected."""

    def __init__(self, fact: str, seen: str, expected: str) -> None:
        super().__init__(f"`{fact}` is {seen}, expected {expected}")
        self.fact = fact
        self.seen = seen
        self.expected = expected


@dataclass(frozen=True, slots=True)
class FactSpec:
    """One fact. `low` and `high` bound an int (both inclusive); `choices`, when given, are all the texts there are.

    `example` is the value in the baseline that inline tests start from: a sound plan in a calm fleet.
    """

    name: str
    type: type[Value]
    meaning: str
    source: str
    example: Value
    unit: str = ""
    low: int = 0
    high: int = _BIG
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> Value:
        """The value when it is one of this fact's. Raises `FactError`."""
        if type(value) is not self.type:
            raise FactError(self.name, f"{value!r} ({type(value).__name__})", self.expected)
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            if self.low <= value <= self.high:
                return value
            raise FactError(self.name, str(value), self.expected)
        text = str(value)
        if self.choices and text not in self.choices:
            raise FactError(self.name, repr(text), self.expected)
        return text

    @property
    def expected(self) -> str:
        """What a value must be, for people."""
        if self.type is int:
            return f"an int from {self.low} to {self.high}" if self.high < _BIG else f"an int of at least {self.low}"
        if self.choices:
            return "one of " + ", ".join(f"`{choice}`" for choice in self.choices)
        return "true or false" if self.type is bool else "a text"


def _int(name: str, meaning: str, source: str, example: int, unit: str, low: int = 0, high: int = _BIG) -> FactSpec:
    return FactSpec(name, int, meaning, source, example, unit, low, high)


def _bp(name: str, meaning: str, source: str, example: int) -> FactSpec:
    return _int(name, meaning, source, example, "bp", 0, _WHOLE_BP)


def _bool(name: str, meaning: str, source: str, example: bool) -> FactSpec:
    return FactSpec(name, bool, meaning, source, example)


def _text(name: str, meaning: str, source: str, example: str, *choices: str) -> FactSpec:
    return FactSpec(name, str, meaning, source, example, choices=choices)


_PLAN = "PlanProposed"
_SIGNALS = "SignalRaised, SignalUpdated, SignalCleared"
_QUALITY = "TelemetryQualityChanged and the service's signals"
_FLEET = "Fleet configuration"
_CALENDAR = "Calendar configuration and Tick"
_EXECUTIONS = "ExecutionStarted"

FACTS: Final[tuple[FactSpec, ...]] = (
    _text("plan_actions", "What the plan does, each once as `driver.verb`, sorted, joined by commas", _PLAN,
          "supervisord.restart"),
    _text("plan_targets", "What it does it to, each once as `driver/target`, sorted, joined by commas", _PLAN,
          "supervisord/checkout"),
    _text("plan_remedy", "Name of the remedy in the catalogue", _PLAN, "restart"),
    _text("plan_risk_class", "How much harm the remedy could do, as the catalogue states it", _PLAN, "low",
          "low", "medium", "high", "dangerous"),
    _bool("plan_reversible", "Whether every step can be undone or needs no undoing", _PLAN, True),
    _int("plan_cost", "Relative cost of the remedy, as the catalogue states it", _PLAN, 1, "points"),
    _bp("plan_confidence_bp", "Lower bound of the posterior that the remedy helps", _PLAN, 7_000),
    _bp("plan_blast_radius_bp", "Largest share of the service's capacity that is touched at once", _PLAN, 3_300),
    _int("plan_blast_radius_instances", "Most instances that are touched at once", _PLAN, 1, "instances"),
    _int("plan_steps", "Number of steps", _PLAN, 1, "steps"),
    _int("plan_attempt", "1 for the incident's first plan", _PLAN, 1, "plans", 1),
    _text("incident_severity", "Worst severity among the incident's signals; `unknown` without an open incident",
          "IncidentOpened, SignalUpdated", "page", "page", "ticket", "info", "unknown"),
    _int("incident_age_ms", "Time since the earliest start among its signals", "IncidentOpened and Tick", 60_000,
         "ms"),
    _int("incident_max_burn_milli", "Largest burn rate over a long window among its signals; 0 without a burn",
         _SIGNALS, 14_400, "thousandths"),
    _int("incident_signals", "Signals that belong to it and have not cleared", "IncidentOpened, SignalLinked", 1,
         "signals"),
    _bp("telemetry_freshness_bp", "Whether the newest sample is recent; the worst required series; 0 when unknown",
        _QUALITY, 10_000),
    _bp("telemetry_completeness_bp", "Share of the expected samples that arrived; 0 when unknown", _QUALITY, 10_000),
    _bp("telemetry_validity_bp", "Share of the samples that were finite and plausible; 0 when unknown", _QUALITY,
        10_000),
    _bp("telemetry_order_bp", "Share of the samples that came in order of time; 0 when unknown", _QUALITY, 10_000),
    _bool("telemetry_lost", "Whether telemetry of the service is reported lost, or nothing was ever known of it",
          _SIGNALS, False),
    _text("service_name", "The service that the plan is for", _PLAN, "checkout"),
    _bool("service_known", "Whether the fleet has it in this domain", _FLEET, True),
    _int("service_tier", "Importance, 0 the highest; 4 when unknown", _FLEET, 2, "", 0, 4),
    _text("service_owner", "Who owns it; empty when unknown", _FLEET, "payments"),
    _text("service_environment", "Where it runs; empty when unknown", _FLEET, "production"),
    _text("service_autonomy", "How far the autopilot may go for it; `observe` when unknown", _FLEET, "act",
          "observe", "recommend", "approve", "act_and_tell", "act"),
    _text("remedy_autonomy", "How far the remedy may go for it: as the catalogue declares, or as a person changed it; "
          "`observe` when the catalogue has no such remedy", "RemedyCatalogue configuration, RemedyAutonomyChanged",
          "act",
          "observe", "recommend", "approve", "act_and_tell", "act"),
    _text("service_domain", "Unit of governance and blast radius", _PLAN, "shop"),
    _int("service_instances", "Declared capacity; 0 when unknown", _FLEET, 3, "instances"),
    _bool("calendar_known", "Whether a calendar is in force and the time is known", _CALENDAR, True),
    _int("calendar_weekday", "Day in the calendar's zone, 0 is Monday", _CALENDAR, 1, "", 0, 6),
    _int("calendar_minute_of_day", "Minutes since midnight in the calendar's zone", _CALENDAR, 600, "min", 0, 1439),
    _bool("calendar_in_change_window", "Whether now is in a change window; false without a calendar", _CALENDAR, True),
    _bool("calendar_in_freeze", "Whether a freeze covers the domain now", _CALENDAR, False),
    _int("history_attempts", "Executions for the service in the last 24 h", _EXECUTIONS, 0, "executions"),
    _int("history_failures", "Executions for the service that ended without success in the last 24 h, but for those "
         "counted in `history_rejections`", "ExecutionFailed, ExecutionRolledBack", 0, "executions"),
    _int("history_rejections", "Remedies for the service that did not help, in the last 24 h", "OutcomeRejected", 0,
         "outcomes"),
    _int("history_minutes_since_last_action", "Since the last execution for the service began; -1 when none did in "
         "the last 24 h", _EXECUTIONS, -1, "min", -1, 1_440),
    _bool("breaker_open", "Whether a breaker of one of the plan's targets and verbs is open and not due for a probe",
          "BreakerOpened, BreakerClosed", False),
    _int("budget_actions_last_hour", "Plans authorised in the domain in the last hour, but for those revoked before "
         "they began", "the policy's own decisions", 0, "plans"),
    _int("risk_budget_left", "Plans like this that the tightest risk budget still allows; 1000000 when none covers it",
         "RiskBudgets configuration and the policy's own decisions", 10, "plans", 0, 1_000_000),
    _int("failure_budget_left", "Failures that the tightest failure budget still allows; 1000000 when none covers it",
         "RiskBudgets configuration, ExecutionFailed, ExecutionRolledBack, OutcomeRejected", 10, "executions", 0,
         1_000_000),
    _int("budget_refill_ms", "Until a spent budget allows the plan again; 0 when none is spent, or it never will",
         "RiskBudgets configuration and Tick", 0, "ms"),
    _bool("halted", "Whether a halt covers the domain", "Halt, Resume", False),
    _int("approvals_granted", "People who have approved this plan, or its held step", "ApprovalGranted", 0, "people"),
)  # fmt: skip

SPECS: Final[Mapping[str, FactSpec]] = {spec.name: spec for spec in FACTS}
BASELINE: Final[Mapping[str, Value]] = {spec.name: spec.example for spec in FACTS}


def unknown_fact(name: str, known: Iterable[str] = SPECS) -> FactError:
    """The error for a name that is no fact, with the nearest name that is one."""
    near = get_close_matches(name, list(known), n=1)
    return FactError(name, "unknown", f"`{near[0]}`" if near else "a fact of the facts schema")


def _other_names(values: Mapping[str, object]) -> FactError:
    """The error for values that are not those of every fact alone."""
    for name in values:
        if name not in SPECS:
            return unknown_fact(name)
    missing = next(name for name in SPECS if name not in values)
    return FactError(missing, "missing", SPECS[missing].expected)


@dataclass(frozen=True, slots=True)
class FactSet:
    """A checked fact set in canonical order. `digest` is over the schema version, the names and the values."""

    values: Mapping[str, Value]
    digest: str
    facts: tuple[Fact, ...]

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "FactSet":
        """The fact set of `values`. Raises `FactError` on a missing, unknown, mistyped or impossible fact."""
        if values.keys() != SPECS.keys():
            raise _other_names(values)
        given: list[Any] = [values[name] for name in SPECS]
        try:
            facts, pairs = zip(*map(_checked, SPECS, given), strict=True)
        except TypeError:  # what cannot be looked up, such as a list, is no value of a fact
            for spec, value in zip(FACTS, given, strict=True):
                spec.check(value)
            raise
        return cls(dict(zip(SPECS, given, strict=True)), digest_of(f"[{FACTS_VERSION},{','.join(pairs)}]"), facts)

    def changed(self, name: str, value: object) -> "FactSet":
        """The fact set with one fact changed. Raises `FactError`."""
        if name not in SPECS:
            raise unknown_fact(name)
        return FactSet.of({**self.values, name: value})

    @classmethod
    def of_recorded(cls, facts: Iterable[Fact]) -> "FactSet":
        """The fact set that an event bears. Raises `FactError`."""
        return cls.of({fact.name: fact.value for fact in facts})

    def recorded(self) -> list[Fact]:
        """The facts as an event bears them, in canonical order."""
        return list(self.facts)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return iter(self.values.items())


@lru_cache(maxsize=32_768, typed=True)
def _checked(name: str, value: Value) -> tuple[Fact, str]:
    """A fact as an event bears it, and its part of the canonical JSON that a digest is over. Raises `FactError`.

    Kept by name, value and the value's type, which is all that it depends on: from one fact set to the next most
    values repeat, and what is kept was checked.
    """
    SPECS[name].check(value)
    pair = canonical([name, value])
    if isinstance(value, bool):
        return Fact(name=name, bool_value=value), pair
    if isinstance(value, int):
        return Fact(name=name, int_value=value), pair
    return Fact(name=name, text_value=value), pair


def table() -> str:
    """The schema as a Markdown table."""
    lines = ["| fact | type | unit | meaning | source |", "|---|---|---|---|---|"]
    for spec in FACTS:
        choices = f": {', '.join(f'`{choice}`' for choice in spec.choices)}" if spec.choices else ""
        kind = {bool: "bool", int: "int", str: "text"}[spec.type]
        lines.append(f"| `{spec.name}` | {kind} | {spec.unit} | {spec.meaning}{choices} | {spec.source} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
