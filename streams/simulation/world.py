"""The world of a simulation: it answers the effector's part of the log, and changes telemetry as the model declares.

A step is answered at the moment of its request: `StepStarted`, `StepSucceeded`, `TargetObserved`. What it does to
telemetry begins `after_ms` later, and ends when the step is undone. Checks that a real effector makes before it acts
(signature, revocation, halt, expiry) are not part of the model: nothing is acted on here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autopilot.schemas.configuration import Fleet
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import Change as Difference
from autopilot.schemas.events.effector import PreviewCompleted, StepStarted, StepSucceeded, TargetObserved
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.planner import Action, IncidentOpened, PlanProposed
from autopilot.schemas.events.policy import PreviewRequested
from autopilot.streams.simulation.effects import Change, Effect, EffectModel, MetricEffect
from autopilot.streams.simulation.recording import Floats, Part, RecordedSeries, Recording

State = dict[str, str]

FOREVER_US = 2**62
"""Later than any sample."""


@dataclass(frozen=True)
class Active:
    """A step's effect on one metric of one service, from `since_us` on, before `until_us`."""

    step: tuple[str, str]
    since_us: int
    until_us: int
    effect: MetricEffect
    baseline: tuple[int, int]
    """The stretch before the incident, microseconds: later than the first, not later than the second."""


class World:
    """The targets' states and the effects at work. `now_us` is set by whoever turns the clock."""

    def __init__(self, model: EffectModel, recording: Recording, fleets: list[Fleet], seed: int) -> None:
        self.now_us = 0
        self._model = model
        self._recording = recording
        self._chance = np.random.Generator(np.random.PCG64(seed))
        self._targets: dict[tuple[str, str], State] = {}
        self._began_us: dict[str, int] = {}
        self._plans: dict[str, PlanProposed] = {}
        self._active: dict[tuple[str, str], list[Active]] = {}
        self._places = _places(fleets)
        declared = {(one.driver, one.target): one.state for one in model.targets}
        for (driver, target), (_, _, instances) in self._places.items():
            count = str(instances)
            plain = {"desired": count, "running": count, "max": count}
            self._targets[driver, target] = dict(declared.get((driver, target), plain))

    def observed(self) -> Iterator[Draft]:
        """What every target is like now, as an effector says at its start."""
        for key in sorted(self._targets):
            domain, service, _ = self._places[key]
            yield Draft(self._observation(key), domain, service)

    # -- the effector's part -----------------------------------------------------------------------------------------

    def respond(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        """The answer to an event of the log."""
        payload = recorded.payload
        if isinstance(payload, IncidentOpened):
            self._began_us[payload.incident_id] = payload.started_at_us
        elif isinstance(payload, PlanProposed):
            self._plans[payload.plan_id] = payload
        elif isinstance(payload, PreviewRequested):
            yield Draft(self._preview(payload), *_address(recorded))
        elif isinstance(payload, StepRequested):
            yield from self._step(payload, recorded)

    def _preview(self, asked: PreviewRequested) -> PreviewCompleted:
        plan = self._plans.get(asked.plan_id)
        changes = []
        for step in plan.steps if plan is not None else ():
            before = self._targets.get((step.action.driver, step.action.target), {})
            after = self._after(step.action, before, "")
            changes += [
                Difference(step_id=step.step_id, field=name, before=before.get(name, ""), after=after[name])
                for name in sorted(after)
                if after[name] != before.get(name)
            ]
        return PreviewCompleted(
            plan_id=asked.plan_id, incident_id=asked.incident_id,
            plan_hash=plan.plan_hash if plan is not None else "", ok=plan is not None, changes=changes,
            reason="" if plan is not None else "no such plan",
        )  # fmt: skip

    def _step(self, asked: StepRequested, recorded: Recorded[Payload]) -> Iterator[Draft]:
        at, action, service = _address(recorded), asked.action, recorded.envelope.service
        key = (action.driver, action.target)
        before = dict(self._targets.get(key, {}))
        effect = self._model.effect_of(action.driver, action.verb, service)
        common = asked.model_dump(
            include={"execution_id", "plan_id", "incident_id", "step_id", "phase", "attempt"}
        )  # fmt: skip
        yield Draft(
            StepStarted(
                **common, decision_id=asked.decision_id, idempotency_key=asked.idempotency_key,
                crash_class="convergent" if effect is None else effect.crash_class, before=before,
            ),
            *at,
        )  # fmt: skip
        after = self._targets[key] = self._after(action, before, service)
        self._take_effect(asked, effect, service)
        yield Draft(StepSucceeded(**common, changed=after != before, after=after), *at)
        yield Draft(self._observation(key), *at)

    def _after(self, action: Action, before: State, service: str) -> State:
        effect = self._model.effect_of(action.driver, action.verb, service)
        if effect is None:
            return dict(before)
        known = {**before, **action.parameters}
        return {**before, **{name: _filled(text, known) for name, text in effect.state.items()}}

    def _take_effect(self, asked: StepRequested, effect: Effect | None, service: str) -> None:
        """What a step of the plan does begins; what an undone one did ends at once."""
        step = (asked.execution_id, asked.step_id)
        if asked.phase != "forward":
            for key in self._active:
                self._active[key] = [one for one in self._active[key] if one.step != step]
            return
        if effect is None:
            return
        began = self._began_us.get(asked.incident_id, self.now_us)
        baseline = (began - effect.baseline_ms * 1000, began - 1)
        since_us = self.now_us + effect.after_ms * 1000
        until_us = FOREVER_US if effect.lasts_ms is None else since_us + effect.lasts_ms * 1000
        for each in effect.metrics:
            active = Active(step, since_us, until_us, each, baseline)
            self._active.setdefault((each.service or service, each.metric), []).append(active)

    def _observation(self, key: tuple[str, str]) -> TargetObserved:
        return TargetObserved(driver=key[0], target=key[1], state=dict(sorted(self._targets[key].items())), revision="")

    # -- telemetry ---------------------------------------------------------------------------------------------------

    def values(self, part: Part) -> Floats:
        """The samples' values as the effects at work have made them; the last one that began counts."""
        series, first, last = part
        values = series.values[first:last]
        for active in self._active.get((series.id.service, series.id.metric), ()):
            times = series.timestamps_us[first:last]
            touched = (times >= active.since_us) & (times < active.until_us)
            if touched.any():
                values = np.where(touched, self._changed(active, series, first, last), values)
        return values

    def _changed(self, active: Active, series: RecordedSeries, first: int, last: int) -> Floats:
        recorded = series.values[first:last]
        if active.effect.change is Change.SCALE:
            return recorded * active.effect.value
        if active.effect.change is Change.SET:
            return np.full(last - first, active.effect.value)
        start, end = series.between(*active.baseline)
        usual = series.values[start:end]
        usual = usual[np.isfinite(usual)]
        if not len(usual):
            return recorded
        if active.effect.change is Change.RESTORE:
            return np.full(last - first, np.median(usual))
        return usual[self._chance.integers(0, len(usual), last - first)]


def _places(fleets: list[Fleet]) -> dict[tuple[str, str], tuple[str, str, int]]:
    """Domain, service and instances of every target."""
    return {
        (target.driver, target.target): (service.domain, service.name, service.instances)
        for fleet in fleets
        for service in fleet.services
        for target in service.targets
    }


def _address(recorded: Recorded[Payload]) -> tuple[str, str, str]:
    envelope = recorded.envelope
    return envelope.domain, envelope.service, envelope.correlation_id


def _filled(text: str, known: State) -> str:
    """`{name}` stands for a parameter or a key of the state before."""
    return known.get(text[1:-1], "") if text.startswith("{") and text.endswith("}") else text
