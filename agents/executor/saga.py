"""What may happen to an execution: its turn comes, an answer, a verdict, an authorisation, a halt, or time passes.

Every function changes the execution in the state and gives the events that say so; one that does not fit its present
state changes nothing. What follows from there, forwards or back, is in `course.py`.
"""

from autopilot.agents.executor.bounds import (
    HELD_ANSWER_US,
    RETRYABLE,
    back_off_us,
)
from autopilot.agents.executor.breaker import (
    note_success,
)
from autopilot.agents.executor.course import Course
from autopilot.agents.executor.states import (
    EXECUTION,
    STEP,
    ExecutionState,
    ExecutionTrigger,
    StepState,
    StepTrigger,
)
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import FailureClass
from autopilot.schemas.events.executor import (
    ExecutionStarted,
)


class Saga(Course):
    """One execution, as what happens to it sees it."""

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
                plan_hash=self._known.plan.plan_hash,
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

    def asked(self, step_id: str, until_us: int) -> list[Draft]:
        """People are asked about the held step: they have until then, and the policy a little more; never less time."""
        if self.execution.is_held_before(step_id):
            self._put(deadline_us=max(self.execution.deadline_us, until_us + HELD_ANSWER_US))
        return []

    def authorized(self, step_id: str, not_after_us: int, unmet: str) -> list[Draft]:
        """The held step may begin until then, or the execution turns back: what goes along with it cannot be met."""
        if not self.execution.is_held_before(step_id):
            return []
        left = tuple(held for held in self.execution.held_steps if held != step_id)
        self._move(StepTrigger.AUTHORIZED, held_steps=left, not_after_us=not_after_us)
        if unmet:
            self._turn_back(unmet)
        else:
            self._proceed()
        return self._said

    def failed(self, failure: FailureClass, reason: str, *, unheard: bool = False) -> list[Draft]:
        """The present attempt failed: it waits for a halt to end, is tried again, or the execution turns back.

        `unheard` if nobody even began it: it tells nothing of the target, and a rollback has waited long enough.
        """
        execution = self.execution
        if not STEP.accepts(execution.step, StepTrigger.FAILED):
            return []
        if failure is FailureClass.REFUSED and execution.halted and STEP.accepts(execution.step, StepTrigger.HALTED):
            self._untried()
            self._move(StepTrigger.HALTED, due_us=self._now_us)
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
        """A halt came: an attempt that is not under way yet may be refused because of it, and then waits."""
        if self.execution.state is ExecutionState.RUNNING and self.execution.step is StepState.REQUESTED:
            self._put(halted=True)

    def unwanted(self, reason: str) -> list[Draft]:
        """It is to go no further: at once, or when the attempt that is under way has ended."""
        if self.execution.state is ExecutionState.QUEUED:
            self._give_up(reason, needs_person=False)
        elif self.execution.state is ExecutionState.RUNNING and not self.execution.reason:
            self._put(reason=reason)
            if self.execution.step is StepState.GATED:
                self._leave_stage(reason)
            elif self.execution.step is StepState.HELD:
                self._turn_back(reason)
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
        if execution.step is StepState.HELD:
            self._hold_on()
            return self._said
        if self._now_us > execution.deadline_us and execution.step is StepState.GATED:
            return self.stage_not_verified(self._step().step_id, "no verdict in time")
        if self._now_us > execution.deadline_us:
            reason = f"no answer to attempt {execution.attempt} in time"
            return self.failed(FailureClass.TIMEOUT, reason, unheard=execution.step is StepState.REQUESTED)
        return []
