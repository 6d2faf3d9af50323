"""Whoever may write to the log cannot turn a healthy change back, nor let a next step begin: words need their speaker.

Five agents in memory with the effector's own gate before the fake target. What is forged is what an attacker with the
right to write to the log can write: every field right, and no signature of the process that says such things.
"""

from collections.abc import Iterator

import pytest
from held_rollout import Approved
from loop import ADMINISTRATOR, EFFECTOR, EXECUTOR, PLANNER, POLICY, Loop, signers
from rollout import Rollout, authorization
from rollout import plan as rollout_plan

from autopilot.agents.executor.states import COMPENSATION, idempotency_key
from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.gate_state import GateState, attempt_of
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Signers, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import FailureClass, StepFailed, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import (
    ExecutionCompleted,
    ExecutionRolledBack,
    RollbackStarted,
    StepHeld,
    StepRequested,
)
from autopilot.schemas.events.planner import IncidentClosed, PlanProposed, PlanWithdrawn
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.evidence import Evidence
from autopilot.streams.fold import PartitionFold
from autopilot.streams.in_process import InProcess
from autopilot.streams.mint import Mint

SAME = frozenset({"execution_id", "plan_id", "incident_id", "step_id", "phase", "attempt"})
CODEC = Codec(BundledRegistry())
AT = {"domain": "domain-0", "service": "svc-000"}


class GatedLoop(Loop):
    """The loop, whose effector asks its gate first, as the real one does: with the log read to its end."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.fold: PartitionFold[GateState] = PartitionFold(
            self.gate, CODEC, Mint(CODEC, "effector", 1), reads_run="live"
        )
        self.told: list[DeadLettered] = []
        super().__init__(services=1)

    def read(self) -> None:
        for out in self.fold.step(self.runner.topics[str(Topic.LOG)][0][self.fold.runtime.next_offset :]):
            letter = CODEC.decode(out.value).payload
            assert isinstance(letter, DeadLettered)
            self.told.append(letter)

    def _effector(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        request = recorded.payload
        if isinstance(request, StepRequested):
            self.read()
            known = attempt_of(request) in self.fold.state.open
            if known and self.gate.refusal(self.fold.state, request, self.runner.now_us) is None:
                yield from super()._effector(recorded)


def mended() -> GatedLoop:
    """A service whose release was switched back, and nobody has judged that yet."""
    loop = GatedLoop()
    loop.run(10)
    loop.break_(loop.names[0])
    while not said(loop.runner, ExecutionCompleted):
        loop.run(1)
    assert loop.bad == set()
    return loop


def said(runner: InProcess, kind: type[Payload]) -> list[Payload]:
    return [one.payload for one in runner.read(Topic.LOG, kind)]


def turn_back(loop: GatedLoop, key: SigningKey | None) -> StepRequested:
    """A rollback of the execution, and the request to undo its only step, as the executor would say them."""
    (asked,) = said(loop.runner, StepRequested)
    (plan,) = said(loop.runner, PlanProposed)
    assert isinstance(asked, StepRequested)
    assert isinstance(plan, PlanProposed)
    undone = plan.steps[0].compensation
    assert undone is not None
    key_of_it = idempotency_key(asked.execution_id, asked.step_id, COMPENSATION)
    request = asked.model_copy(update={"phase": COMPENSATION, "action": undone, "idempotency_key": key_of_it})
    names = asked.model_dump(include={"execution_id", "plan_id", "incident_id"})
    for payload in (RollbackStarted(**names, reason="", step_ids=[asked.step_id]), request):
        loop.runner.pipe(payload, producer="executor", key=key, **AT)
    return request


@pytest.mark.parametrize("key", [None, POLICY, EFFECTOR, SigningKey.generate("executor")])
def test_a_rollback_that_the_executor_did_not_sign_is_refused_and_told(key: SigningKey | None) -> None:
    loop = mended()
    request = turn_back(loop, key)
    loop.read()
    assert (
        loop.gate.refusal(loop.fold.state, request, loop.runner.now_us) == "no rollback of the execution is under way"
    )
    assert [(letter.error_class, letter.field) for letter in loop.told] == [("unauthorised", "signature")] * 2
    assert all(letter.expected == "of a principal with the role executor" for letter in loop.told)
    loop.run(60)
    assert loop.bad == set()
    assert [closed.resolution for closed in said(loop.runner, IncidentClosed)] == ["remediated"]
    assert len(said(loop.runner, OutcomeVerified)) == 1


def test_what_the_executors_own_key_signs_is_carried_out() -> None:
    """The same words with the right key: the forgeries above are refused for their signature, and for nothing else."""
    loop = mended()
    turn_back(loop, EXECUTOR)
    assert loop.bad == {"svc-000"}


def test_until_the_signer_list_has_an_executor_its_signature_is_not_asked_for() -> None:
    loop = mended()
    listed = Signers.model_validate_json(signers().content)
    fewer = listed.model_copy(update={"signers": [one for one in listed.signers if one.name != "executor"]})
    loop.runner.configure([document(fewer.model_dump(mode="json"))], ADMINISTRATOR)
    turn_back(loop, None)
    assert loop.bad == {"svc-000"}


class Unanswered(Rollout):
    """A rollout whose effector begins each step and never says what came of it."""

    def _effector(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        yield from (draft for draft in super()._effector(recorded) if isinstance(draft.payload, StepStarted))


@pytest.mark.parametrize("key", [None, POLICY, EXECUTOR])
def test_a_result_that_the_effector_did_not_sign_opens_nothing(key: SigningKey | None) -> None:
    rollout = Unanswered()
    rollout.begin()
    (asked,) = rollout.said(StepRequested)
    names = asked.model_dump(include=SAME)
    results = (
        StepSucceeded(**names, changed=True, after={}),
        StepFailed(**names, failure=FailureClass.PERMANENT, reason="no"),
    )
    for result in results:
        rollout.runner.pipe(result, domain="shop", service="web", producer="effector", key=key)
    assert rollout.said(StepRequested) == [asked]
    assert rollout.stages() == []
    assert rollout.said(RollbackStarted) == []
    rollout.runner.pipe(results[0], domain="shop", service="web", producer="effector", key=EFFECTOR)
    assert rollout.stages() == [asked.step_id]


AT_ROLLOUT = {"domain": "shop", "service": "web", "producer": "planner"}
WITHDRAWN = PlanWithdrawn(plan_id="plan-1", incident_id="inc-1", reason="r")
NOT_THE_PLANNER = [None, POLICY, EXECUTOR, SigningKey.generate("planner")]


@pytest.mark.parametrize("key", NOT_THE_PLANNER)
def test_a_withdrawal_that_the_planner_did_not_sign_turns_nothing_back_and_the_rollout_is_judged(
    key: SigningKey | None,
) -> None:
    rollout = Rollout()
    rollout.begin()
    rollout.runner.pipe(WITHDRAWN, key=key, **AT_ROLLOUT)
    rollout.run(200)
    assert rollout.said(RollbackStarted) == []
    assert rollout.share == 100
    assert rollout.verdicts()[-1] == ("verified", "remedy", "")


def test_a_withdrawal_that_the_planner_signed_turns_back() -> None:
    rollout = Rollout()
    rollout.begin()
    rollout.runner.pipe(WITHDRAWN, key=PLANNER, **AT_ROLLOUT)
    rollout.run(200)
    assert len(rollout.said(RollbackStarted)) == 1
    assert rollout.share == 0


@pytest.mark.parametrize("key", NOT_THE_PLANNER)
def test_an_end_of_the_incident_that_the_planner_did_not_sign_turns_back_no_held_execution(
    key: SigningKey | None,
) -> None:
    approved = Approved()
    approved.approve()
    approved.run(40)
    held = approved.said(StepHeld)
    closed = IncidentClosed(incident_id="inc-1", resolution="recovered", reason="r")
    approved.runner.pipe(closed, key=key, **AT_ROLLOUT)
    approved.run(5)
    assert held
    assert approved.said(RollbackStarted) == []
    approved.runner.pipe(closed, key=PLANNER, **AT_ROLLOUT)
    approved.run(5)
    assert len(approved.said(RollbackStarted)) == 1


def test_a_plan_that_was_withdrawn_as_it_was_authorised_is_turned_back_and_that_is_judged() -> None:
    """The planner had not read the authorisation yet, nor the executor the withdrawal when it began."""
    rollout = Rollout()
    proposed = rollout_plan()
    at = {"domain": "shop", "service": "web", "correlation_id": "inc-1"}
    rollout.runner.pipe(proposed, producer="planner", key=PLANNER, **at)
    rollout.runner.append(authorization(proposed, seconds=3_000), producer="policy", key=POLICY, **at)
    rollout.runner.append(WITHDRAWN, producer="planner", key=PLANNER, **at)
    rollout.runner.settle()
    rollout.run(200)
    assert rollout.share == 0
    assert len(rollout.said(ExecutionRolledBack)) == 1
    assert [phase for _, phase, _ in rollout.verdicts()] == ["rollback"]
    evidence = Evidence(BundledRegistry())
    evidence.feed(rollout.runner.topics[str(Topic.LOG)][0])
    assert evidence.finish() == []
