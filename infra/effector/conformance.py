"""What every driver must do, as checks that run against its real target.

A driver author writes a rig: the driver, the target that it starts, one case for each verb, how many changes the
target's own history tells, and how to bring each fault about. With pytest:

    @pytest.mark.parametrize("check", checks(MyRig), ids=str)
    def test_conformance(rig: MyRig, check: Check) -> None:
        check.run(rig)

Without it `report(rig)` gives one line for each check. What must be done after a crash is done here by the effector's
own functions: a check acts, forgets that it acted, and takes the step up again.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from autopilot.infra.effector.port import (
    Applied,
    CrashClass,
    Driver,
    KeyedDriver,
    Observation,
    PermanentError,
    TargetError,
)
from autopilot.infra.effector.rig import ERRORS, Case, Fault, Provoked, Rig
from autopilot.infra.effector.work import prepare, take_up
from autopilot.schemas.contract import Payload
from autopilot.schemas.events.effector import (
    FailureClass,
    StepFailed,
    StepIndeterminate,
    StepStarted,
    StepSucceeded,
)
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.planner import Action
from autopilot.schemas.identity import derived_id

SLACK_S = 10.0
"""How much longer than its timeout an act may take: it ends what it has begun, and the machine may be busy."""
P = TypeVar("P", bound=Payload)
_HARMLESS = frozenset({Fault.DENIED, Fault.MISSING, Fault.UNREACHABLE, Fault.CONFLICT})


class NonconformantError(AssertionError):
    """The driver does not do what a driver must."""


class Check(NamedTuple):
    """One thing that a driver must do. `str` is its name."""

    name: str
    run: Callable[[Rig], None]

    def __str__(self) -> str:
        return self.name


def checks(rig: type[Rig]) -> list[Check]:
    """All checks of a rig. They may run in any order."""
    found = [Check("every verb has a case, and every fault can arise or is said not to", _complete)]
    found += [Check(f"{case}: {name}", _of_case(run, case)) for case in rig.cases for name, run in _OF_CASES]
    found += [
        Check(f"{case}: refuses {dict(parameters)}", _refuses(case, parameters))
        for case in rig.cases
        for parameters in case.refused
    ]
    found.append(Check("an unknown verb is a lasting failure", _unknown_verb))
    return found + [
        Check(f"{fault}: {ERRORS[fault].__name__}", _meets(fault)) for fault in Fault if fault not in rig.impossible
    ]


def report(rig: Rig) -> Iterator[str]:
    """Runs everything; one line for each check, and for each fault that cannot arise."""
    for check in checks(type(rig)):
        try:
            check.run(rig)
        except Exception as error:  # also one that no driver should raise: the others are still checked
            told = error if isinstance(error, NonconformantError) else f"{type(error).__name__}: {error}"
            yield f"FAILED  {check}: {told}"
        else:
            yield f"ok      {check}"
    for fault, why in rig.impossible.items():
        yield f"-       {fault} cannot arise: {why}"


# -- the cases -------------------------------------------------------------------------------------------------------


class _Bench:
    """One check's view of a rig that was reset for a case."""

    def __init__(self, rig: Rig, case: Case) -> None:
        self.rig = rig
        self.case = case
        self.driver = rig.driver
        rig.reset(case)
        self.before = self.driver.observe(case.action.target)
        self.key = derived_id("conformance", rig.name, str(case), str(time.time_ns()))
        self._effects = rig.effects(case)

    def apply(self) -> Applied:
        return self.driver.apply(self.case.action, self.before, self.key, self.case.timeout_s)

    def revert(self) -> Applied:
        return self.driver.revert(self.case.action, self.before.state, f"{self.key}-back", self.case.timeout_s)

    def observe(self) -> Observation:
        return self.driver.observe(self.case.action.target)

    def take_up(self, drivers: Mapping[str, Driver] | None = None) -> Payload:
        """What the effector makes of the step when it finds it begun."""
        request = self._request()
        named = request.model_dump(include=set(StepStarted.model_fields) & set(StepRequested.model_fields))
        started = StepStarted(**named, crash_class=self.case.crash_class, before=dict(self.before.state))
        return take_up(drivers or self._drivers(), request, started, None)

    def prepare(self, verb: str) -> Any:
        """What the effector makes of a step with this verb."""
        return prepare(self._drivers(), self._request(self.case.action.model_copy(update={"verb": verb})))

    def _drivers(self) -> Mapping[str, Driver]:
        return {self.case.action.driver: self.driver}

    def _request(self, action: Action | None = None) -> StepRequested:
        return StepRequested(
            execution_id="exec-1",
            plan_id="plan-1",
            incident_id="inc-1",
            decision_id="dec-1",
            step_id="s1",
            phase="forward",
            action=action or self.case.action,
            idempotency_key=self.key,
            attempt=1,
            timeout_ms=round(self.case.timeout_s * 1_000),
            not_after_us=0,
        )

    @property
    def done(self) -> int:
        """How many changes the target tells since the check began."""
        return self.rig.effects(self.case) - self._effects

    def expect_done(self, expected: int, after: str) -> None:
        done = self.done
        _require(done == expected, f"after {after} the target's history tells {done} changes, expected {expected}")


def _of_case(run: Callable[[_Bench], None], case: Case) -> Callable[[Rig], None]:
    return lambda rig: run(_Bench(rig, case))


def _observes(bench: _Bench) -> None:
    again = bench.observe()
    _require(again == bench.before, f"two observations differ: {bench.before} and {again}")
    odd = [item for item in again.state.items() if not all(isinstance(part, str) for part in item)]
    _require(not odd, f"the state has something else than strings: {odd}")
    bench.expect_done(0, "observing")


def _diff_changes_nothing(bench: _Bench) -> None:
    found = bench.driver.diff(bench.case.action, bench.before)
    _require(bool(found), "the diff of an act that changes something is empty")
    _require(all(d.before != d.after for d in found), f"the diff names what stays as it is: {list(found)}")
    _require(bench.observe() == bench.before, "after a diff the target is another")
    bench.expect_done(0, "a diff")


def _applies_once(bench: _Bench) -> None:
    """A blind verb is not applied again: nobody does that."""
    promised = bench.driver.verbs[bench.case.verb]
    _require(promised is bench.case.crash_class, f"its class is {promised}, the case says {bench.case.crash_class}")
    applied = bench.apply()
    bench.expect_done(bench.case.effects, "one apply")
    _require(applied.changed, "it says that it changed nothing")
    now = bench.observe()
    _require(dict(applied.after) == dict(now.state), f"it tells {applied.after} and the target is {now.state}")
    if promised is CrashClass.BLIND:
        return
    again = bench.apply()
    bench.expect_done(bench.case.effects, "two applies")
    _require(not again.changed or promised is CrashClass.KEYED, "the second apply says that it changed something")
    if promised is CrashClass.CONVERGENT:
        left = bench.driver.diff(bench.case.action, bench.observe())
        _require(not left, f"after it was applied the diff still tells {list(left)}")


def _taken_up_before(bench: _Bench) -> None:
    """The effector died after it recorded its intent and before it did anything."""
    if bench.case.crash_class is CrashClass.WITNESSED:
        seen = bench.driver.happened(bench.case.action, bench.before.state, bench.observe())
        _require(seen is False, f"before it was applied `happened` tells {seen}")
    result = bench.take_up()
    if bench.case.crash_class is CrashClass.BLIND:
        _of_kind(result, StepIndeterminate)
        bench.expect_done(0, "a blind act was cut short")
    else:
        _of_kind(result, StepSucceeded)
        bench.expect_done(bench.case.effects, "it was taken up")


def _taken_up_after(bench: _Bench) -> None:
    """The effector died after it acted and before it recorded the result."""
    bench.apply()
    result = bench.take_up()
    if bench.case.crash_class is CrashClass.BLIND:
        _of_kind(result, StepIndeterminate)
    else:
        changed = _of_kind(result, StepSucceeded).changed
        _require(changed, "of what was done and taken up it says that nothing was changed")
    bench.expect_done(bench.case.effects, "it was taken up")


def _keeps_its_key(bench: _Bench) -> None:
    if bench.case.crash_class is not CrashClass.KEYED:
        _require(
            not hasattr(bench.driver, "done_under") or isinstance(bench.driver, KeyedDriver), "half a keyed driver"
        )
        return
    if not isinstance(bench.driver, KeyedDriver):
        raise NonconformantError("a keyed verb, and the driver has no `done_under`")
    _require(bench.driver.done_under(bench.case.action, bench.key) is None, "a fresh key is said to be known")
    bench.apply()
    _require(bench.driver.done_under(bench.case.action, bench.key) is not None, "the key of what was done is unknown")


def _reverts(bench: _Bench) -> None:
    bench.apply()
    if bench.case.verb not in bench.driver.reverts:
        _expect(PermanentError, bench.revert, "revert of a verb that leaves nothing to be put back")
        bench.expect_done(bench.case.effects, "a revert that was refused")
        return
    _require(bench.revert().changed, "the revert says that it changed nothing")
    _require_restored(bench)
    done = bench.done
    _require(not bench.revert().changed, "the second revert says that it changed something")
    bench.expect_done(done, "the second revert")
    _require_restored(bench)


def _require_restored(bench: _Bench) -> None:
    now, before = bench.observe().state, bench.before.state
    kept = (now.keys() | before.keys()) - bench.case.volatile
    moved = {key: (before.get(key), now.get(key)) for key in sorted(kept) if now.get(key) != before.get(key)}
    _require(not moved, f"the revert left (before, now): {moved}")


_OF_CASES: Sequence[tuple[str, Callable[[_Bench], None]]] = (
    ("observe tells the state and changes nothing", _observes),
    ("diff tells the change and changes nothing", _diff_changes_nothing),
    ("apply changes once", _applies_once),
    ("taken up before it was done, as its class promises", _taken_up_before),
    ("taken up after it was done, as its class promises", _taken_up_after),
    ("keeps its key if it is keyed", _keeps_its_key),
    ("revert restores, once", _reverts),
)


# -- parameters, verbs and faults ------------------------------------------------------------------------------------


def _complete(rig: Rig) -> None:
    without = rig.driver.verbs.keys() - {case.verb for case in rig.cases}
    _require(not without, f"verbs without a case: {sorted(without)}")
    unknown = rig.driver.reverts - rig.driver.verbs.keys()
    _require(not unknown, f"reverts that are no verbs: {sorted(unknown)}")
    _require(any(case.refused for case in rig.cases), "no case says which parameters are refused")
    silent = [fault for fault, why in rig.impossible.items() if len(why.split()) < 4]
    _require(not silent, f"faults that are said to be impossible without a reason: {silent}")


def _refuses(case: Case, parameters: Mapping[str, str]) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        bench = _Bench(rig, case)
        odd = case.action.model_copy(update={"parameters": dict(parameters)})
        error = _expect(
            PermanentError, lambda: bench.driver.apply(odd, bench.before, bench.key, case.timeout_s), "apply"
        )
        odd_ones = [k for k in parameters.keys() | case.action.parameters.keys() if _differs(parameters, case, k)]
        told = [name for name in odd_ones if f"`{name}`" in str(error) and _value(parameters, case, name) in str(error)]
        _require(bool(told), f"`{error}` names none of {sorted(odd_ones)} with its value")
        bench.expect_done(0, "refused parameters")

    return run


def _differs(parameters: Mapping[str, str], case: Case, name: str) -> bool:
    return parameters.get(name) != case.action.parameters.get(name)


def _value(parameters: Mapping[str, str], case: Case, name: str) -> str:
    """The value that a refusal must show: none of a parameter that is not given or that nobody knows."""
    return parameters.get(name, "") if name in case.action.parameters else ""


def _unknown_verb(rig: Rig) -> None:
    bench = _Bench(rig, rig.cases[0])
    result = bench.prepare("no-such-verb")
    failed = _of_kind(result, StepFailed)
    _require(failed.failure is FailureClass.PERMANENT, f"it is told as {failed.failure}: {failed.reason}")
    bench.expect_done(0, "an unknown verb")


def _meets(fault: Fault) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        with rig.provoke(fault) as provoked:
            count = rig.effects(provoked.case) if fault is not Fault.UNREACHABLE else None
            before = _meet(rig, fault, provoked)
        if fault in _HARMLESS and count is not None:
            done = rig.effects(provoked.case) - count
            _require(done == 0, f"the target's history tells {done} changes, expected none")
        if fault is Fault.PARTIAL and count is not None:
            _mends(rig, provoked.case, before, count)

    return run


def _meet(rig: Rig, fault: Fault, provoked: Provoked) -> Observation:
    """Meets the fault, and gives what was observed before the act."""
    driver = provoked.driver or rig.driver
    action, before = provoked.case.action, provoked.before
    if before is None:
        try:
            before = driver.observe(action.target)
        except ERRORS[fault] as error:
            _require(fault is not Fault.PARTIAL, "it timed out before it did its part")
            _require_named(fault, action, error)
            return Observation({})
    known = before or Observation({})
    begun = time.monotonic()
    key = derived_id("conformance", rig.name, fault, str(time.time_ns()))
    raised = _expect(ERRORS[fault], lambda: driver.apply(action, known, key, provoked.timeout_s), "apply")
    took_s = time.monotonic() - begun
    most_s = provoked.timeout_s + SLACK_S
    _require_named(fault, action, raised)
    _require(took_s <= most_s, f"it took {took_s:.1f} s, with a timeout of {provoked.timeout_s:.0f} s")
    return known


def _require_named(fault: Fault, action: Action, error: TargetError) -> None:
    """Whoever reads that something is missing must see what."""
    name = action.target.rpartition("/")[2]
    _require(fault is not Fault.MISSING or name in str(error), f"`{error}` does not name the target `{action.target}`")


def _mends(rig: Rig, case: Case, before: Observation, count: int) -> None:
    """Once the fault is gone, what was done in part is completed and no more."""
    if case.crash_class in (CrashClass.BLIND, CrashClass.KEYED):
        return
    rig.driver.apply(case.action, before, "key-of-the-next-try", case.timeout_s)
    now = rig.driver.observe(case.action.target)
    if case.crash_class is CrashClass.CONVERGENT:
        left = rig.driver.diff(case.action, now)
        _require(not left, f"after it was applied again the diff still tells {list(left)}")
    else:
        seen = rig.driver.happened(case.action, before.state, now)
        _require(seen is True, f"after it was applied again `happened` tells {seen}")
    _require(rig.effects(case) > count, "the target's history tells no change")


# -- small things ----------------------------------------------------------------------------------------------------


def _expect(kind: type[TargetError], act: Callable[[], Any], what: str) -> TargetError:
    try:
        given = act()
    except kind as error:
        _require(error.failure is kind.failure, f"{what} raised {type(error).__name__}: {error}")
        return error
    except Exception as error:
        raise NonconformantError(f"{what} raised {type(error).__name__}: {error}; expected {kind.__name__}") from error
    raise NonconformantError(f"{what} gave {given}, expected {kind.__name__}")


def _of_kind(result: Any, kind: type[P]) -> P:
    if not isinstance(result, kind):
        told = f"`{type(result).__name__}`: {getattr(result, 'reason', result)}"
        raise NonconformantError(f"it was answered by {told}; expected `{kind.__name__}`")
    return result


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise NonconformantError(complaint)
