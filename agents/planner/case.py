"""What a remedy is sought for: an incident's suspect with its signals, its targets, and what was done before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autopilot.agents.planner.confidence import Tally
from autopilot.agents.planner.incident import Incident, Signal
from autopilot.agents.planner.variables import Target, about_signal, about_target, target_key
from autopilot.policies.expression import Value
from autopilot.schemas.configuration import Service

Place = tuple[str, str]
"""Driver and role of a target."""
Values = Mapping[str, Value]


class DoesNotApplyError(Exception):
    """A remedy does not apply: why, and the time after which that may be otherwise; 0 when time changes nothing."""

    def __init__(self, why: str, until_us: int = 0) -> None:
        super().__init__(why)
        self.until_us = until_us


@dataclass(frozen=True)
class Level:
    """How far a remedy may go on a service, as it was last decided, bound to its definition."""

    autonomy: str
    remedy_digest: str


@dataclass
class Case:
    """One search for a remedy."""

    incident: Incident
    signals: Sequence[Signal]
    """The suspect's raised signals, most urgent first."""
    service: Service
    targets: Mapping[str, Target]
    tallies: Mapping[str, Tally]
    used_at_us: Mapping[str, int]
    ended_at_us: Mapping[str, int]
    """`remedy@context` -> when an incident ended in which it was verified."""
    autonomies: Mapping[str, Level]
    now_us: int
    declared: dict[int, Values] = field(default_factory=dict)
    """What is known of each catalogue's variables, by the identity of the catalogue: filled as it is asked for."""
    _found: dict[Place, Target | str] = field(default_factory=dict)
    _values: dict[tuple[str, str], Values] = field(default_factory=dict)
    _about: dict[str, Values] = field(default_factory=dict)

    def target(self, place: Place) -> Target:
        """The first target of the driver and the role whose state is known. Raises `DoesNotApplyError`."""
        found = self.found(place)
        if isinstance(found, str):
            raise DoesNotApplyError(found)
        return found

    def found(self, place: Place) -> Target | str:
        """The first target of the driver and the role whose state is known, or why there is none."""
        found = self._found.get(place)
        if found is None:
            found = self._found[place] = self._sought(*place)
        return found

    def _sought(self, driver: str, role: str) -> Target | str:
        """The target, or why there is none."""
        refs = self.service.targets
        declared = [ref.target for ref in refs if ref.driver == driver and (not role or ref.role == role)]
        if not declared:
            of_role = f" and role `{role}`" if role else ""
            return f"`{self.service.name}` has no target of driver `{driver}`{of_role}"
        for target in declared:
            known = self.targets.get(target_key(driver, target))
            if known is not None:
                return known
        return f"the state of target `{target_key(driver, declared[0])}` is not known"

    def finds_all(self, places: Iterable[Place]) -> bool:
        """Whether there is a target whose state is known at each of the places."""
        return not any(isinstance(self.found(place), str) for place in places)

    def state(self, place: Place) -> Mapping[str, str]:
        """The state of that target; empty when there is none or it is not known."""
        found = self.found(place) if place[0] else ""
        return {} if isinstance(found, str) else found.state

    def is_at(self, target: Target, place: Place) -> bool:
        """Whether that is the target of the driver and the role."""
        found = self.found(place)
        return not isinstance(found, str) and found.key == target.key

    def values(self, signal: Signal, target: Target | None) -> Values:
        """The planner's variables for one signal and one target."""
        key = (signal.signal_id, target.key if target else "")
        known = self._values.get(key)
        if known is None:
            known = self._values[key] = {**self._signal(signal), **about_target(target, self.now_us)}
        return known

    def _signal(self, signal: Signal) -> Values:
        known = self._about.get(signal.signal_id)
        if known is None:
            about = about_signal(self.incident, signal, self.service, self.now_us)
            known = self._about[signal.signal_id] = about
        return known

    def context(self, signal: Signal) -> str:
        """What outcomes are counted for."""
        return f"{self.service.name}/{signal.sli or signal.kind}"


def attempt_key(remedy: str, service: str) -> str:
    """The key under which a remedy's use on a service, or in a context, is remembered."""
    return f"{remedy}@{service}"
