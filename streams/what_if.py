"""What would have been: the policy agent over a recorded log with other bundles in force from its beginning.

The sequential level of a backtest. The whole control log is folded again, partition by partition, by the same agent:
budgets, attempts, history and breakers follow the new decisions. The world is as it was recorded, with these rules:

- What an agent did because of a decision that is not made again is left out: all that names a plan which is not
  authorised now, all that was caused by a recorded decision which is not made now, and later plans of an incident whose
  earlier plan fared otherwise.
- A plan that is authorised now and was not then, or is held before other steps, has no recorded outcome. It spends its
  budget; nothing else follows.
- What people answered counts for the request as it is made now, though it may rest on other facts. A request that was
  not made then, or was about other steps, has no answer, and expires.

Pure: it reads records and writes none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from autopilot.agents.policy import PolicyAgent
from autopilot.agents.policy.holding import PolicyState
from autopilot.agents.policy.judgement import Judge
from autopilot.agents.policy.standing import Standing
from autopilot.policies.backtest import Backtest, BacktestLevel, FlippedDecision
from autopilot.policies.engine import PolicySet
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Envelope, Event, Output, Recorded, Rejection
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.people import ApprovalGranted
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, RUN, Record
from autopilot.streams.trust import AUTHORITATIVE, SIGNS, bears_policys_word, check_signature

AUTHORISED: Final = "authorised"
STEP_BY_STEP: Final = "authorised step by step"
"""Authorised, with every step but the first held until people approve it."""
TURNED_BACK: Final = "turned back at a held step"
DENIED: Final = "denied"
UNDECIDED: Final = "undecided"
_DENYING: Final = ("deny", "error")
_FATES: Final = SIGNS["policy"] | {PlanProposed.event_type()}
"""Event types that say how a plan fared, beside those whose signature the fold looks at."""
_ALWAYS_TOLD: Final = (PlanProposed, PlanWithdrawn)
"""Events that name a plan and yet are no consequence of its authorisation."""


class _CandidateJudge(Judge):
    """Judges by the candidate, whatever rules by the log."""

    def __init__(self, candidate: PolicySet) -> None:
        super().__init__()
        self._policies = candidate

    def standing(self, state: PolicyState) -> Standing:
        return replace(super().standing(state), policies=self._policies)


class WhatIfPolicy(PolicyAgent):
    """The policy agent with a candidate in force."""

    def __init__(self, candidate: PolicySet) -> None:
        super().__init__()
        self._judge = _CandidateJudge(candidate)

    def handle(self, state: PolicyState, recorded: Recorded[Any]) -> tuple[PolicyState, Sequence[Output]]:
        """See `Agent.handle`. An approval counts for the request as it is made now."""
        if isinstance(recorded.payload, ApprovalGranted):
            recorded = _bound_again(state, recorded)
        return super().handle(state, recorded)


def _bound_again(state: PolicyState, recorded: Recorded[ApprovalGranted]) -> Recorded[ApprovalGranted]:
    granted = recorded.payload
    holding = state.holdings.get(granted.plan_id)
    request = holding.request(granted.approval_id) if holding is not None else None
    if request is None:
        return recorded
    payload = granted.model_copy(update={"facts_digest": request.decision.facts_digest})
    return replace(recorded, event=Event(recorded.envelope, payload))


@dataclass
class _Fate:
    """What became of one plan, as recorded or as it would have been."""

    steps: int
    """Of the plan."""
    ending: str = UNDECIDED
    held: tuple[str, ...] | None = None
    """The steps that it is held before, if it is authorised."""
    asked: tuple[tuple[str, ...], ...] = ()
    """The `step_ids` of what people were asked, in order."""
    rules: tuple[str, ...] = ()
    reason: str = ""

    @property
    def permitted(self) -> bool:
        """Whether it is authorised, and no held step of it was turned back."""
        return self.held is not None

    def take(self, payload: Payload) -> None:
        """Notes what the policy said of the plan: its first ending counts, but for a held step that may not begin."""
        if isinstance(payload, ApprovalRequested):
            self.asked = (*self.asked, tuple(payload.step_ids))
        elif isinstance(payload, PlanAuthorized) and self.ending is UNDECIDED:
            self.held = tuple(payload.held_steps)
            self._end(_authorised(payload.held_steps, self.steps), payload.decision, ("permit",))
        elif isinstance(payload, PlanDenied) and self.ending is UNDECIDED:
            self._end(DENIED, payload.decision, _DENYING, payload.reason)
        elif isinstance(payload, AuthorizationRevoked) and payload.step_id and self.held:
            self.held = None
            self._end(TURNED_BACK, payload.verdict, _DENYING, payload.reason)

    def _end(self, ending: str, decision: Decision | None, effects: tuple[str, ...], reason: str = "") -> None:
        self.ending, self.reason = ending, reason
        held = decision.rules if decision is not None else []
        self.rules = tuple(outcome.rule for outcome in held if outcome.effect in effects)


def _authorised(held_steps: Sequence[str], steps: int) -> str:
    if held_steps and len(held_steps) < steps - 1:
        return f"{AUTHORISED}, held before {', '.join(held_steps)}"
    return STEP_BY_STEP if held_steps else AUTHORISED


@dataclass
class _Told:
    """One recorded plan: where it stands, and both its fates."""

    plan: PlanProposed
    envelope: Envelope
    then: _Fate = field(init=False)
    now: _Fate = field(init=False)
    left_out: bool = False
    consequences: int = 0
    """Recorded events that are left out because it is not authorised now."""

    def __post_init__(self) -> None:
        self.then, self.now = _Fate(len(self.plan.steps)), _Fate(len(self.plan.steps))


class _Partition:
    """One partition of the control log, folded again."""

    def __init__(self, candidate: PolicySet, codec: Codec, mint: Mint, run: str) -> None:
        self._run = run.encode()
        self.plans: dict[str, _Told] = {}
        self._codec = codec
        self._own = mint.codec
        self._fold = PartitionFold(WhatIfPolicy(candidate), codec, mint, reads_run=run)
        self._made: set[tuple[str, str, str]] = set()
        self._gone: set[str] = set()
        self._diverged: dict[str, int] = {}

    def take(self, record: Record) -> None:
        """Folds one record, unless what it tells would not have been."""
        if record.headers.get(RUN, self._run) != self._run:
            return
        try:
            event = self._codec.decode(record.value)
        except ContractError:
            return
        if event.type in _FATES and not self._counts(record, event.type):
            return
        if event.envelope.producer == PolicyAgent.name:
            self._was_said(event)
        elif not self._would_not_be(event):
            if isinstance(event.payload, PlanProposed):
                self.plans.setdefault(event.payload.plan_id, _Told(event.payload, event.envelope))
            self._say(record)

    def _counts(self, record: Record, event_type: str) -> bool:
        """Whether its speaker has signed it: what a forger says of a plan is not how it fared."""
        signers = self._fold.signers
        if event_type in AUTHORITATIVE:
            return bears_policys_word(record, event_type, signers)
        return not isinstance(check_signature(record, event_type, signers), Rejection)

    def _say(self, record: Record) -> None:
        for out in self._fold.step([record]):
            if out.headers.get(EVENT_TYPE) == b"DeadLettered":
                continue
            made = self._own.decode(out.value)
            self._made.add(_word(made))
            told = self.plans.get(plan_of(made.payload))
            if told is not None:
                told.now.take(made.payload)

    def _was_said(self, event: Event[Payload]) -> None:
        """What the policy said then: when it does not say so now, what followed from it would not have been."""
        plan_id = plan_of(event.payload)
        told = self.plans.get(plan_id)
        if told is not None:
            told.then.take(event.payload)
        made = _word(event) in self._made
        if not made:
            self._gone.add(event.envelope.event_id)
        if told is not None and _decides(event.payload) and not (made and told.then.ending == told.now.ending):
            attempt = self._diverged.get(told.plan.incident_id, told.plan.attempt)
            self._diverged[told.plan.incident_id] = min(attempt, told.plan.attempt)

    def _would_not_be(self, event: Event[Payload]) -> bool:
        payload, plan_id = event.payload, plan_of(event.payload)
        told = self.plans.get(plan_id)
        gone = bool(event.envelope.causation_id) and event.envelope.causation_id in self._gone
        if isinstance(payload, PlanProposed):
            gone = gone or payload.attempt > self._diverged.get(payload.incident_id, payload.attempt)
        elif told is not None and not isinstance(payload, _ALWAYS_TOLD):
            otherwise = told.then.permitted and told.now.ending != told.then.ending
            gone = gone or told.left_out or otherwise
        if gone:
            self._gone.add(event.envelope.event_id)
            self._count(event, told)
        return gone

    def _count(self, event: Event[Payload], told: _Told | None) -> None:
        if isinstance(event.payload, PlanProposed):
            left = _Told(event.payload, event.envelope, left_out=True)
            self.plans.setdefault(event.payload.plan_id, left)
        elif told is not None:
            told.consequences += 1


def _decides(payload: Payload) -> bool:
    """Whether it decides about a plan, or about a held step of one."""
    if isinstance(payload, AuthorizationRevoked):
        return bool(payload.step_id)
    return isinstance(payload, PlanAuthorized | PlanDenied | StepAuthorized)


def _word(event: Event[Payload]) -> tuple[str, str, str]:
    """What the policy said: of which plan, and of which step where it is about one."""
    return event.type, plan_of(event.payload), str(getattr(event.payload, "step_id", ""))


def plan_of(payload: Payload) -> str:
    """The plan that an event is about; empty for none."""
    for holder in (payload, getattr(payload, "decision", None), getattr(payload, "outcome", None)):
        plan_id = getattr(holder, "plan_id", "")
        if plan_id:
            return str(plan_id)
    return ""


def what_if(
    candidate: PolicySet, codec: Codec, partitions: Sequence[Iterable[Sequence[Record]]], run: str = LIVE_RUN
) -> Backtest:
    """Folds every partition of the control log, given as chunks of records, and lists the plans that fare otherwise."""
    mint = Mint(Codec(BundledRegistry()), PolicyAgent.name, len(partitions), run)
    plans: list[_Told] = []
    for chunks in partitions:
        partition = _Partition(candidate, codec, mint, run)
        for chunk in chunks:
            for record in chunk:
                partition.take(record)
        plans += partition.plans.values()
    return Backtest(BacktestLevel.SEQUENTIAL, candidate.title, len(plans), tuple(_flips(plans)), 0)


def _flips(plans: Iterable[_Told]) -> Iterator[FlippedDecision]:
    for told in plans:
        after = "not proposed" if told.left_out else told.now.ending
        if told.then.ending != after:
            yield FlippedDecision(
                told.plan.incident_id,
                told.plan.plan_id,
                "",
                told.envelope.domain,
                told.envelope.service,
                told.then.ending,
                after,
                told.now.rules,
                told.now.reason,
                _note(told),
            )


def _note(told: _Told) -> str:
    notes: list[str] = []
    if told.left_out:
        notes.append("an earlier plan of its incident fares otherwise, so that it is left out")
    elif told.now.permitted and told.then.permitted:
        notes.append("its steps begin at other times: what came of it is not recorded")
    elif told.now.permitted:
        notes.append("newly authorised: no outcome is recorded for it")
    elif told.now.asked and not told.then.asked:
        notes.append("people are asked now: no answer is recorded")
    elif told.now.asked != told.then.asked:
        notes.append("people are asked about other steps, or at other times: no answer to that is recorded")
    if told.consequences:
        notes.append(f"{told.consequences} events that followed are left out")
    return "; ".join(notes)
