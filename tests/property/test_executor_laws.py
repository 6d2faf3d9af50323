"""Whatever arrives in whatever order and how often: what the executor never does."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from outcomes import outcome
from sagas import (
    asked_for,
    failed,
    gate,
    ok,
    plan,
    signed,
    signers,
    started,
    step,
    step_authorization,
    unknown,
)
from scenario import START_US, Said, Told, given

from autopilot.agents.executor import Executor
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
    StepHeld,
    StepRequested,
)
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import AuthorizationRevoked, StepAuthorized
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

PLAN = plan(step(1), step(2, settle_ms=1_500), step(3, undo=False))
STEPS = st.sampled_from(["s1", "s2", "s3"])
PHASES = st.sampled_from(["forward", "forward", "compensation"])
ATTEMPTS = st.integers(1, 3)
ENDS = (ExecutionFailed, ExecutionRolledBack)

RESULTS = st.one_of(
    st.builds(started, STEPS, PHASES, ATTEMPTS),
    st.builds(ok, STEPS, PHASES, ATTEMPTS),
    st.builds(ok, STEPS, PHASES, ATTEMPTS),
    st.builds(failed, STEPS, PHASES, ATTEMPTS, st.sampled_from(FailureClass)),
    st.builds(unknown, STEPS, PHASES, ATTEMPTS),
)
REVOKED = AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r")
REJECTED = OutcomeRejected(outcome=outcome())
OTHERS: list[Told] = [
    signed(PLAN),
    Said(Halt(scope="*", ordered_by="bob", reason="r"), signed_by="bob"),
    Said(Resume(scope="*", ordered_by="ada", reason="r"), signed_by="ada"),
    Said(
        AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r"), signed_by="policy"
    ),
    PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="r"),
    OutcomeVerified(outcome=outcome()),
    REJECTED,
]
STAGED = plan(step(1, gate=gate()), step(2, gate=gate(20_000), settle_ms=1_500), step(3))
VERDICTS = st.builds(
    lambda kind, step_id: kind(outcome=outcome("stage", step_id)),
    st.sampled_from([OutcomeVerified, OutcomeVerified, OutcomeRejected, OutcomeInconclusive]),
    STEPS,
)
SECONDS = st.integers(1, 30)
EVENTS = st.sampled_from(OTHERS[1:])
STORY = st.lists(st.one_of(RESULTS, RESULTS, RESULTS, SECONDS, st.sampled_from(OTHERS)), max_size=40)


def told(story: Sequence[Told | int], of: PlanProposed = PLAN, **changes: Any) -> list[Payload]:
    """Everything that the executor says over a story in which numbers are seconds that pass."""
    scenario = given(Executor(), [signers()], Tick(at_us=START_US), of)
    said = []
    for one in [signed(of, **changes), *story]:
        if isinstance(one, int):
            scenario = scenario.after(seconds=one, step_seconds=1 if one <= 30 else 10)
        else:
            scenario = scenario.when(one)
        said += [output.payload for output in scenario.outputs if isinstance(output, Draft)]
    return said


def ends_once(kinds: Sequence[type[Payload]], story: Sequence[Told | int]) -> bool:
    """Whether it ended exactly once; one that was completed may end once more when its outcome is rejected."""
    ends = [kind for kind in kinds if kind in (*ENDS, ExecutionCompleted)]
    if len(ends) == 2 and REJECTED in story:
        return ends[0] is ExecutionCompleted and ends[1] in ENDS
    return len(ends) == 1


@settings(max_examples=250, deadline=None)
@for_all(STORY)
def test_an_execution_starts_once_ends_for_good_and_never_goes_forward_after_turning_back(
    story: list[Told | int],
) -> None:
    said = told(story)
    kinds = [type(payload) for payload in said]
    assert kinds.count(ExecutionStarted) == 1
    assert kinds.count(RollbackStarted) <= 1
    assert sum(kind in ENDS for kind in kinds) <= 1
    turned = ended = False
    for payload in said:
        turned = turned or isinstance(payload, RollbackStarted)
        if isinstance(payload, StepRequested):
            assert not ended
            assert (payload.phase == "compensation") is turned
        assert not (turned and isinstance(payload, ExecutionCompleted))
        ended = ended or isinstance(payload, ENDS)


@settings(max_examples=250, deadline=None)
@for_all(STORY)
def test_attempts_count_up_under_one_key_and_compensations_go_in_reverse(story: list[Told | int]) -> None:
    said = told(story)
    requests = [payload for payload in said if isinstance(payload, StepRequested)]
    keys: dict[tuple[str, str], str] = {}
    attempts: dict[tuple[str, str], int] = {}
    for request in requests:
        name = (request.step_id, request.phase)
        assert request.idempotency_key == keys.setdefault(name, request.idempotency_key)
        assert request.attempt == attempts.get(name, 0) + 1
        attempts[name] = request.attempt
    forward = list(dict.fromkeys(r.step_id for r in requests if r.phase == "forward"))
    undone = list(dict.fromkeys(r.step_id for r in requests if r.phase == "compensation"))
    assert forward == sorted(forward)
    assert undone == sorted(undone, reverse=True)
    assert set(undone) <= set(forward)


STAGED_STORY = st.lists(
    st.one_of(RESULTS, st.builds(ok, STEPS), VERDICTS, VERDICTS, SECONDS, st.sampled_from(OTHERS[1:])), max_size=40
)


@settings(max_examples=250, deadline=None)
@for_all(STAGED_STORY)
def test_no_step_follows_a_gate_whose_stage_was_not_verified(story: list[Told | int]) -> None:
    scenario = given(Executor(), [signers()], Tick(at_us=START_US), STAGED)
    reached: list[str] = []
    verified: set[str] = set()
    for one in [signed(STAGED), *story]:
        if isinstance(one, OutcomeVerified) and one.outcome.step_id in reached:
            verified.add(one.outcome.step_id)
        scenario = scenario.after(seconds=one, step_seconds=1) if isinstance(one, int) else scenario.when(one)
        for payload in [output.payload for output in scenario.outputs if isinstance(output, Draft)]:
            if isinstance(payload, StageReached):
                assert payload.step_id not in reached
                reached.append(payload.step_id)
            if isinstance(payload, StepRequested) and payload.phase == "forward":
                before = [f"s{n}" for n in range(1, int(payload.step_id[1:]))]
                assert set(before) <= verified


@settings(max_examples=100, deadline=None)
@for_all(STAGED_STORY)
def test_a_staged_execution_ends_once_and_within_its_deadlines(story: list[Told | int]) -> None:
    said = told(
        [*story, *[30] * 20, *[Said(Resume(scope="*", ordered_by="ada", reason="r"), signed_by="ada")], 700, 920],
        STAGED,
    )
    kinds = [type(payload) for payload in said]
    assert ends_once(kinds, story)
    assert kinds.count(RollbackStarted) <= 1
    assert kinds.count(StageReached) <= 2


HELD = ["s2", "s3"]
GRANTS = st.builds(
    lambda step_id, signer, seconds: Said(step_authorization(STAGED, step_id, seconds=seconds), signed_by=signer),
    st.sampled_from(HELD),
    st.sampled_from(["policy", "policy", "policy", "ada", None]),
    st.sampled_from([600, 600, 20]),
)
HELD_STORY = st.lists(
    st.one_of(st.builds(ok, STEPS), st.builds(ok, STEPS), RESULTS, VERDICTS, GRANTS, GRANTS, SECONDS, EVENTS),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@for_all(HELD_STORY)
def test_no_held_step_begins_without_its_own_authorisation_and_each_is_held_once(story: list[Told | int]) -> None:
    scenario = given(Executor(), [signers()], Tick(at_us=START_US), STAGED)
    waiting, granted, held = "", dict[str, int](), list[str]()
    for one in [signed(STAGED, held_steps=HELD), *story]:
        said = one.payload if isinstance(one, Said) else one
        by_policy = isinstance(one, Said) and one.signed_by == "policy"
        if isinstance(said, StepAuthorized) and by_policy and said.step_id == waiting:
            granted[said.step_id] = said.not_after_us
        scenario = scenario.after(seconds=one, step_seconds=1) if isinstance(one, int) else scenario.when(one)
        for payload in [output.payload for output in scenario.outputs if isinstance(output, Draft)]:
            if isinstance(payload, StepHeld):
                assert payload.step_id not in held
                held.append(payload.step_id)
                waiting = payload.step_id
            if isinstance(payload, StepRequested) and payload.phase == "forward" and payload.step_id in HELD:
                assert payload.step_id in held
                assert payload.not_after_us == granted[payload.step_id]
                assert scenario.now_us <= payload.not_after_us
            if isinstance(payload, RollbackStarted):
                waiting = ""


@settings(max_examples=50, deadline=None)
@for_all(HELD_STORY)
def test_a_held_execution_ends_once_whoever_answers(story: list[Told | int]) -> None:
    resume = Said(Resume(scope="*", ordered_by="ada", reason="r"), signed_by="ada")
    said = told([*story, *[30] * 20, resume, 700, 920], STAGED, held_steps=HELD)
    kinds = [type(payload) for payload in said]
    assert ends_once(kinds, story)
    assert kinds.count(RollbackStarted) <= 1
    assert kinds.count(StepHeld) <= 2


@settings(max_examples=100, deadline=None)
@for_all(st.data())
def test_every_answer_twice_says_the_same_as_once(data: st.DataObject) -> None:
    """Answers to what was asked for, each recorded once or twice, lead to the same course."""
    answers = data.draw(st.lists(st.sampled_from(["ok", "permanent", "transient"]), min_size=12, max_size=12))
    courses = []
    for times in (1, 2):
        scenario = given(Executor(), [signers()], Tick(at_us=START_US), PLAN).when(signed(PLAN))
        course: list[type[Payload]] = []
        open_requests = asked_for(scenario.drafts())
        for answer in answers:
            scenario_outputs: list[Draft] = []
            for name in open_requests:
                reply = ok(*name) if answer == "ok" else failed(*name, FailureClass(answer))
                scenario_outputs += scenario.when(*[reply] * times).drafts()
            scenario_outputs += scenario.after(seconds=4, step_seconds=1).drafts()
            open_requests = asked_for(scenario_outputs)
            course += [type(draft.payload) for draft in scenario_outputs]
        courses.append(course)
    assert courses[0] == courses[1]
