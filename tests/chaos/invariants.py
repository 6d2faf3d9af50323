"""What must hold of a log, whatever was killed: pure checks over its records. Each gives findings, none is good."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loop import POLICY

from autopilot.schemas.configuration import Principal, Role
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionStarted, StepRequested
from autopilot.schemas.events.notifications import NotificationDelivered, NotificationRequested
from autopilot.schemas.events.observer import SignalRaised
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened, NoPlanFound, PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested, PlanAuthorized
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.streams.record import Record
from autopilot.streams.trust import signer_of

POLICY_PRINCIPAL = Principal(name="policy", public_key=POLICY.public_key, roles=[Role.POLICY])
Log = Sequence[Recorded[Any]]


def duplicates(log: Log) -> list[str]:
    """Event ids that stand twice in one partition."""
    counted = Counter((r.position.topic, r.position.partition, r.envelope.event_id) for r in log)
    return [f"{key} stands {n} times" for key, n in counted.items() if n > 1]


def orphans(log: Log, telemetry: Log) -> list[str]:
    """Events whose cause is not where they say it is."""
    ids = {r.position: r.envelope.event_id for r in [*log, *telemetry]}
    return [
        f"{r.event.type} at {r.position} names cause {r.envelope.cause}, where {ids.get(r.envelope.cause)} stands"
        for r in log
        if r.envelope.cause is not None and ids.get(r.envelope.cause) != r.envelope.causation_id
    ]


def unfinished(log: Log) -> list[str]:
    """Incidents that were opened and never closed."""
    closed = {r.payload.incident_id for r in log if isinstance(r.payload, IncidentClosed)}
    return [
        f"incident {r.payload.incident_id} of {r.envelope.service} was never closed"
        for r in log
        if isinstance(r.payload, IncidentOpened) and r.payload.incident_id not in closed
    ]


def missing_links(log: Log) -> list[str]:
    """Remediated incidents without the whole chain from signal to outcome."""
    by_incident: dict[str, set[type[Payload]]] = {}
    for r in log:
        by_incident.setdefault(r.envelope.correlation_id, set()).add(type(r.payload))
    chain = [PlanProposed, PlanAuthorized, ExecutionStarted, StepRequested, StepStarted, StepSucceeded]
    chain += [ExecutionCompleted, OutcomeVerified]
    raised = {r.payload.signal_id for r in log if isinstance(r.payload, SignalRaised)}
    findings = []
    for r in log:
        if isinstance(r.payload, IncidentOpened) and not set(r.payload.signal_ids) <= raised:
            findings.append(f"incident {r.payload.incident_id} names a signal that was never raised")
        if isinstance(r.payload, IncidentClosed) and r.payload.resolution == "remediated":
            missing = [c.__name__ for c in chain if c not in by_incident[r.payload.incident_id]]
            findings += [f"incident {r.payload.incident_id} is remediated without {name}" for name in missing]
    return findings


def unsigned_steps(log: Log, raw: Sequence[Sequence[Record]]) -> list[str]:
    """Steps that were started without an earlier authorisation that bears the policy's signature."""
    signed = {
        record.position
        for records in raw
        for record in records
        if signer_of(record, "PlanAuthorized", [POLICY_PRINCIPAL]) == "policy"
    }
    decisions = {r.payload.decision.decision_id: r.position for r in log if isinstance(r.payload, PlanAuthorized)}
    findings = []
    for r in log:
        if isinstance(r.payload, StepStarted):
            at = decisions.get(r.payload.decision_id)
            if at is None or at >= r.position or at not in signed:
                findings.append(f"StepStarted at {r.position} rests on no signed decision before it")
    return findings


def results(log: Log) -> list[str]:
    """Started steps without exactly one result, and executions judged other than once."""
    started = Counter(_try(r.payload) for r in log if isinstance(r.payload, StepStarted))
    ended = Counter(
        _try(r.payload) for r in log if isinstance(r.payload, StepSucceeded | StepIndeterminate | StepFailed)
    )
    findings = [f"{key} was started {n} times" for key, n in started.items() if n != 1]
    findings += [f"{key} has {ended[key]} results" for key in started if ended[key] != 1]
    verdicts = Counter(
        r.payload.outcome.execution_id + r.payload.outcome.phase
        for r in log
        if isinstance(r.payload, OutcomeVerified | OutcomeRejected | OutcomeInconclusive)
    )
    return findings + [f"execution {key} was judged {n} times" for key, n in verdicts.items() if n != 1]


def _try(payload: Any) -> tuple[str, str, str, int]:
    return payload.execution_id, payload.step_id, payload.phase, payload.attempt


def effects(log: Log, history: Sequence[str]) -> list[str]:
    """Steps whose effect did not happen exactly as often as the log says: once if it changed something."""
    done = Counter(json.loads(line)["key"] for line in history)
    key_of = {_try(r.payload): r.payload.idempotency_key for r in log if isinstance(r.payload, StepStarted)}
    changed = {key_of[_try(r.payload)] for r in log if isinstance(r.payload, StepSucceeded) and r.payload.changed}
    findings = [f"step {key} succeeded, its effect happened {done[key]} times" for key in changed if done[key] != 1]
    findings += [f"the effect of step {key} happened {n} times" for key, n in done.items() if n > 1 and key != "fault"]
    known = {"fault", *key_of.values()}
    return findings + [f"the effect of an unknown step {key} happened" for key in done if key not in known]


MUST_BE_TOLD = {PlanAuthorized: "action", NoPlanFound: "escalation", ApprovalRequested: "approval"}
"""Event -> the reason for which people are told of it; every authorisation bears the obligation here."""


def untold(log: Log, arrived: Mapping[str, int]) -> list[str]:
    """What was not told once in the log and at least once at the receiver, where each came `arrived` times."""
    requests = [r for r in log if isinstance(r.payload, NotificationRequested)]
    about = Counter((r.envelope.cause, r.payload.reason) for r in requests)
    findings = [
        f"{r.event.type} at {r.position} was told {about[r.position, reason]} times"
        for r in log
        if (reason := MUST_BE_TOLD.get(type(r.payload))) and about[r.position, reason] != 1
    ]
    asked = Counter(r.payload.notification_id for r in requests)
    answered = Counter(r.payload.notification_id for r in log if isinstance(r.payload, NotificationDelivered))
    for name in asked.keys() | answered.keys() | arrived.keys():
        if (asked[name], answered[name]) != (1, 1) or not arrived.get(name):
            times = f"asked for {asked[name]}, recorded as delivered {answered[name]}, and came {arrived.get(name, 0)}"
            findings.append(f"notification {name} was {times} times")
    return findings
