"""The documents in force as the planner looks at them: services, what they depend on, objectives and remedies."""

from collections.abc import Mapping
from dataclasses import dataclass

from autopilot.agents.planner.catalogue import Entry, entries_of
from autopilot.agents.planner.judgements import Judgements
from autopilot.schemas.configuration import Configuration, RemedyFlapping, Service

KINDS = ("Fleet", "RemedyCatalogue", "ServiceLevelObjectives")
"""Kinds of documents that the planner keeps in its state."""


@dataclass(frozen=True)
class FleetView:
    """What one revision of the configuration says. Built once for each revision."""

    services: Mapping[str, Service]
    reaches: Mapping[str, frozenset[str]]
    """Service -> every service that it depends on, directly or through others."""
    reached_by: Mapping[str, frozenset[str]]
    remedies: tuple[Entry, ...]
    """Each remedy with what it rests on, by name; of two of one name the first counts."""
    judgements: Judgements
    """Chooses among them."""
    objectives: Mapping[str, tuple[str, ...]]
    """Service -> names of its objectives."""
    flapping: RemedyFlapping

    def related(self, service: str) -> list[str]:
        """The services that this one depends on or that depend on it, in its own domain, by name."""
        known = self.services.get(service)
        if known is None:
            return []
        others = self.reaches[service] | self.reached_by.get(service, frozenset())
        return sorted(name for name in others if name != service and self.domain_of(name) == known.domain)

    def domain_of(self, service: str) -> str:
        """The service's domain; empty for one that the fleet does not know."""
        known = self.services.get(service)
        return known.domain if known else ""

    def depends(self, service: str, other: str) -> bool:
        """Whether `service` depends on `other`, directly or through others."""
        return other in self.reaches.get(service, frozenset())


def view_of(configuration: Configuration) -> FleetView:
    """What `configuration` says."""
    services = {service.name: service for fleet in configuration.fleets() for service in fleet.services}
    reaches = {name: _reached(name, services) for name in services}
    reached_by: dict[str, set[str]] = {}
    for name, others in reaches.items():
        for other in others:
            reached_by.setdefault(other, set()).add(name)
    objectives: dict[str, tuple[str, ...]] = {}
    for objective in configuration.objectives():
        objectives[objective.service] = (*objectives.get(objective.service, ()), objective.name)
    catalogues = configuration.catalogues()
    remedies = entries_of(catalogues)
    return FleetView(
        services=services,
        reaches=reaches,
        reached_by={name: frozenset(others) for name, others in reached_by.items()},
        remedies=remedies,
        judgements=Judgements(remedies, services),
        objectives=objectives,
        flapping=catalogues[0].flapping if catalogues else RemedyFlapping(),
    )


def _reached(name: str, services: Mapping[str, Service]) -> frozenset[str]:
    reached: set[str] = set()
    ahead = list(services[name].depends_on)
    while ahead:
        other = ahead.pop()
        if other not in reached:
            reached.add(other)
            ahead += services[other].depends_on if other in services else []
    return frozenset(reached)
