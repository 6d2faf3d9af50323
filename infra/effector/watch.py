"""What the effector says of targets unasked: the state of every target of the fleet, when it has changed."""

import time
from collections.abc import Iterator, Mapping

import structlog

from autopilot.infra.effector.jobs import Jobs
from autopilot.infra.effector.port import Driver, Observation, TargetError
from autopilot.infra.effector.work import Drivers
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.partition import partition_of

OBSERVE_EVERY_S = 3.0

Watched = tuple[str, str, str, str]
"""Domain, service, driver and target."""


class TargetWatch:
    """The targets of one partition's domains."""

    def __init__(self, drivers: Drivers, jobs: Jobs, *, partition: int, partitions: int, every_s: float) -> None:
        self._drivers = drivers
        self._jobs = jobs
        self._partition = partition
        self._partitions = partitions
        self._every_s = every_s
        self._configuration = Configuration()
        self._watched: list[Watched] = []
        self._said: dict[Watched, Observation] = {}
        self._due_s: dict[Watched, float] = {}
        self._log = structlog.get_logger("autopilot.effector").bind(partition=partition)

    def turn(self, configuration: Configuration, placements: Mapping[str, int], *, heard: bool) -> Iterator[Draft]:
        """Looks at what is due, and says what has changed.

        While what is said would not count (not `heard`) nothing is; then every target is looked at and told anew, since
        what was said last may have come too late to count.
        """
        if not heard:
            self.close()
            self._said.clear()
            self._due_s.clear()
            return
        if configuration is not self._configuration:
            self._configuration = configuration
            self._watched = list(self._targets(configuration, placements))
        now_s = time.monotonic()
        for watched in self._watched:
            name = self._name(watched)
            if self._jobs.has(name):
                found = self._jobs.result(name)
                if found is not None:
                    self._jobs.forget(name)
                    self._due_s[watched] = now_s + self._every_s
                    if isinstance(found, Observation) and found != self._said.get(watched):
                        self._said[watched] = found
                        yield _draft(watched, found)
            elif now_s >= self._due_s.get(watched, 0.0):
                self._jobs.submit(name, self._look, self._drivers[watched[2]], watched[3])

    def close(self) -> None:
        """Forgets what is being looked at."""
        for watched in self._watched:
            self._jobs.forget(self._name(watched))

    def _look(self, driver: Driver, target: str) -> Observation | str:
        try:
            return driver.observe(target)
        except TargetError as error:
            self._log.warning("target cannot be observed", target=target, error=str(error))
        except Exception as error:
            self._log.error("driver failed", target=target, error=f"{type(error).__name__}: {error}")
        return "not observed"

    def _targets(self, configuration: Configuration, placements: Mapping[str, int]) -> Iterator[Watched]:
        for fleet in configuration.fleets():
            for service in fleet.services:
                if partition_of(service.domain, self._partitions, placements) != self._partition:
                    continue
                for target in service.targets:
                    if target.driver in self._drivers:
                        yield service.domain, service.name, target.driver, target.target

    def _name(self, watched: Watched) -> str:
        return "watch/" + "/".join((str(self._partition), *watched))


def _draft(watched: Watched, found: Observation) -> Draft:
    domain, service, driver, target = watched
    said = TargetObserved(driver=driver, target=target, state=dict(found.state), revision=found.revision)
    return Draft(said, domain, service)
