"""An effector that dies where it is told to, and the log by which it is asked: plans, decisions, requests, results."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import TopicPartition
from mortal_process import MID_EFFECT
from plans import first_step, proposal, reverting
from sagas import ADA, POLICY, signers

from autopilot.agents.executor.states import execution_of, idempotency_key
from autopilot.infra.effector.rig import Rig
from autopilot.infra.platform.topics import recreate_topics
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import RollbackStarted, StepRequested
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import Action, PlanProposed
from autopilot.schemas.events.policy import PlanAuthorized
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.kafka import plain_consumer, read_some
from autopilot.streams.publisher import Publisher
from autopilot.streams.record import EVENT_TYPE

PROGRAM = Path(__file__).with_name("mortal_process.py")
REGISTRY = BundledRegistry()
PARTITIONS = 1
DIES_S = 300.0
LOOK_AGAIN_S = 0.002
"""How often the target is looked at in the middle of an effect, unless a look takes longer: then half of the time."""
ANSWERS_S = 300.0
RESULTS = (StepSucceeded, StepFailed, StepIndeterminate)
CODEC = Codec(REGISTRY)
FOLLOWED = {kind.event_type().encode() for kind in (StepStarted, *RESULTS)}


class Processes:
    """One process of `mortal_process` after another, forked from one that has loaded the code."""

    def __init__(self, log: Path, *arguments: str) -> None:
        paths = (Path(__file__).parent, Path(__file__).parents[1] / "unit")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(path) for path in paths)}
        command, pipe = [sys.executable, str(PROGRAM), *arguments], subprocess.PIPE
        with log.open("ab") as errors:
            self._parent = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=errors, env=environment)
        self._pid: int | None = None
        self._exit_code: int | None = None

    def start(self) -> None:
        """Starts the next one, unless the last one runs."""
        if self._pid is None or self.exit_code() is not None:
            assert self._parent.stdin is not None
            self._parent.stdin.write(b"\n")
            self._pid = self._told()

    def exit_code(self, within_s: float = 0.0) -> int | None:
        """How the last one ended, at the latest after this time; None while it runs."""
        if self._pid is not None and select.select([self._parent.stdout], [], [], within_s)[0]:
            self._pid, self._exit_code = None, self._told()
        return self._exit_code if self._pid is None else None

    def kill(self) -> None:
        """Kills the one that runs, and returns when it is dead."""
        if self._pid is not None and self.exit_code() is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._pid, self._exit_code = None, self._told()

    def close(self) -> None:
        """Ends all of them."""
        self.kill()
        self._parent.communicate()

    def _told(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())


class MortalEffector:
    """The effector's process with one rig's driver, and a Kafka of one partition."""

    def __init__(self, bootstrap: str, rig: Rig, folder: Path) -> None:
        self._kafka = {"bootstrap.servers": bootstrap}
        self._control = folder / "control"
        self._rig = rig
        self._asked = 0
        self._told: list[Payload] = []
        targets = folder / "targets.yaml"
        targets.write_text(yaml.safe_dump({"drivers": [dict(rig.entry)]}))
        self._log = folder / "effector.log"
        self._processes = Processes(self._log, bootstrap, str(targets), str(self._control), str(PARTITIONS))
        recreate_topics(self._kafka, PARTITIONS)
        activation = ConfigurationActivated(revision="r", documents=[signers()], author="ada", comment="")
        with_ada = self._publisher("ada", ADA)
        with_ada.broadcast(Draft(activation, ""))
        with_ada.close()
        self._policy = self._publisher("policy", POLICY)
        self._executor = self._publisher("executor", None)
        self._log_reader = plain_consumer(self._kafka, "mortal-log")
        self._log_reader.assign([TopicPartition(str(Topic.LOG), 0, 0)])

    def _publisher(self, producer: str, key: SigningKey | None) -> Publisher:
        return Publisher(kafka=self._kafka, registry=REGISTRY, producer=producer, partitions=PARTITIONS, key=key)

    # -- the process -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it, unless it runs."""
        self._processes.start()

    def dies_at(self, point: str) -> None:
        """From now on it dies at this point, once."""
        self._control.write_text(point)

    def await_death(self, point: str, effect_is_seen: Callable[[], bool]) -> None:
        """Returns when it is dead. In the middle of the effect it is killed here, at the first sign of the effect."""
        until = time.monotonic() + DIES_S
        look_again_s = LOOK_AGAIN_S
        while (code := self._processes.exit_code(look_again_s)) is None:
            looked = time.monotonic()
            assert looked < until, f"it did not die {point}:\n{self.log}"
            if point == MID_EFFECT and effect_is_seen():
                self._processes.kill()
                self._control.unlink()
            look_again_s = max(LOOK_AGAIN_S, time.monotonic() - looked)
        assert code == -signal.SIGKILL, f"it ended by itself:\n{self.log}"

    def stop(self) -> None:
        """Ends the process and closes what was opened."""
        self._control.unlink(missing_ok=True)
        self._processes.close()
        self._policy.close()
        self._executor.close()
        self._log_reader.close()

    @property
    def log(self) -> str:
        """The end of what it wrote down."""
        return self._log.read_text()[-3_000:]

    # -- what is asked -----------------------------------------------------------------------------------------------

    def ask(self, action: Action, timeout_s: float, *, revert: bool = False) -> StepRequested:
        """Proposes a plan of one step, authorises it, and asks for the step. With `revert` the plan can be undone."""
        self._asked += 1
        of, decided = proposal(str(self._asked), first_step(action, timeout_s, revert=revert))
        request = _request(of, decided)
        self._say(self._policy, of, decided)
        self._say(self._executor, request)
        return request

    def ask_back(self, forward: StepRequested) -> StepRequested:
        """Turns an execution back, and asks for its step to be reverted."""
        key = idempotency_key(forward.execution_id, forward.step_id, "compensation")
        changes = {"phase": "compensation", "action": reverting(forward.action), "idempotency_key": key}
        request = forward.model_copy(update=changes)
        named = forward.model_dump(include={"execution_id", "plan_id", "incident_id"})
        self._say(self._executor, RollbackStarted(**named, reason="r", step_ids=["s1"]), request)
        return request

    def _say(self, publisher: Publisher, *payloads: Any) -> None:
        for payload in payloads:
            publisher.publish(Draft(payload, "shop", "", f"inc-{self._asked}"), partition=0)
        publisher.flush()

    # -- what is answered --------------------------------------------------------------------------------------------

    def result(self, request: StepRequested) -> Payload:
        """The one result of the attempt, once it is there."""
        until = time.monotonic() + ANSWERS_S
        while not (found := self.told(request, *RESULTS)):
            assert time.monotonic() < until, f"no answer to {request}:\n{self.log}"
            self._follow(0.2)
        (only,) = found
        return only

    def told(self, request: StepRequested, *kinds: type[Payload]) -> list[Any]:
        """What the effector has recorded of the attempt, of these kinds, as far as the log has been read."""
        attempt = (request.execution_id, request.phase)
        return [p for p in self._told if isinstance(p, kinds) and (p.execution_id, p.phase) == attempt]

    def _follow(self, wait_s: float) -> None:
        for record in read_some(self._log_reader, wait_s, 500).get(0, ()):
            if record.headers[EVENT_TYPE] in FOLLOWED:
                self._told.append(CODEC.decode(record.value).payload)


def _request(of: PlanProposed, decided: PlanAuthorized) -> StepRequested:
    """What the executor asks for."""
    (only,) = of.steps
    execution_id = execution_of(decided.decision.decision_id)
    return StepRequested(
        execution_id=execution_id,
        plan_id=of.plan_id,
        incident_id=of.incident_id,
        decision_id=decided.decision.decision_id,
        step_id=only.step_id,
        phase="forward",
        attempt=1,
        idempotency_key=idempotency_key(execution_id, only.step_id, "forward"),
        action=only.action,
        timeout_ms=only.timeout_ms,
        not_after_us=decided.not_after_us,
    )
