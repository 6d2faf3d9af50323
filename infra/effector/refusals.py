"""Why a step is refused: what is asked for, held against what the gate remembers of the log.

Everything is recomputed from the log: the signed decision, the plan that it is about, the step within that plan, and
what has happened since. A compensation needs no time left and no absence of a halt: what was begun can be undone.
"""

from autopilot.agents.executor.states import COMPENSATION, FORWARD, action_of, execution_of, idempotency_key
from autopilot.infra.effector.gate_state import GateState, SignedDecision, attempt_of
from autopilot.schemas.configuration import Role
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.planner import REVERT, Step
from autopilot.schemas.plan_hash import plan_hash


def refusal(
    state: GateState, request: StepRequested, now_us: int, *, pinned: frozenset[str], again: bool
) -> str | None:
    """Why the step must not be taken now, or None.

    `pinned` are the public keys of the only administrators whose word counts, if there are any. `again`: the step was
    begun before a crash and would be taken up.
    """
    strange = [key for key in state.authority.administrators if key not in pinned]
    if pinned and strange:
        return _under_a_stranger(strange[0])
    if not again and (attempt_of(request) in state.answered or _has_begun(state, request)):
        return "this attempt was already started"
    decided = state.decisions.get(request.decision_id)
    if decided is None:
        return "no decision of this id was signed by the policy"
    why_not = _not_authorised(state, decided, request) or _not_the_plans(state, decided, request)
    return why_not or _not_now(state, decided, request, now_us, again)


def _under_a_stranger(key: str) -> str:
    """Compensations are no exception: what a revert puts back is told by a `StepStarted`, on the word of that list."""
    return (
        f"an administrator of the configuration in force, with the key `{key}`, is not a pinned one:"
        " nothing is done, and nothing undone, until the effector is told of the key or the list is without it"
    )


def _has_begun(state: GateState, request: StepRequested) -> bool:
    attempt = state.open.get(attempt_of(request))
    return attempt is not None and attempt.started is not None


def _not_authorised(state: GateState, decided: SignedDecision, request: StepRequested) -> str | None:
    decision = decided.authorization.decision
    if not state.authority.has(decided.signed_by, Role.POLICY):
        return f"`{decided.signed_by}`, who signed the decision, no longer has the role policy"
    if request.plan_id != decision.plan_id:
        return "the decision is about another plan"
    if request.execution_id != execution_of(decision.decision_id):
        return "the execution is not the decision's"
    return None


def _not_the_plans(state: GateState, decided: SignedDecision, request: StepRequested) -> str | None:
    known = state.plans.get(request.plan_id)
    if known is None:
        return "the plan is not known"
    if plan_hash(known.plan.steps, known.plan.verification) != decided.authorization.decision.plan_hash:
        return "the decision is about another version of the plan: the hashes differ"
    step = next((step for step in known.plan.steps if step.step_id == request.step_id), None)
    if step is None or request.phase not in (FORWARD, COMPENSATION):
        return "the plan has no such step"
    if request.action != action_of(step, request.phase):
        return "the action is not the plan's"
    if request.idempotency_key != idempotency_key(request.execution_id, request.step_id, request.phase):
        return "the idempotency key is not the step's"
    if request.action.verb == REVERT and not _reverts(request, step):
        return "a revert undoes the step that it belongs to, and nothing else"
    target = f"{step.action.driver}/{step.action.target}"
    if target not in state.targets.get(decided.service, [target]):
        return f"`{target}` is no target of `{decided.service}`, which the decision is about"
    return None


def _reverts(request: StepRequested, step: Step) -> bool:
    action, forward = request.action, step.action
    same = (action.driver, action.target) == (forward.driver, forward.target)
    return request.phase == COMPENSATION and same and action.parameters == {"step": step.step_id}


def _not_now(state: GateState, decided: SignedDecision, request: StepRequested, now_us: int, again: bool) -> str | None:
    if request.phase == COMPENSATION and request.execution_id not in state.undoing:
        return "no rollback of the execution is under way"
    if not again:
        if now_us > request.not_after_us:
            return "the request's time is over"
        if any(_supersedes(attempt.request, request) for attempt in state.open.values()):
            return "a later attempt of the step is asked for"
    return None if request.phase == COMPENSATION else _not_forward(state, decided, request, now_us)


def _not_forward(state: GateState, decided: SignedDecision, request: StepRequested, now_us: int) -> str | None:
    if request.execution_id in state.undoing or request.execution_id in state.ended:
        return "the execution takes no forward step any more"
    if request.decision_id in state.revoked:
        return "the authorisation was revoked"
    if state.authority.halted(decided.domain):
        return "the domain is halted"
    return _not_by_then(state, decided, request, now_us) or _too_early(state, request)


def _not_by_then(state: GateState, decided: SignedDecision, request: StepRequested, now_us: int) -> str | None:
    """Why the step is not authorised now: the plan's authorisation covers it, or that of the held step over it."""
    known = state.plans[request.plan_id]
    over = decided.authorization.held_step_over([step.step_id for step in known.plan.steps], request.step_id)
    if not over:
        return "the authorisation's time is over" if now_us > decided.authorization.not_after_us else None
    held = state.held.get(f"{request.decision_id}/{over}")
    if held is None:
        return f"step `{over}` is held, and no authorisation of it was signed by the policy"
    if not state.authority.has(held.signed_by, Role.POLICY):
        return f"`{held.signed_by}`, who signed the authorisation of step `{over}`, no longer has the role policy"
    theirs, plan = held.authorization.decision, decided.authorization.decision
    if (theirs.plan_id, theirs.plan_hash, held.domain) != (plan.plan_id, plan.plan_hash, decided.domain):
        return f"the authorisation of step `{over}` is about another plan"
    if now_us > held.authorization.not_after_us:
        return f"the time of the authorisation of step `{over}` is over"
    return None


def _too_early(state: GateState, request: StepRequested) -> str | None:
    """Why a step's turn has not come: those before it are done, and what their gates ask for was seen."""
    for step in state.plans[request.plan_id].plan.steps:
        if step.step_id == request.step_id:
            break
        if idempotency_key(request.execution_id, step.step_id, FORWARD) not in state.succeeded:
            return f"step `{step.step_id}`, which comes before it, has not succeeded"
        if step.gate is not None and f"{request.execution_id}/{step.step_id}" not in state.passed:
            return f"the stage of step `{step.step_id}` is not verified"
    return None


def _supersedes(other: StepRequested, request: StepRequested) -> bool:
    return other.idempotency_key == request.idempotency_key and other.attempt > request.attempt
