"""Verdicts a second of the verifier in the in-process runner: codec, envelopes and fold, as they run live.

    python -m bench verifier

Each verdict is a whole course: plan, execution, the window before, the window after, the outcome. A stage adds a window
of two groups, whose shares and guard are compared at any moment. Only the runner's work is timed, not the making of
what it is told.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import count

from scenario import START_US
from verifier import measured

from autopilot.agents.verifier import Verifier
from autopilot.schemas.configuration import Principal, Role, Signers, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.events.executor import StageReached
from autopilot.schemas.events.observer import MeasurementTaken, Samples
from autopilot.schemas.events.planner import PlanProposed, StageGate
from autopilot.schemas.events.telemetry import Group, MeasurementRequested
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess
from bench.measure import Figure

ROUNDS = 7
AT_A_TIME = 50
"""Executions that are judged side by side in one round."""
ADMINISTRATOR = SigningKey.from_bytes("ada", b"a" * 32)
GROUPS = [Group(name=name, attributes={"service.instance.id": f"{name}-*"}) for name in ("canary", "control")]


class Courses:
    """A runner with a verifier, and executions that go through it."""

    def __init__(self, *, staged: bool) -> None:
        self.staged = staged
        self.numbers = count()
        self.asked = 0
        self.took_s = 0.0
        self.runner = InProcess([Verifier()], start_us=START_US)
        people = [Principal(name="ada", public_key=ADMINISTRATOR.public_key, roles=[Role.ADMINISTRATOR])]
        signers = document(Signers(name="s", signers=people).model_dump(mode="json"))
        self.runner.configure([*measured.documents(), signers], ADMINISTRATOR)

    def run(self) -> float:
        """Takes some executions to their verdicts; gives how many verdicts there were a second."""
        names = [
            {"execution_id": f"exe-{n}", "plan_id": f"plan-{n}", "incident_id": f"inc-{n}"}
            for n in (next(self.numbers) for _ in range(AT_A_TIME))
        ]
        self._say([self._plan(one) for one in names])
        self._say([measured.STARTED.model_copy(update=one) for one in names])
        self._answer(0.4)
        if self.staged:
            self._say([StageReached(**one, step_id="1") for one in names])
            self._answer(0.0)
        self._say([measured.COMPLETED.model_copy(update=one) for one in names])
        self._answer(0.0)
        verdicts = len(self.runner.read(Topic.LOG, OutcomeVerified))
        if verdicts < AT_A_TIME * (2 if self.staged else 1):
            raise RuntimeError(f"{verdicts} verdicts about {AT_A_TIME} executions, staged: {self.staged}")
        return verdicts / self.took_s

    def _plan(self, names: dict[str, str]) -> PlanProposed:
        gate = StageGate(
            slo_names=[], guard_metrics=["memory"], settle_ms=0, after_ms=60_000, deadline_ms=300_000, groups=GROUPS
        )
        plan = measured.plan({"1": gate if self.staged else None})
        return plan.model_copy(update={key: names[key] for key in ("plan_id", "incident_id")})

    def _answer(self, bad: float) -> None:
        asked = self.runner.read(Topic.TELEMETRY, MeasurementRequested)
        fresh, self.asked = asked[self.asked :], len(asked)
        self._say([_answer(one.payload, bad) for one in fresh])

    def _say(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            self.runner.append(payload, domain="shop", service="cart")
        started = time.perf_counter()
        self.runner.settle()
        self.took_s += time.perf_counter() - started


def _answer(request: MeasurementRequested, bad: float) -> MeasurementTaken:
    answer = measured.taken(request, bad, buckets=30)
    grouped: list[Samples] = [
        one.model_copy(update={"name": f"{one.name}@{group.name}"})
        for group in request.groups
        for one in answer.samples
    ]
    return answer.model_copy(update={"samples": [*answer.samples, *grouped]})


def figures() -> Iterator[Figure]:
    """Without and with a stage."""
    for staged, name in ((False, "executions judged as a whole"), (True, "stages and wholes, a canary at each stage")):
        rates = [Courses(staged=staged).run() for _ in range(ROUNDS)]
        yield Figure(f"verifier: {name}", statistics.median(rates), "verdicts/s", note="in-process runner, one core")
