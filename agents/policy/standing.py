"""What the configuration in force means to the policy: services, remedies, budgets, calendar and compiled bundles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from autopilot.policies.engine import PolicySet, policy_set
from autopilot.policies.facts import Value
from autopilot.schemas.configuration import Calendar, Configuration, Remedy, RiskBudget, Service, canonical
from autopilot.schemas.identity import digest_of

KINDS: Final = frozenset({"Fleet", "Calendar", "RemedyCatalogue", "RiskBudgets"})
"""The kinds of document that the policy takes from activations; the bundles that rule come from its catalogue."""

MINUTE_US: Final = 60_000_000
_MINUTES_A_DAY: Final = 1_440
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday."""


@dataclass(frozen=True)
class Standing:
    """A configuration, parsed and compiled."""

    services: Mapping[str, Service]
    calendar: Calendar | None
    policies: PolicySet
    remedies: Mapping[str, tuple[Remedy, str]]
    """Each remedy with the digest of its definition; of two of one name the first counts."""
    budgets: tuple[RiskBudget, ...]

    def service(self, name: str, domain: str) -> Service | None:
        """The service when the fleet has it in that domain."""
        service = self.services.get(name)
        return service if service is not None and service.domain == domain else None


def standing_of(configuration: Configuration) -> Standing:
    """The standing of a configuration. A bundle that cannot be used makes a policy set that denies all."""
    services = {service.name: service for fleet in configuration.fleets() for service in fleet.services}
    bundles = [document.content for document in configuration.of_kind("PolicyBundle")]
    return Standing(
        services,
        configuration.calendar(),
        policy_set(bundles),
        remedies_of(configuration.remedies()),
        tuple(configuration.budgets()),
    )


def remedies_of(remedies: Iterable[Remedy]) -> dict[str, tuple[Remedy, str]]:
    """Remedies by name, each with the digest of its definition, as plans name it."""
    first: dict[str, tuple[Remedy, str]] = {}
    for remedy in remedies:
        first.setdefault(remedy.name, (remedy, digest_of(canonical(remedy.model_dump(mode="json")))))
    return first


def digests_of(configuration: Configuration) -> tuple[str, ...]:
    """What a configuration is known by: the digests of its documents."""
    return tuple(doc.digest for kind in sorted(configuration.documents) for doc in configuration.of_kind(kind))


def calendar_facts(calendar: Calendar | None, domain: str, now_us: int) -> dict[str, Value]:
    """The calendar's facts at a time; all is closed without a calendar or before the first tick."""
    known = calendar is not None and now_us > 0
    offset = calendar.utc_offset_minutes if calendar is not None else 0
    minutes = max(now_us // MINUTE_US + offset, 0)
    minute = minutes % _MINUTES_A_DAY
    weekday = (minutes // _MINUTES_A_DAY + _EPOCH_WEEKDAY) % len(_DAYS)
    return {
        "calendar_known": known,
        "calendar_weekday": weekday,
        "calendar_minute_of_day": minute,
        "calendar_in_change_window": calendar is not None and known and _in_window(calendar, weekday, minute),
        "calendar_in_freeze": calendar is not None and _frozen(calendar, domain, now_us),
    }


def _in_window(calendar: Calendar, weekday: int, minute: int) -> bool:
    return any(
        _DAYS[weekday] in window.days and window.from_minute <= minute < window.until_minute
        for window in calendar.change_windows
    )


def _frozen(calendar: Calendar, domain: str, now_us: int) -> bool:
    return any(
        freeze.from_us <= now_us < freeze.until_us and (not freeze.domains or domain in freeze.domains)
        for freeze in calendar.freezes
    )
