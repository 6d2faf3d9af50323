"""One rollout, followed on the log: when the share changed, whether each gate was passed, and how it ended."""

import time
from collections.abc import Callable
from itertools import pairwise

from examples.canary.count import Count, count
from examples.canary.stage import CanaryStage
from examples.shop.incident import Incident
from examples.shop.watch import NotSeenError, Told

REMEDY = "roll-out-by-canary"
STAGE, ROLLBACK = "stage", "rollback"
_TURNS = {"forward": "", "compensation": " taken back"}
DONE_WITHIN_S = 600
STOPPED_WITHIN_S = 300
LAST_ANSWERS_S = 1.0
"""What is under way when a rollout ends is written down a little later."""


class Rollout(Incident):
    """An incident whose remedy is a rollout. `expects_rejection`: it is to be stopped at a gate and rolled back."""

    def __init__(
        self, stage: CanaryStage, title: str, provoke: Callable[[], None], *, expects_rejection: bool = False
    ) -> None:
        self._canary_stage = stage
        self._expects_rejection = expects_rejection
        self._from_ms = _now_ms()
        super().__init__(stage, title, provoke)

    def await_rejection(self) -> Told:
        """Waits until a gate was not passed, and everything was undone; gives the verdict."""
        verdict = self._await_in_plan("OutcomeRejected", STOPPED_WITHIN_S, lambda p: p.outcome.phase == STAGE)
        self._await_in_plan("ExecutionRolledBack", STOPPED_WITHIN_S)
        self._await_in_plan("OutcomeVerified", STOPPED_WITHIN_S, lambda p: p.outcome.phase == ROLLBACK)
        return verdict

    def passed_gates(self) -> list[str]:
        """The steps whose gates were passed, in order."""
        return [
            told.payload.outcome.step_id
            for told in self._mine("OutcomeVerified")
            if told.payload.outcome.phase == STAGE
        ]

    def counts(self) -> list[tuple[str, Count]]:
        """Every request from the beginning until now, by the share that the canary had when it was sent.

        A share ends when the next one is known to be reached.
        """
        time.sleep(LAST_ANSWERS_S)
        moments = [(self._from_ms, "before"), *((at, name) for at, name in self._turns("StepSucceeded"))]
        ends = [*(at for at, _ in moments[1:]), _now_ms()]
        return [(name, self._count(at, end)) for (at, name), end in zip(moments, ends, strict=True)]

    def steady_counts(self) -> list[tuple[str, Count]]:
        """The same for each share but the last, without the requests that were sent while the next one was set."""
        reached, begun = self._turns("StepSucceeded"), dict(reversed([(n, at) for at, n in self._turns("StepStarted")]))
        return [(name, self._count(at, begun[following])) for (at, name), (_, following) in pairwise(reached)]

    def _count(self, from_ms: int, until_ms: int) -> Count:
        return count(self._canary_stage.requests_file, from_ms, until_ms)

    def _turns(self, event: str) -> list[tuple[int, str]]:
        """When that was said of each share that was set or taken back."""
        steps = {
            told.payload.step_id: f"canary at {told.payload.action.parameters['percent']} %"
            for told in self._mine("StepRequested")
            if told.payload.action.verb == "split"
        }
        found = [told for told in self._mine(event) if told.payload.step_id in steps]
        return [(told.recorded_at_ms, steps[told.payload.step_id] + _TURNS[told.payload.phase]) for told in found]

    def _mine(self, *names: str) -> list[Told]:
        return [told for told in self._log.events[self._since :] if any(self._is_mine(told, name) for name in names)]

    def _adverse(self, told: Told) -> str:
        expected = self._expects_rejection and getattr(getattr(told.payload, "outcome", None), "phase", STAGE) == STAGE
        return "" if expected and told.event.type != "ExecutionFailed" else super()._adverse(told)


def require(condition: bool, complaint: str) -> None:
    """Raises `NotSeenError` with the complaint unless the condition holds."""
    if not condition:
        raise NotSeenError(complaint)


def whole_of(counts: list[tuple[str, Count]]) -> Count:
    """All stages together."""
    first, *others = (one for _, one in counts)
    for other in others:
        first = first.plus(other)
    return first


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
