"""The course of one execution: what is asked for next, and what follows from each answer.

Every function changes the execution in `state` and gives the events that say so. Forward steps are taken in order, and
past a gate only once its stage was verified; compensations in reverse, and those neither a halt, a revocation, a limit
nor an open breaker holds up: a rollback must be possible.
"""

from dataclasses import replace
from typing import Any

from autopilot.agents.executor.bounds import (
    COMPENSATION_WINDOW_US,
    GATE_MARGIN_US,
    GRACE_US,
    RETRYABLE,
    UNTOUCHED,
    back_off_us,
)
from autopilot.agents.executor.breaker import (
    breaker_of,
    lets_through,
    note_failure,
    note_request,
    note_success,
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
    ExecutionStarted,
    RollbackStarted,
    StageReached,
)
from autopilot.schemas.events.planner import Action, StageGate, Step


class Saga:
    """One execution in hand: the state that it is part of, its plan and the present."""

    def __init__(self, state: ExecutorState, execution: Execution, now_us: int) -> None:
        self._state = state
        self._now_us = now_us
        self._known: KnownPlan = state.plans[execution.plan_id]
        self._said: list[Draft] = []
        self.execution = execution

    # -- what happens to it ------------------------------------------------------------------------------------------

    def start(self) -> list[Draft]:
        """Begins when it is its turn in the domain: the first step is asked for, unless the domain is halted."""
        if not self._state.has_room(self._known.domain):
            self._put()
            return []
        self._put(
            state=EXECUTION.after(self.execution.state, ExecutionTrigger.START),
            pending=tuple(step.step_id for step in self._known.plan.steps),
            due_us=self._now_us,
        )
        execution = self.execution
        self._say(
            ExecutionStarted(
                execution_id=execution.execution_id,
                plan_id=execution.plan_id,
                incident_id=execution.incident_id,
                decision_id=execution.decision_id,
                steps=len(execution.pending),
            )
        )
        self._proceed()
        return self._said

    def started(self) -> list[Draft]:
        """The effector began the attempt: its time runs from now."""
        if STEP.accepts(self.execution.step, StepTrigger.STARTED):
            self._move(StepTrigger.STARTED, deadline_us=self._deadline_us(self._step()))
        return self._said

    def succeeded(self) -> list[Draft]:
        """The present step is done, by whichever attempt."""
        if not STEP.accepts(self.execution.step, StepTrigger.SUCCEEDED):
            return []
        step = self._step()
        closed = note_success(self._state.breakers, self._breaker(), f"step `{step.step_id}` succeeded")
        if closed:
            self._say(closed)
        if self.execution.state is ExecutionState.UNDOING:
            self._move(StepTrigger.SUCCEEDED)
            self._next(step, settle_us=0)
            return self._said
        self._touch(step)
        if step.gate is not None and not self.execution.reason:
            self._reach_stage(step, step.gate)
        else:
            self._move(StepTrigger.SUCCEEDED)
            self._next(step, settle_us=step.settle_ms * 1000)
        return self._said

    def stage_verified(self, step_id: str) -> list[Draft]:
        """The stage is passed: the next step is taken. A verdict on another stage than the present one says nothing."""
        if self.execution.awaits_verdict_on(step_id):
            step = self._step()
            self._move(StepTrigger.STAGE_VERIFIED)
            self._next(step, settle_us=step.settle_ms * 1000)
        return self._said

    def stage_not_verified(self, step_id: str, reason: str) -> list[Draft]:
        """The stage is rejected, or nobody can say: what was done is undone; a person looks when nothing can be."""
        if self.execution.awaits_verdict_on(step_id):
            self._leave_stage(reason)
        return self._said

    def failed(self, failure: FailureClass, reason: str, *, unheard: bool = False) -> list[Draft]:
        """The present attempt failed: it is held, tried again, or the execution turns back.

        `unheard` if nobody even began it: it tells nothing of the target, and a rollback has waited long enough.
        """
        execution = self.execution
        if not STEP.accepts(execution.step, StepTrigger.FAILED):
            return []
        if failure is FailureClass.REFUSED and execution.held and STEP.accepts(execution.step, StepTrigger.HELD):
            self._untried()
            self._move(StepTrigger.HELD, due_us=self._now_us)
            self._proceed()
            return self._said
        failures = execution.failures + 1
        self._put(failures=failures)
        undoing = execution.state is ExecutionState.UNDOING
        if failure is FailureClass.TIMEOUT and not undoing:
            self._touch(self._step(), partial=True)
        wanted = not unheard if undoing else not execution.reason
        again = failure in RETRYABLE and failures < self._step().max_attempts and wanted
        if again:
            self._move(StepTrigger.RETRY, due_us=self._now_us + back_off_us(failures))
        opened = self._count_failure(failure, reason, final=not again) if not unheard else self._untried()
        if not again:
            self._failed_for_good(failure, reason, unheard=unheard)
        self._said += opened
        return self._said

    def indeterminate(self, reason: str) -> list[Draft]:
        """It cannot be known what the attempt did: nothing more is tried."""
        if not STEP.accepts(self.execution.step, StepTrigger.INDETERMINATE):
            return []
        step_id = self._step().step_id
        opened = self._count_failure(FailureClass.PERMANENT, reason, final=False)
        self._move(StepTrigger.INDETERMINATE)
        self._give_up(f"it cannot be known whether step `{step_id}` took effect: {reason}", needs_person=True)
        self._said += opened
        return self._said

    def halted(self) -> None:
        """A halt came: an attempt that is not under way yet may be refused because of it, and is then held."""
        if self.execution.state is ExecutionState.RUNNING and self.execution.step is StepState.REQUESTED:
            self._put(held=True)

    def unwanted(self, reason: str) -> list[Draft]:
        """It is to go no further: at once, or when the attempt that is under way has ended."""
        if self.execution.state is ExecutionState.QUEUED:
            self._give_up(reason, needs_person=False)
        elif self.execution.state is ExecutionState.RUNNING and not self.execution.reason:
            self._put(reason=reason)
            if self.execution.step is StepState.GATED:
                self._leave_stage(reason)
            else:
                self._proceed()
        return self._said

    def rejected(self, reason: str) -> list[Draft]:
        """The verdict is that it did not help: what it did is undone, if it can be."""
        if self.execution.state is not ExecutionState.COMPLETED:
            return []
        self._turn_back(reason, needs_person_when_nothing_to_undo=True)
        return self._said

    def accepted(self) -> list[Draft]:
        """The verdict leaves it in place."""
        if EXECUTION.accepts(self.execution.state, ExecutionTrigger.ACCEPTED):
            self._put(state=EXECUTION.after(self.execution.state, ExecutionTrigger.ACCEPTED))
        return self._said

    def time_passed(self) -> list[Draft]:
        """Asks for what is due, and takes an answer that is overdue for a timeout."""
        execution = self.execution
        if execution.state is ExecutionState.QUEUED and self._now_us > execution.not_after_us:
            self._give_up("the authorisation's time was over before its turn in the domain came", needs_person=False)
            return self._said
        if not execution.active:
            return []
        if execution.step is StepState.WAITING:
            self._proceed()
            return self._said
        if self._now_us > execution.deadline_us and execution.step is StepState.GATED:
            return self.stage_not_verified(self._step().step_id, "no verdict in time")
        if self._now_us > execution.deadline_us:
            reason = f"no answer to attempt {execution.attempt} in time"
            return self.failed(FailureClass.TIMEOUT, reason, unheard=execution.step is StepState.REQUESTED)
        return []

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
        self._move(StepTrigger.REQUEST, attempt=execution.attempt + 1, held=False, deadline_us=deadline_us)
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
            held=False,
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
