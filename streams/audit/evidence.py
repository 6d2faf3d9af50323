"""The chain of evidence in one partition of the log: no step without its decision, no decision without its signature.

One pass in the log's order. Authority is judged as it was at that offset: signer lists are folded as the runtime folds
them. Only what happened in the run that is audited is judged; a simulation or a shadow decides nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Principal, Role
from autopilot.schemas.envelope import Event, Position, Rejection
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.effector import StepIndeterminate, StepSucceeded
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.policy import PlanAuthorized, StepAuthorized
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.approvals import Approvals
from autopilot.streams.audit.findings import Finding, Kind, at
from autopilot.streams.record import EVENT_TYPE, RUN, Record
from autopilot.streams.trust import AUTHORITATIVE, SIGNED, check_activation, check_signature, signer_of

GRACE_MS = 60_000
"""How long after its deadline a missing verdict is not yet held against anyone: clocks and queues."""


@dataclass(frozen=True, slots=True)
class _Authorisation:
    """A decision that lets a plan be executed."""

    plan_id: str
    plan_hash: str
    not_after_us: int
    position: Position
    trusted: bool
    held_step_over: Mapping[str, str] = field(default_factory=dict)
    """Step -> the held step whose authorisation it needs; those that need the plan's alone are not in it."""


@dataclass(slots=True)
class _Execution:
    """An execution and how far its evidence goes."""

    plan_id: str
    phase: str = ""
    """The phase whose verdict is awaited: `remedy` or `rollback`; empty while it runs, or when none is due."""
    ended: Position | None = None
    ended_at_us: int = 0
    judged: set[str] = field(default_factory=set)


Said = Event[Any]


class Evidence:
    """Takes the records of one log partition in order, from the beginning; `finish` says where the chain is broken."""

    def __init__(self, registry: SchemaRegistry, run: str = LIVE_RUN) -> None:
        self._codec = Codec(registry)
        self._run = run.encode()
        self._configuration = Configuration()
        self._signers: list[Principal] = []
        self._findings: list[Finding] = []
        self._now_us = 0
        self._plans: dict[str, tuple[str, int]] = {}
        self._order: dict[str, list[str]] = {}
        self._gates: dict[tuple[str, str], frozenset[str]] = {}
        self._stages: set[tuple[str, str]] = set()
        self._authorised: dict[str, _Authorisation] = {}
        self._revoked: dict[str, int] = {}
        self._steps: dict[tuple[str, str], _Authorisation] = {}
        self._approvals = Approvals()
        self._executions: dict[str, _Execution] = {}
        self._started: set[tuple[str, str, str, int]] = set()
        self._handlers: dict[str, Callable[[Record, Said], None]] = {
            "Tick": self._tick,
            "PlanProposed": self._plan_proposed,
            "PlanAuthorized": self._plan_authorized,
            "StepAuthorized": self._step_authorized,
            "AuthorizationRevoked": self._authorization_revoked,
            "ApprovalRequested": self._approval_requested,
            "ApprovalGranted": self._approval_granted,
            "ExecutionStarted": self._execution_started,
            "StepRequested": self._step_requested,
            "StepStarted": self._step_started,
            "StepSucceeded": self._step_ended,
            "StepIndeterminate": self._step_ended,
            "ExecutionCompleted": self._execution_completed,
            "ExecutionRolledBack": self._execution_rolled_back,
            "OutcomeVerified": self._outcome,
            "OutcomeRejected": self._outcome,
            "OutcomeInconclusive": self._outcome,
        }

    @property
    def signers(self) -> list[Principal]:
        """Who may sign, as the last configuration that counts says."""
        return self._signers

    def feed(self, records: Sequence[Record]) -> None:
        """Takes the records that follow."""
        for record in records:
            name = record.headers.get(EVENT_TYPE, b"").decode(errors="replace")
            if name not in self._handlers and name not in SIGNED:
                continue
            if record.headers.get(RUN, self._run) != self._run:
                continue
            try:
                self._take(record, self._codec.decode(record.value))
            except ContractError as error:
                self._find(Kind.UNDECODABLE, record, str(error))

    def finish(self) -> list[Finding]:
        """Every finding, in the order of offsets; executions without a verdict are judged by the last tick."""
        for execution_id, execution in self._executions.items():
            if execution.ended is not None and execution.phase not in execution.judged:
                self._findings.append(self._unjudged(execution_id, execution, execution.ended))
        return sorted(self._findings, key=lambda finding: finding.position)

    # -- trust -------------------------------------------------------------------------------------------------------

    def _take(self, record: Record, event: Said) -> None:
        if isinstance(event.payload, ConfigurationActivated):
            self._activate(record, event)
        elif event.type in AUTHORITATIVE and signer_of(record, event.type, self.signers) is None:
            detail = f"a `{event.type}` without a signature of a known signer: it is foreign, and does not count"
            self._find(Kind.SIGNATURE, record, detail)
        elif isinstance(refused := check_signature(record, event.type, self.signers), Rejection):
            detail = f"a `{event.type}` with a signature {refused.value}, not {refused.expected}: it does not count"
            self._find(Kind.SIGNATURE, record, detail)
            return
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(record, event)

    def _activate(self, record: Record, event: Event[ConfigurationActivated]) -> None:
        outcome = check_activation(record, event, self._configuration)
        if isinstance(outcome, Rejection):
            self._find(Kind.SIGNATURE, record, f"a `ConfigurationActivated` that does not count: {outcome}")
        else:
            self._configuration = outcome
            self._signers = outcome.signers()

    def _signed_by_role(self, record: Record, event: Said, role: Role) -> bool:
        name = signer_of(record, event.type, self.signers)
        return any(principal.name == name and role in principal.roles for principal in self.signers)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _tick(self, _record: Record, event: Said) -> None:
        self._now_us = max(self._now_us, event.payload.at_us)

    def _plan_proposed(self, _record: Record, event: Said) -> None:
        plan = event.payload
        self._plans[plan.plan_id] = (plan.plan_hash, plan.verification.deadline_ms)
        self._order[plan.plan_id] = [step.step_id for step in plan.steps]
        before: frozenset[str] = frozenset()
        for step in plan.steps:
            self._gates[plan.plan_id, step.step_id] = before
            before |= frozenset([step.step_id] if step.gate is not None else [])

    def _approval_requested(self, _record: Record, event: Said) -> None:
        self._approvals.requested(event.payload)

    def _approval_granted(self, record: Record, event: Said) -> None:
        signed_by = signer_of(record, event.type, self.signers)
        self._approvals.granted(event.envelope.event_id, event.payload, signed_by, self.signers)

    def _plan_authorized(self, record: Record, event: Said) -> None:
        decision, held_step_over = event.payload.decision, self._held_steps(event.payload)
        trusted = self._signed_by_role(record, event, Role.POLICY)
        known = self._authorised.get(decision.decision_id)
        if trusted or known is None or not known.trusted:  # what bears no signature takes nothing away
            self._authorised[decision.decision_id] = _Authorisation(
                decision.plan_id,
                decision.plan_hash,
                event.payload.not_after_us,
                record.position,
                trusted,
                held_step_over,
            )
        if self._plans.get(decision.plan_id, ("", 0))[0] != decision.plan_hash:
            self._find(
                Kind.NO_DECISION, record, f"authorises plan `{decision.plan_id}`, of which no such hash was proposed"
            )
        begun = [step_id for step_id in self._order.get(decision.plan_id, []) if step_id not in held_step_over]
        for fault in self._approvals.faults(event.payload, begun):
            self._find(Kind.NOT_AUTHORISED, record, fault)

    def _held_steps(self, authorized: PlanAuthorized) -> dict[str, str]:
        steps = self._order.get(authorized.decision.plan_id, [])
        over = {step_id: authorized.held_step_over(steps, step_id) for step_id in steps}
        return {step_id: held for step_id, held in over.items() if held}

    def _step_authorized(self, record: Record, event: Said) -> None:
        said: StepAuthorized = event.payload
        whole = self._authorised.get(said.plan_decision_id)
        if whole is None or (whole.plan_id, whole.plan_hash) != (said.decision.plan_id, said.decision.plan_hash):
            detail = (
                f"authorises step `{said.step_id}` under `{said.plan_decision_id}`, which did not authorise its plan"
            )
            self._find(Kind.NO_DECISION, record, detail)
            return
        trusted = self._signed_by_role(record, event, Role.POLICY)
        name = (said.plan_decision_id, said.step_id)
        if name not in self._steps or (trusted and not self._steps[name].trusted):
            self._steps[name] = _Authorisation(
                whole.plan_id, whole.plan_hash, said.not_after_us, record.position, trusted
            )
        begun = [step_id for step_id, held in whole.held_step_over.items() if held == said.step_id]
        for fault in self._approvals.faults(said, begun):
            self._find(Kind.NOT_AUTHORISED, record, fault)

    def _authorization_revoked(self, record: Record, event: Said) -> None:
        """Only the policy's own word revokes: what anybody else wrote under that name changes nothing."""
        signed_by = signer_of(record, event.type, self.signers)
        if not self._signed_by_role(record, event, Role.POLICY):
            if signed_by is not None:
                self._find(Kind.SIGNATURE, record, f"an `{event.type}` signed by `{signed_by}`, who may not revoke")
            return
        self._revoked.setdefault(event.payload.decision_id, record.position.offset)

    # -- executions --------------------------------------------------------------------------------------------------

    def _execution_started(self, record: Record, event: Said) -> None:
        execution = event.payload
        self._executions.setdefault(execution.execution_id, _Execution(execution.plan_id))
        self._judge(record, event, forward=True)

    def _step_requested(self, record: Record, event: Said) -> None:
        self._past_gates(record, event)
        self._judge(record, event, forward=event.payload.phase == "forward")

    def _step_started(self, record: Record, event: Said) -> None:
        step = event.payload
        self._started.add((step.execution_id, step.step_id, step.phase, step.attempt))
        self._past_gates(record, event)
        self._judge(record, event, forward=step.phase == "forward")

    def _judge(self, record: Record, event: Said, *, forward: bool) -> None:
        """Whether what is done was allowed when it was begun. What undoes may come late, but not without a decision."""
        payload, envelope = event.payload, event.envelope
        authorised = self._authorised.get(payload.decision_id)
        if authorised is None or authorised.plan_id != payload.plan_id:
            self._find(
                Kind.NO_DECISION, record, f"rests on decision `{payload.decision_id}`, which did not authorise it"
            )
            return
        if not authorised.trusted:
            detail = f"rests on the decision at {authorised.position}, which the policy's key did not sign"
            self._find(Kind.NOT_AUTHORISED, record, detail)
        if not forward:
            return
        revoked = self._revoked.get(payload.decision_id)
        if revoked is not None and envelope.cause_offset > revoked:
            self._find(Kind.NOT_AUTHORISED, record, f"its decision had been revoked at offset {revoked}")
        over = authorised.held_step_over.get(getattr(payload, "step_id", ""))
        until = authorised if over is None else self._step(record, payload.decision_id, over)
        if until is not None and envelope.occurred_at_us > until.not_after_us:
            self._find(Kind.NOT_AUTHORISED, record, f"begun after {until.not_after_us}, when its decision ended")

    def _step(self, record: Record, decision_id: str, step_id: str) -> _Authorisation | None:
        """The authorisation of a held step, or None when there is none that the policy signed."""
        found = self._steps.get((decision_id, step_id))
        if found is None:
            self._find(Kind.NOT_AUTHORISED, record, f"step `{step_id}` is held, and nothing before this authorised it")
        elif not found.trusted:
            detail = f"step `{step_id}` rests on the authorisation at {found.position}, which the policy did not sign"
            self._find(Kind.NOT_AUTHORISED, record, detail)
        return found

    def _past_gates(self, record: Record, event: Said) -> None:
        """Whether every gate before a forward step had been passed."""
        step = event.payload
        gates = self._gates.get((step.plan_id, step.step_id), frozenset()) if step.phase == "forward" else ()
        for gate in sorted(gates):
            if (step.execution_id, gate) not in self._stages:
                detail = f"step `{step.step_id}` is past the gate of `{gate}`, whose stage had not been verified"
                self._find(Kind.NOT_VERIFIED, record, detail)

    def _step_ended(self, record: Record, event: Said) -> None:
        """A later try of what is done or cannot be known begins nothing, nor does undoing what never began."""
        step = event.payload
        tries = range(1, step.attempt + 1) if isinstance(step, StepIndeterminate) else (step.attempt,)
        began = any((step.execution_id, step.step_id, step.phase, attempt) in self._started for attempt in tries)
        if not began and not (isinstance(step, StepSucceeded) and not step.changed):
            self._find(Kind.NOT_STARTED, record, f"step `{step.step_id}` has a result, and no `StepStarted` before it")

    # -- verdicts ----------------------------------------------------------------------------------------------------

    def _execution_completed(self, record: Record, event: Said) -> None:
        self._ended(record, event, "remedy")

    def _execution_rolled_back(self, record: Record, event: Said) -> None:
        self._ended(record, event, "rollback")

    def _ended(self, record: Record, event: Said, phase: str) -> None:
        execution = self._executions.get(event.payload.execution_id)
        if execution is None:
            self._find(Kind.NO_DECISION, record, f"execution `{event.payload.execution_id}` ends, and never started")
            return
        execution.phase = phase
        execution.ended = record.position
        execution.ended_at_us = event.envelope.occurred_at_us

    def _outcome(self, _record: Record, event: Said) -> None:
        outcome = event.payload.outcome
        if outcome.phase == "stage" and isinstance(event.payload, OutcomeVerified):
            self._stages.add((outcome.execution_id, outcome.step_id))
        execution = self._executions.get(outcome.execution_id)
        if execution is not None:
            execution.judged.add(outcome.phase)

    def _unjudged(self, execution_id: str, execution: _Execution, ended: Position) -> Finding:
        _, deadline_ms = self._plans.get(execution.plan_id, ("", 0))
        due_us = execution.ended_at_us + (deadline_ms + GRACE_MS) * 1_000
        if self._now_us > due_us:
            return at(Kind.NOT_VERIFIED, ended, f"execution `{execution_id}` has no verdict on its {execution.phase}")
        return at(Kind.PENDING, ended, f"execution `{execution_id}` waits for the verdict on its {execution.phase}")

    def _find(self, kind: Kind, record: Record, detail: str) -> None:
        self._findings.append(at(kind, record.position, detail))
