"""Executor and effector together: whatever dies or fails on the way, the targets are as the log says they are."""

from typing import Any

from effector_bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st
from sagas import POLICY, SECOND_US, authorization, plan, step

from autopilot.agents.executor import Executor
from autopilot.infra.effector.port import PermanentError, TargetError, TransientError
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import (
    BreakerOpened,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRolledBack,
)
from autopilot.schemas.events.runtime import Tick
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint

ENDS = (ExecutionCompleted, ExecutionFailed, ExecutionRolledBack)
MISHAPS = st.sampled_from(
    [
        "",
        "",
        "",
        "before_intent",
        "after_intent",
        "before_result",
        "dies before",
        "dies after",
        "transient",
        "permanent",
    ]
)
VERBS = st.lists(st.sampled_from(["set", "bump", "send"]), min_size=1, max_size=3)
ROUNDS = 60
"""Seconds; enough for every back-off and time-out of three steps and their compensations."""


class World:
    """The bench with an executor on the same partition."""

    def __init__(self, verbs: list[str]) -> None:
        self.bench = Bench()
        self.executor: PartitionFold[Any] = PartitionFold(
            Executor(), self.bench.codec, Mint(self.bench.codec, "executor", 1), reads_run="live"
        )
        self.plan = plan(*(step(number, verb=verb, settle_ms=1_000) for number, verb in enumerate(verbs, start=1)))
        self.bench.say(self.plan)
        self.bench.say(authorization(self.plan), key=POLICY)

    def second(self, mishap: str) -> None:
        """A second passes; `mishap` strikes when its occasion comes."""
        errors: dict[str, TargetError] = {"transient": TransientError("busy"), "permanent": PermanentError("broken")}
        bench = self.bench
        bench.driver.error = errors.get(mishap)
        kind, _, when = mishap.partition(" ")
        bench.driver.dies = when if kind == "dies" else ""
        bench.crash = mishap if mishap.startswith(("before_", "after_")) else ""
        bench.now_us += SECOND_US
        bench.say(Tick(at_us=bench.now_us))
        for _ in range(3):
            bench.append(self.executor.step(bench.log[self.executor.runtime.next_offset :]))
            bench.run(turns=4)

    def ends(self) -> list[Any]:
        """How the execution ended."""
        events = [Recorded(record.position, self.bench.codec.decode(record.value)) for record in self.bench.log]
        return [event.payload for event in events if isinstance(event.payload, ENDS)]


@settings(max_examples=60, deadline=None)
@given(VERBS, st.lists(MISHAPS, max_size=12))
def test_the_targets_are_as_the_executions_end_says(verbs: list[str], mishaps: list[str]) -> None:
    world = World(verbs)
    for second in range(ROUNDS):
        world.second(mishaps[second] if second < len(mishaps) else "")
        if world.ends():
            break
    (end,) = world.ends()
    numbers = [world.bench.driver.numbers.get(f"t{number}", "0") for number in range(1, len(verbs) + 1)]
    if isinstance(end, ExecutionCompleted):
        assert numbers == ["1"] * len(verbs)
        assert all(world.bench.driver.effects[f"t{number}"] == 1 for number in range(1, len(verbs) + 1))
    elif isinstance(end, ExecutionRolledBack) or not end.needs_person:
        assert numbers == ["0"] * len(verbs)
    else:
        breakers = [r for r in world.bench.log if r.headers["event-type"] == BreakerOpened.event_type().encode()]
        assert breakers
