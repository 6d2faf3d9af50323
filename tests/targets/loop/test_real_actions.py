"""Effector and executor are killed at random while hundreds of actions are taken at real targets; then all is counted.

Each action's effect happened exactly once, by the target's own history, or is honestly unknown; every saga reached its
end; the audit of the whole log finds nothing. `REAL_ACTIONS` is how many actions, `REAL_ACTIONS_ON` names the rigs,
`CHAOS_SEED` repeats the choices.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from catalogue import RIGS, RunnableRig
from harness import Platform
from plans import failing_step, first_step, outcome, proposal
from real_process import NAMES, PARTITIONS, SEALER, SEALS
from sagas import ADA, POLICY, signers
from waiting import eventually

from autopilot.agents.executor.states import execution_of
from autopilot.infra.effector.port import CrashClass
from autopilot.infra.effector.rig import Case
from autopilot.infra.platform.kafka import EmbeddedKafka
from autopilot.infra.platform.topics import create_topics
from autopilot.schemas.configuration import Domain, Fleet, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.audit import Audit, AuditOptions
from autopilot.streams.audit.source import LiveTopics
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read

ACTIONS = int(os.environ.get("REAL_ACTIONS", "30"))
ON = os.environ.get("REAL_ACTIONS_ON", "supervisord kubernetes").split()
REGISTRY = BundledRegistry()
PROGRAM = Path(__file__).with_name("real_process.py")
MORTALS = ("effector", "executor")
ENDS = (ExecutionCompleted, ExecutionFailed, ExecutionRolledBack)
RESULTS = (StepSucceeded, StepFailed, StepIndeterminate)
END_S = 600.0
PROGRESS = 2
"""Events between two kills, at least."""

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(1_800 + 12 * ACTIONS)]


class Log:
    """What the platform says of executions, followed as the log grows. Asked from several threads."""

    def __init__(self, kafka: dict[str, str]) -> None:
        self._kafka = kafka
        self._next = dict.fromkeys(range(PARTITIONS), 0)
        self._by_execution: dict[str, list[Payload]] = {}
        self._lock = threading.Lock()

    def of(self, execution_id: str) -> list[Payload]:
        """All that was said of an execution."""
        with self._lock:
            kinds = (StepStarted, *RESULTS, *ENDS)
            for event in read(self._kafka, REGISTRY, Topic.LOG, types=kinds, start=dict(self._next)):
                self._next[event.position.partition] = event.position.offset + 1
                self._by_execution.setdefault(event.payload.execution_id, []).append(event.payload)
            return list(self._by_execution.get(execution_id, []))

    def await_end(self, execution_id: str) -> list[Payload]:
        """All that was said of an execution, once it has ended."""
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            said = self.of(execution_id)
            if any(isinstance(payload, ENDS) for payload in said):
                return said
            time.sleep(0.1)
        raise AssertionError(f"{execution_id} has not ended: {self.of(execution_id)}")

    @property
    def length(self) -> int:
        """How much was said, as far as it was read."""
        with self._lock:
            return sum(map(len, self._by_execution.values()))

    @property
    def everything(self) -> list[Payload]:
        """All that was said of all executions."""
        self.of("")
        return [payload for said in self._by_execution.values() for payload in said]


@dataclass
class Turn:
    """One plan at a rig's target: an act, and perhaps its revert since the plan's next step cannot succeed."""

    case: Case
    undone: bool
    said: list[Payload]
    effects: int
    restored: bool

    @property
    def started(self) -> int:
        """How many actions were begun."""
        return sum(isinstance(payload, StepStarted) for payload in self.said)

    def findings(self, of_a_revert: int) -> list[str]:
        """What is not as it must be."""
        results = [p for p in self.said if isinstance(p, RESULTS)]
        unknown = any(isinstance(p, StepIndeterminate) for p in results)
        expected = self.case.effects + (of_a_revert if self.undone else 0)
        found = []
        if unknown and self.case.crash_class is not CrashClass.BLIND:
            found.append("it is unknown although its class says that it can be known")
        if self.effects > expected or (self.effects < expected and not unknown):
            found.append(f"{self.effects} effects, expected {expected}")
        if self.undone and not unknown and not self.restored:
            found.append("the revert did not restore")
        end = ExecutionRolledBack if self.undone else ExecutionCompleted
        if not unknown and not any(isinstance(p, end) for p in self.said):
            found.append(f"it did not end with {end.__name__}")
        return [f"{self.case} (undone: {self.undone}): {finding}; {self.said}" for finding in found]


class Line:
    """One rig's actions, one after another."""

    def __init__(self, name: str, rig: RunnableRig, kafka: dict[str, str], log: Log, seed: int) -> None:
        self.name = name
        self.rig = rig
        self.turns: list[Turn] = []
        self._log = log
        self._dice = random.Random(f"{seed}/{name}")
        self._publisher = _publisher(kafka, f"policy-{name}", POLICY)
        self._of_a_revert = {str(case): self._measured(case) for case in self._cases if self._reverts(case)}

    @property
    def begun(self) -> int:
        """How many actions were begun here."""
        return sum(turn.started for turn in self.turns)

    def run(self, begun_anywhere: Callable[[], int]) -> None:
        """Acts until enough actions were begun in all, and a fair part of them here."""
        while begun_anywhere() < ACTIONS or self.begun < ACTIONS // (2 * len(ON)):
            case = self._dice.choice(self._cases)
            undone = self._reverts(case) and self._dice.random() < 0.4
            turn = self._turn(case, undone)
            self.turns.append(turn)
            self._judge(turn)
        self._publisher.close()
        del self._publisher

    def findings(self) -> list[str]:
        """What is not as it must be, of all turns."""
        return [f"{self.name}: {finding}" for turn in self.turns for finding in self._of(turn)]

    def _of(self, turn: Turn) -> list[str]:
        return turn.findings(self._of_a_revert.get(str(turn.case), 0))

    @property
    def _cases(self) -> list[Case]:
        return list(self.rig.cases)

    def _reverts(self, case: Case) -> bool:
        return case.verb in self.rig.driver.reverts

    def _measured(self, case: Case) -> int:
        """How many changes a revert leaves in the target's history when nobody is killed."""
        self.rig.reset(case)
        before = self.rig.driver.observe(case.action.target)
        self.rig.driver.apply(case.action, before, "key", case.timeout_s)
        count = self.rig.effects(case)
        self.rig.driver.revert(case.action, before.state, "key-back", case.timeout_s)
        return self.rig.effects(case) - count

    def _turn(self, case: Case, undone: bool) -> Turn:
        self.rig.reset(case)
        before, count = self._state(case), self.rig.effects(case)
        number = f"{self.name}-{len(self.turns)}"
        steps = [first_step(case.action, case.timeout_s, revert=undone)]
        steps += [failing_step(case.action.driver, f"none-{number}")] if undone else []
        of, decided = proposal(number, *steps)
        for payload in (of, decided):
            draft = Draft(payload, self.name, "", of.incident_id)
            self._publisher.publish(draft, partition=ON.index(self.name))
        self._publisher.flush()
        said = self._log.await_end(execution_of(decided.decision.decision_id))
        return Turn(case, undone, said, self.rig.effects(case) - count, self._state(case) == before)

    def _judge(self, turn: Turn) -> None:
        """The verdict of this test, which has counted: a saga is over once it was judged."""
        ends = [p for p in turn.said if isinstance(p, ExecutionCompleted | ExecutionRolledBack)]
        for end in ends:
            verdict = outcome(end, "remedy" if isinstance(end, ExecutionCompleted) else "rollback")
            payload = OutcomeRejected(outcome=verdict) if self._of(turn) else OutcomeVerified(outcome=verdict)
            self._publisher.publish(Draft(payload, self.name, "", end.incident_id), partition=ON.index(self.name))
        self._publisher.flush()

    def _state(self, case: Case) -> dict[str, str]:
        state = self.rig.driver.observe(case.action.target).state
        return {key: value for key, value in state.items() if key not in case.volatile}


def _publisher(kafka: dict[str, str], producer: str, key: SigningKey) -> Publisher:
    return Publisher(kafka=kafka, registry=REGISTRY, producer=producer, partitions=PARTITIONS, key=key)


def _configure(kafka: dict[str, str]) -> None:
    fleet = Fleet(name="f", domains=[Domain(name=name, partition=i) for i, name in enumerate(ON)], services=[])
    documents = [document(fleet.model_dump(mode="json")), signers()]
    publisher = _publisher(kafka, "ada", ADA)
    publisher.broadcast(Draft(ConfigurationActivated(revision="r", documents=documents, author="ada", comment=""), ""))
    publisher.close()


@contextmanager
def _killed_at_random(platform: Platform, log: Log, seed: int) -> Iterator[None]:
    """Kills one of the mortals every few seconds, once the one before has let something happen again.

    Each is killed once before one is killed again.
    """
    over, dice = threading.Event(), random.Random(seed)

    def kill() -> None:
        length, victims = 0, list[str]()
        while not over.wait(dice.uniform(0.2, 2.5)):
            if log.length >= length + PROGRESS:
                victims = victims or dice.sample(MORTALS, len(MORTALS))
                platform.kill(victims.pop())
                length = log.length

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass
class Aftermath:
    """What is left."""

    lines: list[Line]
    kafka: dict[str, str]
    log: Log
    kills: Counter[str]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker of its own: on the one for all tests the effector of the crash points may still be alive."""
    broker = EmbeddedKafka(tmp_path_factory.mktemp("real-kafka"))
    broker.start(print)
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def aftermath(broker: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """The log and the targets after all actions."""
    config = {"bootstrap.servers": broker.bootstrap}
    create_topics(config, PARTITIONS)
    _configure(config)
    folder = tmp_path_factory.mktemp("real")
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    print(f"\n{ACTIONS} actions on {', '.join(ON)}; seed {seed}; logs in {folder}", flush=True)
    with ExitStack() as stack:
        log = Log(config)
        rigs = {name: stack.enter_context(RIGS[name].running(tmp_path_factory.mktemp(name))) for name in ON}
        (folder / "targets.yaml").write_text(yaml.safe_dump({"drivers": [dict(rig.entry) for rig in rigs.values()]}))
        lines = [Line(name, rig, config, log, seed) for name, rig in rigs.items()]
        platform = Platform(config, folder, folder / "logs", PROGRAM)
        for name in NAMES:
            platform.start(name)
        stack.callback(platform.stop)
        with _killed_at_random(platform, log, seed), _progress(lines, platform), ThreadPoolExecutor(len(lines)) as pool:
            for done in [pool.submit(line.run, lambda: sum(line.begun for line in lines)) for line in lines]:
                done.result()
        seals = (folder / SEALS).read_text()
        eventually(lambda: (folder / SEALS).read_text() != seals)  # one more, over what was said last
        platform.stop()
        yield Aftermath(lines, config, log, Counter(platform.kills))


@contextmanager
def _progress(lines: list[Line], platform: Platform) -> Iterator[None]:
    over = threading.Event()

    def tell() -> None:
        while not over.wait(15):
            done = ", ".join(f"{line.name} {line.begun}" for line in lines)
            print(f"      actions begun: {done}; killed {len(platform.kills)}", flush=True)

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_each_effect_happened_once_or_is_said_to_be_unknown(aftermath: Aftermath) -> None:
    begun = {line.name: line.begun for line in aftermath.lines}
    results = Counter(type(p).__name__ for p in aftermath.log.everything if isinstance(p, RESULTS))
    print(f"\nactions begun: {begun}, {dict(aftermath.kills)} killed, {dict(results)}", flush=True)
    assert sum(begun.values()) >= ACTIONS
    assert set(aftermath.kills) == set(MORTALS)
    assert [finding for line in aftermath.lines for finding in line.findings()] == []


def test_every_step_that_was_begun_has_one_result_and_every_saga_one_end(aftermath: Aftermath) -> None:
    said = aftermath.log.everything
    started = Counter(_attempt(p) for p in said if isinstance(p, StepStarted))
    answered = Counter(_attempt(p) for p in said if isinstance(p, RESULTS))
    ended = Counter(p.execution_id for p in said if isinstance(p, ENDS))
    assert set(started.values()) == {1}
    assert {attempt: answered[attempt] for attempt in started if answered[attempt] != 1} == {}
    assert set(ended.values()) == {1}
    assert len(ended) == sum(len(line.turns) for line in aftermath.lines)


def _attempt(payload: StepStarted | StepSucceeded | StepFailed | StepIndeterminate) -> tuple[str, str, str, int]:
    return payload.execution_id, payload.step_id, payload.phase, payload.attempt


def test_the_audit_finds_nothing_wrong(aftermath: Aftermath) -> None:
    source = LiveTopics(aftermath.kafka, REGISTRY)
    report = Audit(source, REGISTRY, AuditOptions(sealers=[SEALER.public_key])).run()
    print(f"\n{report.seals} seals over {sum(p.verified for p in report.partitions)} records", flush=True)
    assert report.violations == []
    assert report.seals > 0
