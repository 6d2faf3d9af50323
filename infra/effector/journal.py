"""The effector's work on one partition of the log: what is to be begun, what is to be recorded, in which order.

For each attempt: look at the target; with the partition read to its end ask the gate; record `StepStarted`; act once
it is read back and counts; record the result. What the log says is begun and this process did not begin is taken up as
its crash class allows. While nothing that is recorded would count, nothing is looked at, begun or said; what has come
of acts that were under way is kept. Nothing here knows Kafka: the worker reads, commits and calls. A crash is the loss
of this object, and a new one on the same log goes on.

    journal.step(records)        fold what was read, and act where `StepStarted` is among it
    journal.look()               begin what needs no record: observations and previews
    journal.at_end()             only when the partition was read to its end: acts that may begin now
    journal.committed(begun)     those are in the log
    journal.results()            what is to be recorded of finished work
    journal.written(results)     those are in the log
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autopilot.agents.executor.states import COMPENSATION, FORWARD, idempotency_key
from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.gate_state import Attempt, GateState, Told, step_of
from autopilot.infra.effector.jobs import Jobs
from autopilot.infra.effector.port import Applied, Observation
from autopilot.infra.effector.work import (
    Drivers,
    Prepared,
    Undone,
    carry_out,
    prepare,
    preview,
    step_failed,
    step_indeterminate,
    step_succeeded,
    take_up,
)
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Event, Recorded
from autopilot.schemas.events.effector import FailureClass, StepFailed, StepStarted, TargetObserved
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.planner import REVERT
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing, Record
from autopilot.streams.trust import is_heard

_STARTED_FIELDS = {
    "execution_id",
    "plan_id",
    "incident_id",
    "decision_id",
    "step_id",
    "phase",
    "attempt",
    "idempotency_key",
}


def _look(name: str) -> str:
    return f"look/{name}"


def _act(name: str) -> str:
    return f"act/{name}"


@dataclass(frozen=True, slots=True)
class Begun:
    """An act that may begin once `outgoing` is on record; `prepared` is None for an answer without an act."""

    name: str
    outgoing: tuple[Outgoing, ...]
    prepared: Prepared | None = None


class PartitionJournal:
    """The effector on one partition."""

    def __init__(
        self,
        gate: Gate,
        fold: PartitionFold[GateState],
        mint: Mint,
        drivers: Drivers,
        jobs: Jobs,
        now_us: Callable[[], int],
    ) -> None:
        self.fold = fold
        self._gate = gate
        self._mint = mint
        self._drivers = drivers
        self._jobs = jobs
        self._now_us = now_us
        self._recorded: dict[str, bytes] = {}
        """What this journal has recorded last of attempts, acts and previews, until these are over."""
        self._begun: dict[str, Prepared] = {}
        """Attempts whose `StepStarted` is recorded and not yet read back: it may come after what takes its force."""

    # -- reading -----------------------------------------------------------------------------------------------------

    def step(self, records: Sequence[Record]) -> list[Outgoing]:
        """Folds what was read, and gives what is to be written because of it: dead letters."""
        waiting, signers = {*self._state.open, *self._state.previews}, self.fold.signers
        outgoing = self.fold.step(records)
        for name in waiting - {*self._state.open, *self._state.previews}:
            self._jobs.forget(_act(name))
            self._forget(name)
        if self.unheard or self.fold.signers is not signers:
            self._take_back(records)
        for name in [name for name in self._begun if self._state.open[name].started is not None]:
            self._carry_out(name, self._begun.pop(name))
        return outgoing

    def close(self) -> None:
        """Forgets what was only looked at. Acts that are under way are left to whoever takes the partition up."""
        for name in {*self._state.open, *self._state.previews}:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._jobs.forget(_look(name))
        self._begun.pop(name, None)
        self._recorded.pop(name, None)
        self._recorded.pop(_act(name), None)

    def _take_back(self, records: Sequence[Record]) -> None:
        """What was read back while a key lost its force may not have counted: where it did not, it is said again."""
        read = {record.value for record in records} if self._recorded else set()
        for name in [name for name, value in self._recorded.items() if value in read]:
            del self._recorded[name]
            if name in self._begun and self._state.open[name].started is None:
                del self._begun[name]

    # -- beginning ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Begins the observations before acts, and the previews that were asked for."""
        if self.unheard:
            self._overlook()
            return
        for name, attempt in self._next():
            if attempt.started is None and self._refusal(attempt) is None:
                undone = self._undone(attempt.request)
                self._jobs.submit(_look(name), prepare, self._drivers, attempt.request, undone)
        for plan_id, asked in self._state.previews.items():
            known = self._state.plans.get(plan_id)
            self._jobs.submit(_look(plan_id), preview, self._drivers, asked.request, known.plan if known else None)

    def _overlook(self) -> None:
        """What was seen before acts and for previews will be old when it may be used."""
        for name in {*self._state.open, *self._state.previews}:
            self._jobs.forget(_look(name))

    @property
    def unheard(self) -> str | None:
        """Why nothing that is recorded here would count; without a record nothing must be done. None when it would."""
        key = self._mint.key
        heard = is_heard(self._mint.producer, key.public_key if key else None, self.fold.signers)
        return None if heard else "the effector's own key is not one that the signer list in force takes from it"

    @property
    def acting(self) -> bool:
        """Whether an act of this partition is under way, or its result is not recorded yet."""
        begun = (name for name in self._state.open if name in self._begun or self._jobs.has(_act(name)))
        return any(_act(name) not in self._recorded for name in begun)

    @property
    def wants_end(self) -> bool:
        """Whether anything waits for the partition to be read to its end."""
        return any(self._ready(name, attempt) for name, attempt in self._next())

    def at_end(self) -> list[Begun]:
        """What may begin now, or is refused, once recorded. Takes up what was begun before a crash."""
        begun = []
        for name, attempt in self._next():
            if not self._ready(name, attempt):
                continue
            if attempt.started is not None:
                self._take_up(name, attempt, attempt.started)
            else:
                begun.append(self._begin(name, attempt))
        return begun

    def committed(self, begun: Sequence[Begun]) -> None:
        """What `at_end` gave is in the log: the acts begin when it is read back."""
        for one in begun:
            self._recorded[one.name] = one.outgoing[-1].value
            self._jobs.forget(_look(one.name))
            if one.prepared is not None:
                self._begun[one.name] = one.prepared

    def _carry_out(self, name: str, prepared: Prepared) -> None:
        request = self._state.open[name].request
        prepared = replace(prepared, observation=self._before(request, prepared.observation))
        self._jobs.submit(_act(name), carry_out, self._drivers, request, prepared)

    # -- recording ---------------------------------------------------------------------------------------------------

    def results(self) -> list[tuple[str, Outgoing]]:
        """What came of finished acts and previews and is not recorded yet, with a name; for `written`."""
        found: list[tuple[str, Outgoing]] = []
        if self.unheard:
            return found
        for name, attempt in self._state.open.items():
            if attempt.began is None or attempt.started is None or _act(name) in self._recorded:
                continue
            result = self._jobs.result(_act(name))
            if result is not None:
                found.append((_act(name), self._minted(result, attempt.began, attempt.started, 0)))
        for plan_id, asked in self._state.previews.items():
            result = self._jobs.result(_look(plan_id))
            if result is not None and plan_id not in self._recorded:
                found.append((plan_id, self._minted(result, asked.asked, asked.request, 0)))
        return found

    def written(self, results: Sequence[tuple[str, Outgoing]]) -> None:
        """Those results are in the log."""
        self._recorded.update((name, outgoing.value) for name, outgoing in results)

    # -- one attempt -------------------------------------------------------------------------------------------------

    def _begin(self, name: str, attempt: Attempt) -> Begun:
        request = attempt.request
        refusal = self._refusal(attempt)
        if refusal is not None:
            return self._answer(name, attempt, step_failed(request, FailureClass.REFUSED, refusal))
        prepared: Prepared | StepFailed = self._jobs.result(_look(name))
        if self._is_done(request):
            seen = prepared.observation.state if isinstance(prepared, Prepared) else {}
            return self._answer(name, attempt, step_succeeded(request, Applied(changed=False, after=seen)))
        if request.idempotency_key in self._state.unknown:
            reason = "an earlier attempt of the step cannot be known, so it is not repeated"
            return self._answer(name, attempt, step_indeterminate(request, reason))
        if isinstance(prepared, StepFailed):
            return self._answer(name, attempt, prepared)
        moved = self._moved(request, prepared.observation)
        if moved:
            return self._stale(name, attempt, prepared.observation, moved)
        started = StepStarted(
            **request.model_dump(include=_STARTED_FIELDS),
            crash_class=prepared.crash_class,
            before=dict(prepared.observation.state),
        )
        return Begun(name, (self._minted(started, attempt.asked, request, 0),), prepared)

    def _is_done(self, request: StepRequested) -> bool:
        """Whether nothing is left to be done, whatever a look at the target told, even that it cannot be looked at."""
        never_begun = request.phase == COMPENSATION and step_of(request) not in self._state.begun
        return never_begun or request.idempotency_key in self._state.succeeded

    def _moved(self, request: StepRequested, observation: Observation) -> str:
        """How the target differs from what the step was planned on; empty when it does not, or we began to move it."""
        known = self._state.plans.get(request.plan_id)
        if known is None or request.phase != FORWARD or request.attempt > 1:
            return ""
        expected = known.step(request.step_id).expected
        found = ((key, value, observation.state.get(key, "")) for key, value in expected.items())
        return ", ".join(f"`{key}` is `{now}`, planned on `{value}`" for key, value, now in found if now != value)

    def _stale(self, name: str, attempt: Attempt, observation: Observation, moved: str) -> Begun:
        """The planner is told what is there now before it is told that its plan was stale."""
        action = attempt.request.action
        seen = TargetObserved(
            driver=action.driver, target=action.target, state=dict(observation.state), revision=observation.revision
        )
        failed = step_failed(attempt.request, FailureClass.STALE, moved)
        told = (self._minted(seen, attempt.asked, attempt.request, 2),)
        return Begun(name, (*told, *self._answer(name, attempt, failed).outgoing))

    def _answer(self, name: str, attempt: Attempt, result: Payload) -> Begun:
        return Begun(name, (self._minted(result, attempt.asked, attempt.request, 1),))

    def _take_up(self, name: str, attempt: Attempt, started: StepStarted) -> None:
        refusal = self._gate.refusal(self._state, attempt.request, self._present_us, again=True)
        undone = self._undone(attempt.request)
        before = self._before(attempt.request, Observation(started.before)).state
        started = started.model_copy(update={"before": dict(before)})
        self._jobs.submit(_act(name), take_up, self._drivers, attempt.request, started, refusal, undone)

    def _before(self, request: StepRequested, observation: Observation) -> Observation:
        """The target before the first try: what a try before this one has done in part is completed, not repeated."""
        first = self._state.befores.get(request.idempotency_key)
        return observation if first is None else Observation(first.state)

    def _undone(self, request: StepRequested) -> Undone | None:
        """What a revert puts back; None for any other step, and for one of which that is not known."""
        known = self._state.plans.get(request.plan_id)
        steps = known.plan.steps if known is not None and request.action.verb == REVERT else []
        step = next((step for step in steps if step.step_id == request.step_id), None)
        if step is None:
            return None
        before = self._state.befores.get(idempotency_key(request.execution_id, request.step_id, FORWARD))
        if before is None and step_of(request) in self._state.begun:
            return None
        return Undone(step.action, before.state if before else {})

    # -- which attempts ----------------------------------------------------------------------------------------------

    def _next(self) -> Iterator[tuple[str, Attempt]]:
        """For each target the attempt whose turn it is: one that is under way, else the one asked for first."""
        busy: set[tuple[str, str]] = set()
        underway_first = sorted(self._state.open.items(), key=lambda item: item[1].started is None)
        for name, attempt in underway_first:
            action = attempt.request.action
            if (action.driver, action.target) not in busy:
                busy.add((action.driver, action.target))
                yield name, attempt

    def _ready(self, name: str, attempt: Attempt) -> bool:
        """Whether the attempt waits for nothing but the end of the partition."""
        if self.unheard or name in self._recorded or self._jobs.has(_act(name)):
            return False
        if attempt.started is not None:
            return True
        return self._jobs.result(_look(name)) is not None or self._refusal(attempt) is not None

    def _refusal(self, attempt: Attempt) -> str | None:
        return self._gate.refusal(self._state, attempt.request, self._present_us)

    # -- small things ------------------------------------------------------------------------------------------------

    def _minted(self, payload: Payload, told: Told, cause: Payload, ordinal: int) -> Outgoing:
        envelope = told.envelope
        draft = Draft(payload, envelope.domain, envelope.service, envelope.correlation_id)
        runtime = self.fold.runtime
        recorded = Recorded(told.position, Event(envelope, cause))
        return self._mint.of_cause(draft, recorded, ordinal, runtime.placements, runtime.now_us)

    @property
    def _state(self) -> GateState:
        return self.fold.state

    @property
    def _present_us(self) -> int:
        return max(self._now_us(), self._state.now_us)
