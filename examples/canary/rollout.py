"""One rollout, followed on the log: when the share changed, whether each gate was passed, and how it ended."""

import time
from collections.abc import Callable, Iterator

from examples.canary.count import Count, count
from examples.canary.stage import CanaryStage
from examples.shop.incident import Incident
from examples.shop.watch import NotSeenError, Told

REMEDY = "roll-out-by-canary"
STAGE, ROLLBACK = "stage", "rollback"
FORWARD, COMPENSATION = "forward", "compensation"
_TURNS = frozenset({(FORWARD, "StepSucceeded"), (COMPENSATION, "StepStarted")})
DONE_WITHIN_S = 300
STOPPED_WITHIN_S = 120
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
        """Every request from the beginning until now, by the share that the canary had when it was sent."""
        time.sleep(LAST_ANSWERS_S)
        moments = [(self._from_ms, "before"), *self._shares()]
        ends = [*(at for at, _ in moments[1:]), _now_ms()]
        file = self._canary_stage.requests_file
        return [(name, count(file, at, end)) for (at, name), end in zip(moments, ends, strict=True)]

    def _shares(self) -> Iterator[tuple[int, str]]:
        """When each share was reached, or began to be taken back."""
        steps = {
            told.payload.step_id: f"canary at {told.payload.action.parameters['percent']} %"
            for told in self._mine("StepRequested")
            if told.payload.action.verb == "split"
        }
        for told in self._mine("StepSucceeded", "StepStarted"):
            payload = told.payload
            if payload.step_id in steps and (payload.phase, told.event.type) in _TURNS:
                taken_back = " taken back" if payload.phase == COMPENSATION else ""
                yield told.recorded_at_ms, steps[payload.step_id] + taken_back

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
