"""Forged decisions and halts against the effector on a real Kafka: what must not happen leaves no trace at a target."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from governed import REGISTRY, await_
from sagas import ADA, BOB, POLICY, act, authorization, plan, request, signers, step, step_authorization

from autopilot.agents.executor.states import execution_of, idempotency_key
from autopilot.schemas.configuration import Domain, Fleet, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import StepFailed, StepStarted, StepSucceeded
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.schemas.signing import SigningKey
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

pytestmark = pytest.mark.kafka

PROGRAM = Path(__file__).with_name("effector_program.py")
HOME = 1


@contextmanager
def effector(kafka: dict[str, str], folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The effector's process, alone in a list so that a test may put another in its place."""
    command = [sys.executable, str(PROGRAM), kafka["bootstrap.servers"], str(folder)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    try:
        yield running
    finally:
        running[0].terminate()
        try:
            running[0].wait(120)
        finally:
            if running[0].poll() is None:
                running[0].kill()
                running[0].wait()


class People:
    """Everybody who writes to the log, each with their own key."""

    def __init__(self, kafka: dict[str, str]) -> None:
        self._kafka = kafka
        self._publishers: dict[str, Publisher] = {}

    def say(self, payload: Payload, key: SigningKey | None = None) -> None:
        name = key.principal if key else "executor"
        publisher = self._publishers.setdefault(
            f"{name}/{key.public_key if key else ''}",
            Publisher(kafka=self._kafka, registry=REGISTRY, producer=name, partitions=4, key=key),
        )
        if payload.broadcast:
            publisher.broadcast(Draft(payload, ""))
        else:
            publisher.publish(Draft(payload, "shop", "", "inc"), HOME)
            publisher.flush()

    def events(self, *kinds: type[Payload], topic: Topic = Topic.LOG) -> list[Recorded[Payload]]:
        return list(read(self._kafka, REGISTRY, topic, types=kinds))

    def configure(self) -> None:
        fleet = Fleet(name="f", domains=[Domain(name="shop", partition=HOME)], services=[])
        documents = [document(fleet.model_dump(mode="json")), signers()]
        self.say(ConfigurationActivated(revision="r", documents=documents, author="ada", comment=""), ADA)

    def close(self) -> None:
        for publisher in self._publishers.values():
            publisher.close()


@pytest.fixture
def people(cluster: dict[str, str]) -> Iterator[People]:
    it = People(cluster)
    it.configure()
    yield it
    it.close()


def numbered(number: int) -> PlanProposed:
    """A plan with one step at a target of its own."""
    only = step(1, undo=False).model_copy(update={"action": act("add", f"t{number}")})
    return plan(only, plan_id=f"plan-{number}").model_copy(update={"incident_id": "inc"})


def authorise(
    people: People, number: int, key: SigningKey | None, *, held: bool = False, by: SigningKey | None = None
) -> None:
    """The plan, its decision with that signature, and the request of its step, authorised `by` when it is held."""
    of = numbered(number)
    later = time.time_ns() // 1_000 + 600_000_000
    decided = authorization(of, decision_id=f"dec-{number}", held_steps=["s1"] if held else [])
    people.say(of)
    people.say(decided.model_copy(update={"not_after_us": later}), key)
    if by is not None:
        step_only = {"plan_decision_id": f"dec-{number}", "not_after_us": later}
        people.say(step_authorization(of, "s1").model_copy(update=step_only), by)
    execution = execution_of(f"dec-{number}")
    changes = {
        "decision_id": f"dec-{number}",
        "plan_id": of.plan_id,
        "execution_id": execution,
        "idempotency_key": idempotency_key(execution, "s1", "forward"),
        "not_after_us": later,
    }
    people.say(request(of).model_copy(update=changes))


def test_a_decision_signed_by_another_key_than_the_policys_never_reaches_a_target(
    cluster: dict[str, str], people: People, tmp_path: Path
) -> None:
    forgers = [None, BOB, ADA, SigningKey.generate("policy")]
    with effector(cluster, tmp_path) as running:
        for number, key in enumerate(forgers):
            authorise(people, number, key)
        await_(lambda: len(people.events(StepFailed)) >= len(forgers), "each is refused")
        os.kill(running[0].pid, signal.SIGKILL)
        running[0].wait()
        running[0] = subprocess.Popen(running[0].args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        authorise(people, 9, POLICY)
        await_(lambda: len(people.events(StepSucceeded)) >= 1, "the policy's own decision is carried out")
    reasons = [event.payload.reason for event in people.events(StepFailed) if isinstance(event.payload, StepFailed)]
    assert reasons == ["no decision of this id was signed by the policy"] * len(forgers)
    assert [path.name for path in tmp_path.iterdir()] == ["t9"]
    letters = [event.payload for event in people.events(DeadLettered, topic=Topic.DEAD_LETTERS)]
    assert len([one for one in letters if isinstance(one, DeadLettered) and one.field == "signature"]) == len(forgers)


def test_a_held_step_never_reaches_a_target_without_the_policys_word_for_it(
    cluster: dict[str, str], people: People, tmp_path: Path
) -> None:
    forgers = [None, BOB, SigningKey.generate("policy")]
    with effector(cluster, tmp_path):
        for number, key in enumerate(forgers):
            authorise(people, number, POLICY, held=True, by=key)
        await_(lambda: len(people.events(StepFailed)) >= len(forgers), "each is refused")
        authorise(people, 9, POLICY, held=True, by=POLICY)
        await_(lambda: len(people.events(StepSucceeded)) >= 1, "the one that the policy authorised is taken")
    reasons = [event.payload.reason for event in people.events(StepFailed) if isinstance(event.payload, StepFailed)]
    assert reasons == ["step `s1` is held, and no authorisation of it was signed by the policy"] * len(forgers)
    assert [path.name for path in tmp_path.iterdir()] == ["t9"]


def test_after_a_halt_nothing_begins_until_another_person_resumes(
    cluster: dict[str, str], people: People, tmp_path: Path
) -> None:
    with effector(cluster, tmp_path):
        authorise(people, 1, POLICY)
        await_(lambda: len(people.events(StepSucceeded)) == 1, "the first step")
        people.say(Halt(scope="shop", ordered_by="bob", reason="stop"), BOB)
        authorise(people, 2, POLICY)
        await_(lambda: len(people.events(StepFailed)) == 1, "the halted step is refused")
        people.say(Resume(scope="shop", ordered_by="bob", reason="go"), BOB)
        authorise(people, 3, POLICY)
        await_(lambda: len(people.events(StepFailed)) == 2, "the same person does not resume")
        people.say(Resume(scope="shop", ordered_by="ada", reason="go"), ADA)
        authorise(people, 4, POLICY)
        await_(lambda: len(people.events(StepSucceeded)) == 2, "another person does")
    reasons = {event.payload.reason for event in people.events(StepFailed) if isinstance(event.payload, StepFailed)}
    assert reasons == {"the domain is halted"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t1", "t4"]
    halted = next(e.position.offset for e in people.events(Halt) if e.position.partition == HOME)
    begun = [e.position.offset for e in people.events(StepStarted)]
    resumed = [e.position.offset for e in people.events(Resume) if e.position.partition == HOME][-1]
    assert not [offset for offset in begun if halted < offset < resumed]
