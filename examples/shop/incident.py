"""One incident of the demonstration: provoked, followed on the log step by step, and told from it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from examples.shop.stage import Stage
from examples.shop.watch import Told

DETECTED_WITHIN_S, DECIDED_WITHIN_S, DONE_WITHIN_S, VERIFIED_WITHIN_S, CLOSED_WITHIN_S = 180, 60, 180, 180, 180

ACTS = ("PlanProposed", "PlanAuthorized", "ExecutionStarted", "StepRequested", "StepStarted")
"""What would not be there if nothing was done."""
_ADVERSE = (
    "PlanDenied", "PlanWithdrawn", "ExecutionFailed", "ExecutionRolledBack", "StepIndeterminate", "OutcomeRejected",
    "OutcomeInconclusive",
)  # fmt: skip
"""What ends a plan without success."""


@dataclass(frozen=True)
class Result:
    """One line of the summary; durations in milliseconds, None where there was no such stage."""

    name: str
    incident_id: str
    outcome: str
    detected_ms: int | None
    decided_ms: int | None
    acted_ms: int | None
    verified_ms: int | None


class Incident:
    """What `provoke` leads to. Every waiting raises `NotSeenError` when its time is up."""

    def __init__(self, stage: Stage, title: str, provoke: Callable[[], None]) -> None:
        self._stage = stage
        self._log = stage.log
        self._since = len(self._log.events)
        self._plan_id = ""
        self._marks: dict[str, int] = {"provoked": time.time_ns() // 1_000_000}
        self.title = title
        self.incident_id = ""
        stage.announce(title)
        provoke()

    def await_plan(self, remedy: str) -> None:
        """Waits for a plan of that remedy; its incident is the one that is followed from here."""
        plan = self._await(
            f"a plan `{remedy}`",
            lambda told: told.event.type == "PlanProposed" and told.payload.remedy == remedy,
            DETECTED_WITHIN_S,
        )
        self.incident_id, self._plan_id = plan.payload.incident_id, plan.payload.plan_id
        self._mark_opening()

    def await_no_plan(self, reason: str) -> None:
        """Waits for the word that there is no plan, for that reason."""
        told = self._await(
            f"`NoPlanFound` because of {reason}",
            lambda told: told.event.type == "NoPlanFound" and told.payload.reason == reason,
            DETECTED_WITHIN_S,
        )
        self.incident_id = told.payload.incident_id
        self._mark_opening()

    def await_approval_request(self) -> str:
        """Waits until the plan is held for approval; gives the request's id."""
        asked = self._await_in_plan("ApprovalRequested", DECIDED_WITHIN_S)
        approval_id: str = asked.payload.approval_id
        return approval_id

    def await_authorisation(self) -> None:
        """Waits for the policy's signature under the plan."""
        self._await_in_plan("PlanAuthorized", DECIDED_WITHIN_S)

    def await_end(self, done_within_s: float = DONE_WITHIN_S) -> None:
        """Follows the authorised plan until it is verified as a whole and the incident is closed."""
        self._await_in_plan("StepSucceeded", DONE_WITHIN_S)
        self._await_in_plan("ExecutionCompleted", done_within_s)
        self._await_in_plan("OutcomeVerified", VERIFIED_WITHIN_S, lambda payload: payload.outcome.phase == "remedy")
        self.await_close()

    def await_close(self) -> None:
        """Waits until the incident is closed."""
        self._await(
            f"the end of {self.incident_id}", lambda told: self._is_mine(told, "IncidentClosed"), CLOSED_WITHIN_S
        )

    def print_timeline(self) -> None:
        """Prints the whole of it, as the command tells it from the log."""
        self._stage.autopilot.run("timeline", self.incident_id)

    def result(self, outcome: str) -> Result:
        """The summary's line."""
        return Result(
            name=self.title,
            incident_id=self.incident_id,
            outcome=outcome,
            detected_ms=self._between("provoked", "IncidentOpened"),
            decided_ms=self._between("IncidentOpened", "PlanAuthorized"),
            acted_ms=self._between("PlanAuthorized", "ExecutionCompleted"),
            verified_ms=self._between("ExecutionCompleted", "OutcomeVerified"),
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _await(self, what: str, is_it: Callable[[Told], bool], timeout_s: float) -> Told:
        return self._log.wait(what, is_it, self._since, timeout_s, self._adverse)

    def _await_in_plan(self, name: str, timeout_s: float, is_it: Callable[[Any], bool] = lambda _payload: True) -> Told:
        told = self._await(
            f"`{name}` in {self.incident_id}",
            lambda told: told.event.type == name and plan_of(told.payload) == self._plan_id and is_it(told.payload),
            timeout_s,
        )
        self._marks[name] = told.recorded_at_ms
        return told

    def _adverse(self, told: Told) -> str:
        if not self._plan_id or told.event.type not in _ADVERSE or plan_of(told.payload) != self._plan_id:
            return ""
        reason = told.payload.outcome.reason if hasattr(told.payload, "outcome") else told.payload.reason
        return f"`{told.event.type}`: {reason}"

    def _is_mine(self, told: Told, name: str) -> bool:
        return told.event.type == name and told.envelope.correlation_id == self.incident_id

    def _mark_opening(self) -> None:
        opened = self._await("its opening", lambda told: self._is_mine(told, "IncidentOpened"), DECIDED_WITHIN_S)
        self._marks["IncidentOpened"] = opened.recorded_at_ms

    def _between(self, start: str, end: str) -> int | None:
        return self._marks[end] - self._marks[start] if start in self._marks and end in self._marks else None


def plan_of(payload: Any) -> str:
    """The plan that an event is about; empty for one that is about none."""
    part = getattr(payload, "decision", None) or getattr(payload, "outcome", None) or payload
    return str(getattr(part, "plan_id", ""))
