"""What the gate remembers of one partition of the log, and for how long."""

from dataclasses import dataclass, field
from typing import Any

from autopilot.agents.authority import Authority
from autopilot.agents.executor.states import KnownPlan, execution_of
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Envelope, Position, Recorded
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import ExecutionStarted, StepRequested
from autopilot.schemas.events.policy import PlanAuthorized, PreviewRequested, StepAuthorized

StepResult = StepSucceeded | StepFailed | StepIndeterminate

KEPT_AFTER_CLOSE_US = 3_600_000_000
"""How long what belongs to a closed incident is remembered: an hour."""
KEPT_US = 7 * 86_400_000_000
"""How long what belongs to an incident is remembered after the last word about it."""
IN_HAND_KEPT_US = 90 * 86_400_000_000
"""How much longer it is remembered, at most, while an execution of it is in hand: 90 days."""


@dataclass(frozen=True)
class Told:
    """Where something stands in the log: enough to mint an event that it causes."""

    partition: int
    offset: int
    envelope: Envelope

    @property
    def position(self) -> Position:
        """The record's position."""
        return Position(str(Topic.LOG), self.partition, self.offset)


@dataclass(frozen=True)
class SignedDecision:
    """An authorisation as the log bears it, whose signature it was, and the address that was signed with it."""

    authorization: PlanAuthorized
    signed_by: str
    domain: str
    service: str


@dataclass(frozen=True)
class SignedStep:
    """An authorisation of a held step as the log bears it, whose signature it was, and the domain signed with it."""

    authorization: StepAuthorized
    signed_by: str
    domain: str


@dataclass(frozen=True)
class Attempt:
    """One attempt that was asked for and has no result yet. `began` and `started` once it is under way."""

    request: StepRequested
    asked: Told
    started: StepStarted | None = None
    began: Told | None = None


@dataclass(frozen=True)
class Before:
    """A target's state before an act, and the incident that the act belongs to."""

    incident_id: str
    state: dict[str, str]


@dataclass(frozen=True)
class AskedPreview:
    """A preview that was asked for."""

    request: PreviewRequested
    asked: Told


@dataclass
class GateState:
    """What the gate remembers of a partition; what belongs to an incident goes some time after it closed."""

    now_us: int = 0
    authority: Authority = field(default_factory=Authority)
    seen_us: dict[str, int] = field(default_factory=dict)
    """Incidents, and until when they are remembered."""
    plans: dict[str, KnownPlan] = field(default_factory=dict)
    decisions: dict[str, SignedDecision] = field(default_factory=dict)
    held: dict[str, SignedStep] = field(default_factory=dict)
    """By `decision/step`, the held steps that are authorised."""
    targets: dict[str, list[str]] = field(default_factory=dict)
    """`driver/target` of each service of the fleet."""
    begun: dict[str, str] = field(default_factory=dict)
    """`execution/step` of the steps that were begun forwards, and their incidents."""
    passed: dict[str, str] = field(default_factory=dict)
    """`execution/step` of the stages that the verifier has verified, and their incidents."""
    befores: dict[str, Before] = field(default_factory=dict)
    """By idempotency key, what the target was like before the first try."""
    revoked: dict[str, str] = field(default_factory=dict)
    """Revoked decisions, and their incidents."""
    undoing: dict[str, str] = field(default_factory=dict)
    """Executions whose rollback is under way, and their incidents."""
    ended: dict[str, str] = field(default_factory=dict)
    """Executions that take no forward step any more, and their incidents."""
    in_hand: dict[str, str] = field(default_factory=dict)
    """Executions that were begun, of which steps may yet be asked for or have to be undone, and their incidents: those
    that have neither failed nor been rolled back, and have no verdict that leaves them in place.
    """
    open: dict[str, Attempt] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    """Attempts with a result, and their incidents."""
    succeeded: dict[str, str] = field(default_factory=dict)
    """Idempotency keys under which something succeeded, and the incidents."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Idempotency keys under which nobody knows what happened, and the incidents."""
    previews: dict[str, AskedPreview] = field(default_factory=dict)
    """By plan, the previews that are asked for and not given yet."""


def step_of(payload: StepRequested | StepStarted) -> str:
    """The name of a step of an execution, whatever the phase and attempt."""
    return f"{payload.execution_id}/{payload.step_id}"


def attempt_of(payload: StepRequested | StepStarted | StepResult) -> str:
    """The name of an attempt: execution, step, phase and number."""
    return f"{payload.execution_id}/{payload.step_id}/{payload.phase}/{payload.attempt}"


def remember(state: GateState, incident_id: str, recorded: Recorded[Any]) -> None:
    """Notes that the incident was heard of."""
    now_us = state.now_us or recorded.envelope.occurred_at_us
    state.seen_us[incident_id] = max(state.seen_us.get(incident_id, 0), now_us + KEPT_US)


def begin(state: GateState, payload: ExecutionStarted | StepStarted) -> None:
    """Notes that an execution is in hand, if the policy has signed the decision that it is of."""
    decided, execution_id = state.decisions.get(payload.decision_id), payload.execution_id
    if decided is not None and execution_id == execution_of(payload.decision_id) and execution_id not in state.ended:
        state.in_hand[execution_id] = decided.authorization.decision.incident_id


def expired(state: GateState) -> set[str]:
    """The incidents whose time to be remembered is over.

    A halt, or an executor that is down, may leave an execution half done for as long as it lasts, and what undoes it
    must still be known then. One whose end never comes is given up in the end, so that memory stays bounded by what was
    begun in `IN_HAND_KEPT_US`.
    """
    over = {incident for incident, until_us in state.seen_us.items() if until_us < state.now_us}
    if not over:
        return over
    in_hand = set(state.in_hand.values())
    return {i for i in over if i not in in_hand or state.seen_us[i] + IN_HAND_KEPT_US < state.now_us}


def forget(state: GateState, incidents: set[str]) -> None:
    """Drops what belongs to `incidents`."""
    state.decisions = {
        decision_id: decided
        for decision_id, decided in state.decisions.items()
        if decided.authorization.decision.incident_id not in incidents
    }
    state.held = {
        name: step for name, step in state.held.items() if step.authorization.decision.incident_id not in incidents
    }
    state.plans = {p: known for p, known in state.plans.items() if known.plan.incident_id not in incidents}
    state.previews = {p: asked for p, asked in state.previews.items() if asked.request.incident_id not in incidents}
    state.open = {n: attempt for n, attempt in state.open.items() if attempt.request.incident_id not in incidents}
    named = (
        state.begun,
        state.revoked,
        state.undoing,
        state.ended,
        state.in_hand,
        state.answered,
        state.succeeded,
        state.unknown,
        state.passed,
    )
    for by_name in named:
        for name in [name for name, incident_id in by_name.items() if incident_id in incidents]:
            del by_name[name]
    state.befores = {key: before for key, before in state.befores.items() if before.incident_id not in incidents}
    for incident in incidents:
        del state.seen_us[incident]
