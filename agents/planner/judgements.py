"""Judgements that are kept: what was chosen for a service stands as long as nothing that it rests on is another.

It rests on the signals, on the states of the service's targets, on what is remembered of each remedy and, where the
catalogue mentions one, on a variable that moves by itself. These are compared with what they were when the service was
judged last, and only where they differ is every remedy judged anew. What is kept changes no choice.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from autopilot.agents.planner.case import Case, attempt_key
from autopilot.agents.planner.catalogue import MOST_KEPT, Entry
from autopilot.agents.planner.remedies import Choice, choose
from autopilot.agents.planner.variables import OF_A_TARGET, VARIABLES, Target, about_signal, about_target, target_key
from autopilot.policies.cel_engine import names_in
from autopilot.schemas.configuration import Service

_MOVING = frozenset(variable.name for variable in VARIABLES if variable.moves)


class _Kept(NamedTuple):
    """What was chosen, from what, and when."""

    inputs: tuple[object, ...]
    at_us: int
    choice: Choice

    def holds(self, now_us: int) -> bool:
        """Whether time alone has changed nothing since: no cooldown has ended, and time did not go back."""
        return self.at_us <= now_us and not 0 < self.choice.retry_at_us <= now_us


class AttemptKeys(dict[str, tuple[str, ...]]):
    """The keys under which uses of the remedies on a service, or in a context, are remembered, in their order."""

    def __init__(self, remedies: Sequence[Entry]) -> None:
        super().__init__()
        self._remedies = remedies

    def __missing__(self, place: str) -> tuple[str, ...]:
        if len(self) >= MOST_KEPT:
            self.clear()
        keys = self[place] = tuple(attempt_key(entry.name, place) for entry in self._remedies)
        return keys


class Judgements:
    """Chooses among the remedies of one configuration, and keeps the last choice for each service."""

    def __init__(self, remedies: Sequence[Entry], services: Mapping[str, Service]) -> None:
        self._remedies = remedies
        self._keys = AttemptKeys(remedies)
        self._targets = {
            name: [target_key(ref.driver, ref.target) for ref in one.targets] for name, one in services.items()
        }
        moving = _MOVING & {name for entry in remedies for text in entry.means.texts for name in names_in(text)}
        self._of_signals = sorted(moving - OF_A_TARGET)
        self._of_targets = sorted(moving & OF_A_TARGET)
        self._kept: dict[str, _Kept] = {}

    def choice(self, case: Case) -> Choice:
        """What `choose` gives for the case."""
        name = case.service.name
        inputs = self._inputs(case)
        kept = self._kept.get(name)
        if kept is not None and kept.inputs == inputs and kept.holds(case.now_us):
            return kept.choice
        choice = choose(case, self._remedies, self._keys)
        self._kept[name] = _Kept(inputs, case.now_us, choice)
        return choice

    def _inputs(self, case: Case) -> tuple[object, ...]:
        """All that a choice for the service rests on besides its configuration and the time."""
        incident, signals = case.incident, case.signals
        on_service = self._keys[case.service.name]
        in_contexts = [key for signal in signals for key in self._keys[case.context(signal)]]
        targets = [case.targets.get(key) for key in self._targets[case.service.name]]
        ended = [*map(case.ended_at_us.get, in_contexts)] if case.ended_at_us else []
        return (
            [(signal.kind, signal.severity, signal.slo, signal.sli) for signal in signals],
            [None if target is None else target.state for target in targets],
            [*map(case.tallies.get, in_contexts)] if case.tallies else [],
            [*map(case.autonomies.get, on_service)] if case.autonomies else [],
            [*map(incident.tried.get, on_service)] if incident.tried else [],
            [*map(case.used_at_us.get, on_service)] if case.used_at_us else [],
            ended,
            incident.opened_at_us if any(ended) else 0,
            [*self._moved(case, targets)],
        )

    def _moved(self, case: Case, targets: Sequence[Target | None]) -> Iterator[object]:
        """The values of the variables that move by themselves, as far as the catalogue mentions them."""
        if self._of_signals:
            for signal in case.signals:
                about = about_signal(case.incident, signal, case.service, case.now_us)
                yield [about[name] for name in self._of_signals]
        if self._of_targets:
            for target in targets:
                of_target = about_target(target, case.now_us)
                yield [of_target[name] for name in self._of_targets]
