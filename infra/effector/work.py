"""What is done at a target, beside the poll loop: observe, apply, take up after a crash, preview.

Each function gives the payload to be recorded and raises nothing: whatever a driver does is an answer.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopilot.infra.effector.port import (
    Applied,
    CrashClass,
    Driver,
    KeyedDriver,
    Observation,
    TargetError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.effector import (
    Change,
    FailureClass,
    PreviewCompleted,
    StepFailed,
    StepIndeterminate,
    StepStarted,
    StepSucceeded,
)
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.planner import REVERT, Action, PlanProposed
from autopilot.schemas.events.policy import PreviewRequested

Drivers = Mapping[str, Driver]

OBSERVE_TRIES = 5
OBSERVE_AGAIN_S = 1.0
"""After a crash a target may be restarting too: it is looked at some times before nobody can know."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What a revert puts back: the step's own action, and the target's state before the first try of it."""

    action: Action
    before: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A target that was looked at before an act, and how the act would survive a crash."""

    observation: Observation
    crash_class: CrashClass
    undone: Undone | None = None
    """For a revert."""


def step_failed(request: StepRequested, failure: FailureClass, reason: str) -> StepFailed:
    """The result of an attempt that failed."""
    return StepFailed(**_names(request), failure=failure, reason=reason)


def step_indeterminate(request: StepRequested, reason: str) -> StepIndeterminate:
    """The result of an attempt of which nobody can know."""
    return StepIndeterminate(**_names(request), reason=reason)


def step_succeeded(request: StepRequested, applied: Applied, took_ms: int = 0) -> StepSucceeded:
    """The result of an attempt whose effect is there."""
    return StepSucceeded(**_names(request), changed=applied.changed, after=dict(applied.after), took_ms=took_ms)


def _names(request: StepRequested) -> dict[str, Any]:
    return request.model_dump(include={"execution_id", "plan_id", "incident_id", "step_id", "phase", "attempt"})


def driver_for(drivers: Drivers, action: Action, undone: Undone | None = None) -> Driver | str:
    """The driver that knows the action's verb, or why there is none. With `undone` the action is a revert of it."""
    driver = drivers.get(action.driver)
    if driver is None:
        return f"there is no driver `{action.driver}`"
    if undone is not None:
        known = undone.action.verb in driver.reverts
        return driver if known else f"the driver `{action.driver}` cannot revert `{undone.action.verb}`"
    return driver if action.verb in driver.verbs else f"the driver `{action.driver}` has no verb `{action.verb}`"


def prepare(drivers: Drivers, request: StepRequested, undone: Undone | None = None) -> Prepared | StepFailed:
    """Looks at the target before the act. A revert states what is wanted, so it is convergent.

    A look that takes too long has changed nothing: it is told as what may work later, and not as a timeout.
    """
    driver = driver_for(drivers, request.action, undone)
    if isinstance(driver, str):
        return step_failed(request, FailureClass.PERMANENT, driver)
    try:
        crash_class = CrashClass.CONVERGENT if undone else driver.verbs[request.action.verb]
        return Prepared(driver.observe(request.action.target), crash_class, undone)
    except TargetTimeoutError as error:
        return step_failed(request, FailureClass.TRANSIENT, str(error))
    except TargetError as error:
        return step_failed(request, error.failure, str(error))
    except Exception as error:
        return step_failed(request, FailureClass.PERMANENT, _fault(error))


def carry_out(drivers: Drivers, request: StepRequested, prepared: Prepared) -> Payload:
    """Acts for the first time. What a driver raises that is no `TargetError` may have come after a change."""
    begun = time.monotonic()
    try:
        applied = _act(drivers[request.action.driver], request, prepared)
    except TargetError as error:
        if prepared.crash_class is CrashClass.BLIND and error.failure is FailureClass.TIMEOUT:
            return step_indeterminate(request, str(error))
        return step_failed(request, error.failure, str(error))
    except Exception as error:
        if prepared.crash_class is CrashClass.BLIND:
            return step_indeterminate(request, _fault(error))
        return step_failed(request, FailureClass.TIMEOUT, _fault(error))
    return step_succeeded(request, applied, round((time.monotonic() - begun) * 1_000))


def _act(driver: Driver, request: StepRequested, prepared: Prepared) -> Applied:
    key, timeout_s = request.idempotency_key, request.timeout_ms / 1_000
    if prepared.undone is not None:
        return driver.revert(prepared.undone.action, prepared.undone.before, key, timeout_s)
    return driver.apply(request.action, prepared.observation, key, timeout_s)


def take_up(
    drivers: Drivers,
    request: StepRequested,
    started: StepStarted,
    refusal: str | None,
    undone: Undone | None = None,
    again_s: float = OBSERVE_AGAIN_S,
) -> Payload:
    """Finds out what became of an act that was begun before a crash, and completes it where its class allows.

    `refusal` says why it must not be applied again; what already happened is still told as it is.
    """
    if refusal is not None and request.action.verb == REVERT:
        return _cut_short(request, refusal)
    driver = driver_for(drivers, request.action, undone)
    if isinstance(driver, str):
        return step_indeterminate(request, driver)
    if undone is not None:
        prepared = Prepared(Observation(started.before), CrashClass.CONVERGENT, undone)
        return _again(drivers, request, prepared, refusal)
    crash_class = CrashClass(started.crash_class)
    if crash_class is CrashClass.BLIND:
        return step_indeterminate(request, "the effector stopped in the middle of it, and nothing shows how far it got")
    try:
        done = _what_is_done(driver, request, started, crash_class, again_s)
    except TargetError as error:
        return step_indeterminate(request, f"the effector stopped in the middle of it, and then: {error}")
    except Exception as error:
        return step_indeterminate(request, _fault(error))
    if isinstance(done, Applied) and (refusal is not None or crash_class is not CrashClass.CONVERGENT):
        return step_succeeded(request, done)
    if done is None:
        return step_indeterminate(request, "the effector stopped in the middle of it, and the target does not show it")
    return _again(drivers, request, Prepared(Observation(started.before), crash_class), refusal)


def _again(drivers: Drivers, request: StepRequested, prepared: Prepared, refusal: str | None) -> Payload:
    """Acts again after a crash. What the first time has left is part of the effect, whatever fails the second time.

    What is convergent is applied again although nothing seems to be missing: only the act knows, from the state before
    it, whether the first time has left something stopped. Whether anything changed is told by that state, too.
    """
    if refusal is not None:
        return _cut_short(request, refusal)
    result = carry_out(drivers, request, prepared)
    if isinstance(result, StepFailed):
        return step_failed(request, FailureClass.TIMEOUT, f"it was cut short, and then: {result.reason}")
    if isinstance(result, StepSucceeded) and result.after != prepared.observation.state:
        return result.model_copy(update={"changed": True})
    return result


def _cut_short(request: StepRequested, refusal: str) -> StepFailed:
    return step_failed(request, FailureClass.TIMEOUT, f"it was cut short and is not taken up again: {refusal}")


def _what_is_done(
    driver: Driver, request: StepRequested, started: StepStarted, crash_class: CrashClass, again_s: float
) -> Applied | bool | None:
    """What was applied; False when it is not all there, None when nobody can know."""
    action = request.action
    if crash_class is CrashClass.KEYED:
        if not isinstance(driver, KeyedDriver):
            return None
        return driver.done_under(action, request.idempotency_key) or False
    observation = _observe_patiently(driver, action.target, again_s)
    if crash_class is CrashClass.CONVERGENT:
        done: bool | None = not driver.diff(action, observation)
    else:
        done = driver.happened(action, started.before, observation)
    return Applied(changed=True, after=observation.state) if done else done


def _observe_patiently(driver: Driver, target: str, again_s: float) -> Observation:
    for _ in range(OBSERVE_TRIES - 1):
        try:
            return driver.observe(target)
        except TransientError:
            time.sleep(again_s)
    return driver.observe(target)


def preview(drivers: Drivers, asked: PreviewRequested, plan: PlanProposed | None) -> PreviewCompleted:
    """What the plan would change, each step by itself against the targets as they are now."""
    changes: list[Change] = []
    reason = ""
    if plan is None:
        reason = "the plan is not known"
    elif plan.plan_hash != asked.plan_hash:
        reason = "the preview was asked for of another version of the plan: the hashes differ"
    else:
        reason = _differences(drivers, plan, changes)
    return PreviewCompleted(
        plan_id=asked.plan_id,
        incident_id=asked.incident_id,
        plan_hash=asked.plan_hash,
        ok=not reason,
        changes=changes,
        reason=reason,
    )


def _differences(drivers: Drivers, plan: PlanProposed, changes: list[Change]) -> str:
    for step in plan.steps:
        driver = driver_for(drivers, step.action)
        if isinstance(driver, str):
            return f"step `{step.step_id}`: {driver}"
        try:
            found = driver.diff(step.action, driver.observe(step.action.target))
        except Exception as error:
            return f"step `{step.step_id}`: {error if isinstance(error, TargetError) else _fault(error)}"
        changes += [Change(step_id=step.step_id, field=d.field, before=d.before, after=d.after) for d in found]
    return ""


def _fault(error: Exception) -> str:
    return f"the driver failed: {type(error).__name__}: {error}"[:500]
