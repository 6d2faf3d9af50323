"""What a remedy is sought for: an incident's suspect with its signals, its targets, and what was done before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autopilot.agents.planner.confidence import Tally
from autopilot.agents.planner.incident import Incident, Signal
from autopilot.agents.planner.variables import Target, about_signal, about_target, target_key
from autopilot.policies.expression import Value
from autopilot.schemas.configuration import Remedy, Service

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


@dataclass(frozen=True)
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
    _found: dict[tuple[str, str], Target | str] = field(default_factory=dict)
    _values: dict[tuple[str, str], Values] = field(default_factory=dict)
    _about: dict[str, Values] = field(default_factory=dict)

    def target(self, driver: str, role: str) -> Target:
        """The first target of the driver and the role whose state is known. Raises `DoesNotApplyError`."""
        found = self.found((driver, role))
        if isinstance(found, str):
            raise DoesNotApplyError(found)
        return found

    def found(self, place: tuple[str, str]) -> Target | str:
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

    def state(self, driver: str, role: str) -> Mapping[str, str]:
        """The state of that target; empty when there is none or it is not known."""
        found = self.found((driver, role)) if driver else ""
        return {} if isinstance(found, str) else found.state

    def is_at(self, target: Target, driver: str, role: str) -> bool:
        """Whether that is the target of the driver and the role."""
        found = self.found((driver, role))
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


def answered(remedy: Remedy, signals: Sequence[Signal]) -> Signal:
    """The most urgent signal that the remedy answers. Raises `DoesNotApplyError`."""
    for signal in signals:
        if signal.kind in remedy.signal_kinds and (not remedy.slis or signal.sli in remedy.slis):
            return signal
    kinds = ", ".join(remedy.signal_kinds)
    slis = ", ".join(remedy.slis) or "anything"
    raise DoesNotApplyError(f"it answers {kinds} of {slis}, and no such signal is raised")


def check_history(remedy: Remedy, case: Case, context: str, key: str, in_context: str) -> None:
    """Refuses what was tried in this incident, is cooling down, or did not last. Raises `DoesNotApplyError`.

    `key` and `in_context` are the keys of the remedy's use on the service and in the context.
    """
    if key in case.incident.tried:
        raise DoesNotApplyError(f"tried in this incident: {case.incident.tried[key]}")
    ended_at_us = case.ended_at_us.get(in_context)
    if ended_at_us is not None and case.incident.opened_at_us < ended_at_us + remedy.recurrence_us:
        after_s = max(0, case.incident.opened_at_us - ended_at_us) // 1_000_000
        raise DoesNotApplyError(f"it did not last: what it ended on `{context}` came back after {after_s} s")
    used_at_us = case.used_at_us.get(key)
    if used_at_us is not None and case.now_us < used_at_us + remedy.cooldown_ms * 1000:
        until_us = used_at_us + remedy.cooldown_ms * 1000
        raise DoesNotApplyError(f"used on `{case.service.name}` before, cooling down until {until_us} us", until_us)
