"""How an execution moves on, and how it turns back: what follows, whatever it was that happened to it.

Forward steps are taken in order, past a gate only once its stage was verified, and a held one only once it has an
authorisation of its own; compensations in reverse, and those neither a halt, a revocation, a limit nor an open breaker
holds up: a rollback must be possible.
"""

from dataclasses import replace
from typing import Any

from autopilot.agents.executor.bounds import (
    COMPENSATION_WINDOW_US,
    GATE_MARGIN_US,
    GRACE_US,
    HELD_ANSWER_US,
    UNTOUCHED,
)
from autopilot.agents.executor.breaker import (
    breaker_of,
    lets_through,
    note_failure,
    note_request,
    note_untried,
)
from autopilot.agents.executor.states import (
    COMPENSATION,
    EXECUTION,
    STEP,
    Execution,
    ExecutionState,
    ExecutionTrigger,
    ExecutorState,
    KnownPlan,
    StepState,
    StepTrigger,
    action_of,
)
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    RollbackStarted,
    StageReached,
    StepHeld,
)
from autopilot.schemas.events.planner import Action, StageGate, Step


class Course:
    """One execution in hand: the state that it is part of, its plan and the present."""

    def __init__(self, state: ExecutorState, execution: Execution, now_us: int) -> None:
        self._state = state
        self._now_us = now_us
        self._known: KnownPlan = state.plans[execution.plan_id]
        self._said: list[Draft] = []
        self.execution = execution

    # -- moving on ---------------------------------------------------------------------------------------------------

    def _proceed(self) -> None:
        """Asks for the present step if it is due and allowed, or turns back."""
        execution = self.execution
        if execution.step is not StepState.WAITING:
            return
        if execution.state is ExecutionState.UNDOING:
            if self._now_us >= execution.due_us:
                begun_by_us = self._now_us + COMPENSATION_WINDOW_US
                self._request(begun_by_us, deadline_us=begun_by_us)
            return
        if execution.pending[0] in execution.held_steps and not execution.reason:
            self._hold(self._step())
            return
        obstacle = execution.reason or self._obstacle()
        if obstacle:
            self._turn_back(obstacle)
        elif self._now_us >= execution.due_us and self._is_free():
            self._state.stepped(self._known.domain, self._now_us)
            self._request(execution.not_after_us, deadline_us=self._deadline_us(self._step()))

    def _is_free(self) -> bool:
        """Whether the domain lets a forward step begin now: it is not halted, and its rate allows one more."""
        domain = self._known.domain
        return not self._state.authority.halted(domain) and self._state.may_step(domain, self._now_us)

    def _obstacle(self) -> str:
        """Why no further forward step may be asked for; empty when one may."""
        if self._now_us > self.execution.not_after_us:
            return "the authorisation's time is over"
        name = self._breaker()
        if self._now_us >= self.execution.due_us and not lets_through(self._state.breakers, name, self._now_us):
            return f"the breaker `{name}` is open"
        return ""

    def _request(self, not_after_us: int, *, deadline_us: int) -> None:
        execution, step = self.execution, self._step()
        if execution.phase != COMPENSATION:
            note_request(self._state.breakers, self._breaker())
        self._move(StepTrigger.REQUEST, attempt=execution.attempt + 1, halted=False, deadline_us=deadline_us)
        self._say(self.execution.request(step, self._action(), not_after_us))

    def _next(self, done: Step, *, settle_us: int) -> None:
        """Goes on to the step after `done`, or ends the phase."""
        pending = self.execution.pending[1:]
        if self.execution.state is ExecutionState.UNDOING:
            left = tuple(step_id for step_id in self.execution.touched if step_id != done.step_id)
            self._put(touched=left)
        if pending:
            self._put(pending=pending, step=STEP.initial, attempt=0, failures=0, due_us=self._now_us + settle_us)
            self._proceed()
            return
        self._put(pending=())
        if self.execution.state is ExecutionState.UNDOING:
            self._all_undone()
        elif self.execution.reason:
            self._turn_back(self.execution.reason)
        else:
            self._end(ExecutionTrigger.STEPS_DONE)
            self._say(ExecutionCompleted(**self.execution.names))

    # -- held steps --------------------------------------------------------------------------------------------------

    def _hold(self, step: Step) -> None:
        """Stops before a step until it has an authorisation of its own. Its time to settle passes meanwhile."""
        self._move(StepTrigger.HOLD, deadline_us=self._now_us + HELD_ANSWER_US)
        names, decision_id = self.execution.names, self.execution.decision_id
        self._say(StepHeld(**names, decision_id=decision_id, step_id=step.step_id))

    def _hold_on(self) -> None:
        """Turns back when nobody has decided in time; in a halt nobody can, so that the time begins after it."""
        if self._state.authority.halted(self._known.domain):
            self._put(deadline_us=max(self.execution.deadline_us, self._now_us + HELD_ANSWER_US))
        elif self._now_us > self.execution.deadline_us:
            self._turn_back(f"nobody decided in time whether step `{self._step().step_id}` may begin")

    # -- stages ------------------------------------------------------------------------------------------------------

    def _reach_stage(self, step: Step, gate: StageGate) -> None:
        deadline_us = self._now_us + gate.deadline_ms * 1000 + GATE_MARGIN_US
        self._move(StepTrigger.STAGE_REACHED, deadline_us=deadline_us)
        self._say(StageReached(**self.execution.names, step_id=step.step_id))

    def _leave_stage(self, reason: str) -> None:
        """Turns back from the present stage."""
        unwanted = bool(self.execution.reason)
        why = reason if unwanted else f"stage `{self._step().step_id}` was not verified: {reason}"
        self._move(StepTrigger.STAGE_NOT_VERIFIED)
        self._turn_back(why, needs_person_when_nothing_to_undo=not unwanted)

    # -- turning back ------------------------------------------------------------------------------------------------

    def _failed_for_good(self, failure: FailureClass, reason: str, *, unheard: bool) -> None:
        step = self._step()
        self._move(StepTrigger.FAILED)
        why = f"step `{step.step_id}` failed ({failure}): {reason}"
        if self.execution.state is ExecutionState.UNDOING:
            tried = None if unheard or failure in UNTOUCHED else failure
            self._give_up(f"the rollback failed: {why}", needs_person=True, failure=tried)
            return
        ended_otherwise = unheard or self.execution.reason
        self._turn_back(self.execution.reason or why, failure=None if ended_otherwise else failure)

    def _turn_back(
        self, reason: str, *, needs_person_when_nothing_to_undo: bool = False, failure: FailureClass | None = None
    ) -> None:
        """Undoes what was touched, last first; without anything that can be undone it ends here."""
        touched = [self._known.step(step_id) for step_id in self.execution.touched]
        undo = tuple(step.step_id for step in reversed(touched) if step.compensation is not None)
        if not undo:
            needs_person = needs_person_when_nothing_to_undo or self.execution.leaves_something(self._known)
            self._give_up(reason, needs_person=needs_person, failure=failure)
            return
        self._put(
            state=EXECUTION.after(self.execution.state, ExecutionTrigger.UNDO),
            pending=undo,
            step=STEP.initial,
            attempt=0,
            failures=0,
            halted=False,
            due_us=self._now_us,
            reason=reason,
            failure="" if failure is None or failure in UNTOUCHED else failure.value,
        )
        self._say(RollbackStarted(**self.execution.names, reason=reason, step_ids=list(undo)))
        self._proceed()

    def _all_undone(self) -> None:
        if self.execution.leaves_something(self._known):
            left = ", ".join(f"`{step_id}`" for step_id in self.execution.touched)
            self._give_up(f"{self.execution.reason}; nothing undoes {left}", needs_person=True)
            return
        self._end(ExecutionTrigger.ALL_UNDONE)
        self._say(
            ExecutionRolledBack(**self.execution.names, reason=self.execution.reason, failure=self.execution.failure)
        )

    def _give_up(self, reason: str, *, needs_person: bool, failure: FailureClass | None = None) -> None:
        names = self.execution.names
        if self.execution.state is ExecutionState.QUEUED:
            names["execution_id"] = ""  # it never started
        self._end(ExecutionTrigger.GIVE_UP)
        ended_by = failure.value if failure else self.execution.failure
        self._say(ExecutionFailed(**names, reason=reason, needs_person=needs_person, failure=ended_by))

    # -- breakers ----------------------------------------------------------------------------------------------------

    def _breaker(self) -> str:
        return breaker_of(self._action())

    def _count_failure(self, failure: FailureClass, reason: str, *, final: bool) -> list[Draft]:
        undoing_failed = final and self.execution.phase == COMPENSATION
        if failure in UNTOUCHED and not undoing_failed:
            return self._untried()
        event = note_failure(self._state.breakers, self._breaker(), self._now_us, reason, trips=undoing_failed)
        return [self._draft(event)] if event else []

    def _untried(self) -> list[Draft]:
        note_untried(self._state.breakers, self._breaker())
        return []

    # -- small things ------------------------------------------------------------------------------------------------

    def _step(self) -> Step:
        return self._known.step(self.execution.pending[0])

    def _action(self) -> Action:
        action = action_of(self._step(), self.execution.phase)
        if action is None:
            raise LookupError(f"step `{self._step().step_id}` has no compensation")
        return action

    def _deadline_us(self, step: Step) -> int:
        return self._now_us + step.timeout_ms * 1000 + GRACE_US

    def _touch(self, step: Step, *, partial: bool = False) -> None:
        """Notes that the step's effect is there, or may be in part: whatever a later try says, it is to be undone."""
        others = tuple(step_id for step_id in self.execution.touched if step_id != step.step_id)
        self._put(touched=(*others, step.step_id), partial=partial)

    def _move(self, trigger: StepTrigger, **changes: Any) -> None:
        self._put(step=STEP.after(self.execution.step, trigger), **changes)

    def _end(self, trigger: ExecutionTrigger) -> None:
        state = EXECUTION.after(self.execution.state, trigger)
        self._put(state=state, pending=(), ended_us=self._now_us)

    def _put(self, **changes: Any) -> None:
        self.execution = replace(self.execution, **changes)
        self._state.executions[self.execution.execution_id] = self.execution

    def _draft(self, payload: Payload) -> Draft:
        return Draft(payload, self._known.domain, self._known.service, self.execution.incident_id)

    def _say(self, payload: Payload) -> None:
        self._said.append(self._draft(payload))
