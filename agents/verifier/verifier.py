"""The verifier: whether an execution, or its rollback, helped.

It promises one verdict for each execution that was completed or rolled back, by its plan's deadline at the latest, one
for each stage that it reaches, by its gate's, and that what was not measured never counts as success. It asks for the
window before when an execution starts and for the window after in slices, so that a clear case ends early. Each look
spends a part of one error, so that looking again and again does not find what is not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from autopilot.agents.agent import FoldingAgent
from autopilot.agents.verifier.acted import Acted, undisturbed
from autopilot.agents.verifier.checks import Verdict, judge
from autopilot.agents.verifier.judgement import z_at_look
from autopilot.agents.verifier.measuring import (
    BEFORE,
    SLICES,
    columns,
    columns_before,
    joined,
    known_plan,
    request_of,
    silent,
    slice_end_us,
    whole_us,
)
from autopilot.agents.verifier.state import VerifierState
from autopilot.agents.verifier.watch import MEASURING, WATCH, KnownPlan, Watch, WatchState, WatchTrigger
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionStarted,
    RollbackStarted,
    StageReached,
    StepHeld,
)
from autopilot.schemas.events.observer import MeasurementTaken
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested, PlanDenied, StepAuthorized
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import (
    CheckVerdict,
    Outcome,
    OutcomeInconclusive,
    OutcomeRejected,
    OutcomeVerified,
)
from autopilot.schemas.identity import derived_id
from autopilot.schemas.plan_hash import refused_plan

KEPT_US = 86_400_000_000
"""How long a plan is remembered after it expired: a day."""
UNHEARD_KEPT_US = 7 * KEPT_US
"""How long an execution that has not ended is remembered after the last word about it: a week. One that is held before
a step is remembered until it goes on or ends: a halt has no end that is known, and the executor ends each in time.
"""

Words = list[Output]
EndedBy = OutcomeVerified | OutcomeRejected | OutcomeInconclusive

_ENDINGS: dict[CheckVerdict, tuple[type[EndedBy], WatchTrigger]] = {
    CheckVerdict.PASS: (OutcomeVerified, WatchTrigger.OUTCOME_VERIFIED),
    CheckVerdict.FAIL: (OutcomeRejected, WatchTrigger.OUTCOME_REJECTED),
}
_PHASES = {
    WatchState.MEASURING_STAGE: "stage",
    WatchState.MEASURING: "remedy",
    WatchState.MEASURING_ROLLBACK: "rollback",
}
_INCONCLUSIVE = (OutcomeInconclusive, WatchTrigger.OUTCOME_INCONCLUSIVE)


def _configured(state: VerifierState, recorded: Recorded[ConfigurationActivated]) -> Words:
    documents = [doc for doc in recorded.payload.documents if doc.kind == "ServiceLevelObjectives"]
    if documents:
        objectives = Configuration().with_activated(documents).objectives()
        state.objectives_bp = {_slo_key(o.service, o.name): o.objective_bp for o in objectives}
    fleets = Configuration().with_activated(recorded.payload.documents).fleets()
    if fleets:
        state.intervals_ms = {one.name: one.telemetry.interval_ms for fleet in fleets for one in fleet.services}
    return []


def _proposed(state: VerifierState, recorded: Recorded[PlanProposed]) -> Words:
    """Keeps the first plan of its name, as the executor does: what is judged is what was authorised and carried out.

    That it was withdrawn says nothing here: it may have been authorised in the same moment, and then it is carried out
    until the executor, which reads of it later, turns back. That is judged, too.
    """
    plan, envelope = recorded.payload, recorded.envelope
    refused = refused_plan(plan, state.plans)
    if refused is not None:
        return [refused]
    state.plans[plan.plan_id] = known_plan(plan, envelope.domain, envelope.service)
    return []


def _denied(state: VerifierState, recorded: Recorded[PlanDenied]) -> Words:
    state.plans.pop(recorded.payload.decision.plan_id, None)
    return []


def _started(state: VerifierState, recorded: Recorded[ExecutionStarted]) -> Words:
    """Asks for the window before. A rollback on the same service that is still judged can no longer be.

    The executor says, with its signature, which plan it is: another one in its name is not judged.
    """
    started = recorded.payload
    plan = state.plans.pop(started.plan_id, None)
    if plan is None or started.execution_id in state.watches:
        return []
    if started.plan_hash not in ("", plan.plan_hash):
        return [Rejection("plan_hash", f"`{started.plan_hash}`", f"that of the plan, `{plan.plan_hash}`")]
    overtaken = [w for w in state.watches.values() if _is_overtaken(w, plan)]
    words = [word for watch in overtaken for word in _give_up(state, watch, "another execution began meanwhile")]
    at_us = recorded.envelope.occurred_at_us
    watch = Watch(started.execution_id, plan, since_us=at_us)
    from_us, until_us = undisturbed(state.acted_on(plan), at_us, plan.before_ms * 1000)
    state.acted[watch.execution_id] = Acted(plan.domain, plan.service, at_us, plan.settle_ms * 1000)
    if from_us < until_us:
        before = request_of(watch, BEFORE, from_us, until_us)
        state.awaited[before.measurement_id] = watch.execution_id
        words.append(_draft(watch, before))
    state.watches[watch.execution_id] = watch if from_us < until_us else replace(watch, before={})
    return words


def _stage_reached(state: VerifierState, recorded: Recorded[StageReached]) -> Words:
    """Measures the stage, if the plan has a gate there."""
    watch = state.watches.get(recorded.payload.execution_id)
    if watch is None or recorded.payload.step_id not in watch.plan.gates:
        return []
    return _measure(state, recorded, WatchTrigger.STAGE_REACHED, recorded.payload.step_id)


def _turning_back(state: VerifierState, recorded: Recorded[RollbackStarted]) -> Words:
    """A stage that is being left for another reason than a verdict needs none any more."""
    state.goes_on(recorded.payload.execution_id)
    watch = state.watches.get(recorded.payload.execution_id)
    if watch is None:
        return []
    watch = replace(watch, since_us=max(watch.since_us, recorded.envelope.occurred_at_us), held=False)
    state.watches[watch.execution_id] = watch
    if WATCH.accepts(watch.state, WatchTrigger.ROLLBACK_STARTED):
        _move(state, watch, WatchTrigger.ROLLBACK_STARTED, awaited="")
    return []


def _held(state: VerifierState, recorded: Recorded[StepHeld | StepAuthorized | ApprovalRequested]) -> Words:
    """An execution that is held is not forgotten: people may answer, or a halt keeps them from being asked. Nothing is
    measured meanwhile.
    """
    watch = state.watches.get(recorded.payload.execution_id)
    if watch is not None and watch.state is WatchState.EXECUTING:
        held = not isinstance(recorded.payload, StepAuthorized)
        since_us = max(watch.since_us, recorded.envelope.occurred_at_us)
        state.watches[watch.execution_id] = replace(watch, since_us=since_us, held=held)
    return []


def _completed(state: VerifierState, recorded: Recorded[ExecutionCompleted]) -> Words:
    state.ended(recorded, stays=True)
    return _measure(state, recorded, WatchTrigger.EXECUTION_COMPLETED)


def _rolled_back(state: VerifierState, recorded: Recorded[ExecutionRolledBack]) -> Words:
    state.ended(recorded, stays=False)
    return _measure(state, recorded, WatchTrigger.EXECUTION_ROLLED_BACK)


def _failed(state: VerifierState, recorded: Recorded[ExecutionFailed]) -> Words:
    """There is nothing to judge; one that never started has only its plan."""
    state.plans.pop(recorded.payload.plan_id, None)
    state.ended(recorded, stays=recorded.payload.needs_person)
    watch = state.watches.get(recorded.payload.execution_id)
    if watch is not None and WATCH.accepts(watch.state, WatchTrigger.EXECUTION_FAILED):
        _move(state, watch, WatchTrigger.EXECUTION_FAILED)
    return []


def _measured(state: VerifierState, recorded: Recorded[MeasurementTaken]) -> Words:
    """Takes over the samples, and looks whether they decide."""
    taken = recorded.payload
    watch = state.watches.get(state.awaited.pop(taken.measurement_id, ""))
    if watch is None:
        return []
    if taken.purpose == BEFORE:
        watch = replace(watch, before=columns_before(taken, watch.plan.trouble_since_us))
    elif taken.measurement_id == watch.awaited:
        after = columns(watch.after, taken)
        watch = replace(
            watch,
            after=after,
            silent=silent(watch.after, after),
            quality_bp=taken.quality.worst_bp,
            awaited="",
            evidence=joined(watch.evidence, taken.evidence),
        )
    state.watches[watch.execution_id] = watch
    ready = watch.state in MEASURING and watch.before is not None and watch.look > 0 and not watch.awaited
    return _look(state, watch) if ready else []


def _ticked(state: VerifierState, recorded: Recorded[Tick]) -> Words:
    """Ends what is past its deadline, and forgets what nothing will come of."""
    now_us = state.now_us = max(state.now_us, recorded.payload.at_us)
    words: Words = []
    for watch in list(state.watches.values()):
        if watch.state in MEASURING:
            if now_us >= watch.deadline_us:
                words += _give_up(state, watch, "the deadline has passed")
        elif not watch.held and now_us >= watch.since_us + UNHEARD_KEPT_US:
            _move(state, watch, WatchTrigger.FORGOTTEN)
    for plan in [p for p in state.plans.values() if now_us >= p.expires_at_us + KEPT_US]:
        del state.plans[plan.plan_id]
    for name in [n for n, one in state.acted.items() if n not in state.watches and one.is_past(now_us)]:
        del state.acted[name]
    return words


_Handler = Callable[[VerifierState, Any], Words]

HANDLERS: dict[type[Payload], _Handler] = {
    Tick: _ticked,
    ConfigurationActivated: _configured,
    PlanProposed: _proposed,
    PlanDenied: _denied,
    ExecutionStarted: _started,
    StageReached: _stage_reached,
    RollbackStarted: _turning_back,
    StepHeld: _held,
    ApprovalRequested: _held,
    StepAuthorized: _held,
    ExecutionCompleted: _completed,
    ExecutionRolledBack: _rolled_back,
    ExecutionFailed: _failed,
    MeasurementTaken: _measured,
}


class Verifier(FoldingAgent[VerifierState]):
    """The verifier agent."""

    name = "verifier"
    reads = Topic.LOG
    handles = frozenset(HANDLERS)
    state_type = TypeAdapter(VerifierState)
    lifecycle = WATCH

    def initial_state(self) -> VerifierState:
        """Nothing is watched."""
        return VerifierState()

    def handle(self, state: VerifierState, recorded: Recorded[Payload]) -> tuple[VerifierState, Sequence[Output]]:
        """See `Agent.handle`."""
        return state, HANDLERS[type(recorded.payload)](state, recorded)


# -- measuring -------------------------------------------------------------------------------------------------------


def _measure(
    state: VerifierState,
    recorded: Recorded[StageReached | ExecutionCompleted | ExecutionRolledBack],
    trigger: WatchTrigger,
    step_id: str = "",
) -> Words:
    """Asks for the first slice of the window after what was just done or undone."""
    watch = state.watches.get(recorded.payload.execution_id)
    if watch is None or not WATCH.accepts(watch.state, trigger):
        return []
    at_us = recorded.envelope.occurred_at_us
    window = watch.plan.window(step_id)
    from_us = whole_us(at_us + window.settle_ms * 1000, _interval_ms(state, watch))
    watch = _move(
        state,
        watch,
        trigger,
        since_us=at_us,
        held=False,
        step_id=step_id,
        after={},
        silent=(),
        quality_bp=0,
        look=0,
        from_us=from_us,
        until_us=from_us,
        deadline_us=at_us + window.deadline_ms * 1000,
        evidence=(),
    )
    return _next_slice(state, watch)


def _next_slice(state: VerifierState, watch: Watch) -> Words:
    """Asks for one more slice; its answer comes when the slice has passed."""
    watch = replace(watch, look=watch.look + 1)
    purpose = "stage" if watch.step_id else "after"
    interval_ms = _interval_ms(state, watch)
    request = request_of(watch, purpose, watch.until_us, slice_end_us(watch, interval_ms), interval_ms)
    state.watches[watch.execution_id] = replace(watch, until_us=request.until_us, awaited=request.measurement_id)
    state.awaited[request.measurement_id] = watch.execution_id
    return [_draft(watch, request)]


def _interval_ms(state: VerifierState, watch: Watch) -> int:
    """How often the service sends its telemetry; 0 when the fleet does not have it."""
    return state.intervals_ms.get(watch.plan.service, 0)


# -- judging ---------------------------------------------------------------------------------------------------------


def _look(state: VerifierState, watch: Watch) -> Words:
    """Ends when what was measured so far decides; measures on, or gives up, when it does not."""
    is_last = slice_end_us(watch, _interval_ms(state, watch)) > watch.deadline_us
    verdict = _judged(state, watch, z_at_look(watch.look, SLICES, is_last=is_last))
    if is_last or verdict.verdict is not CheckVerdict.UNCLEAR:
        return _end(state, watch, verdict)
    return _next_slice(state, watch)


def _give_up(state: VerifierState, watch: Watch, why: str) -> Words:
    """Ends without a conclusion, whatever was measured."""
    seen = _judged(state, watch, z_at_look(max(watch.look, 1), SLICES))
    reason = why if seen.verdict is not CheckVerdict.UNCLEAR else f"{why}; {seen.reason}"
    return _end(state, watch, Verdict(CheckVerdict.UNCLEAR, 0, reason, seen.checks))


def _judged(state: VerifierState, watch: Watch, z: float) -> Verdict:
    service = watch.plan.service
    objectives = {
        slo: state.objectives_bp[key]
        for slo in watch.window.slo_names
        if (key := _slo_key(service, slo)) in state.objectives_bp
    }
    return judge(watch, objectives, z)


def _end(state: VerifierState, watch: Watch, verdict: Verdict) -> Words:
    kind, trigger = _ENDINGS.get(verdict.verdict, _INCONCLUSIVE)
    outcome = Outcome(
        outcome_id=derived_id("out", watch.execution_id, watch.state, *filter(None, [watch.step_id])),
        execution_id=watch.execution_id,
        plan_id=watch.plan.plan_id,
        incident_id=watch.plan.incident_id,
        remedy=watch.plan.remedy,
        context=watch.plan.context,
        phase=_PHASES[watch.state],
        checks=verdict.checks,
        confidence_bp=verdict.confidence_bp,
        reason=verdict.reason,
        measured_from_us=watch.from_us,
        measured_until_us=watch.until_us,
        evidence=list(watch.evidence),
        step_id=watch.step_id,
    )
    _move(state, watch, trigger)
    return [_draft(watch, kind(outcome=outcome))]


def _move(state: VerifierState, watch: Watch, trigger: WatchTrigger, **changes: Any) -> Watch:
    """The watch after `trigger`; one that ended is forgotten. Raises as `Lifecycle.after`."""
    watch = replace(watch, state=WATCH.after(watch.state, trigger), **changes)
    state.watches[watch.execution_id] = watch
    if watch.state is WatchState.ENDED:
        del state.watches[watch.execution_id]
        state.awaited = {m: e for m, e in state.awaited.items() if e != watch.execution_id}
    return watch


def _is_overtaken(watch: Watch, plan: KnownPlan) -> bool:
    same = (watch.plan.domain, watch.plan.service) == (plan.domain, plan.service)
    return same and watch.state is WatchState.MEASURING_ROLLBACK


def _slo_key(service: str, slo: str) -> str:
    return f"{service}/{slo}"


def _draft(watch: Watch, payload: Payload) -> Draft:
    return Draft(payload, watch.plan.domain, watch.plan.service, watch.plan.incident_id)
