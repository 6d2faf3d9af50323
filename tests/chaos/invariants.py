"""What must hold of a log, whatever was killed: pure checks over its records. Each gives findings, none is good."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from autopilot.agents.agent import Agent
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Position, Recorded
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepStarted, StepSucceeded
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionStarted, StepRequested
from autopilot.schemas.events.observer import SignalRaised
from autopilot.schemas.events.planner import IncidentClosed, IncidentOpened, PlanProposed
from autopilot.schemas.events.policy import PlanAuthorized
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Record

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


def unsigned_steps(log: Log, signed: Callable[[Position], str | None]) -> list[str]:
    """Steps that were started without an earlier authorisation signed by the policy."""
    decisions = {r.payload.decision.decision_id: r.position for r in log if isinstance(r.payload, PlanAuthorized)}
    findings = []
    for r in log:
        if isinstance(r.payload, StepStarted):
            at = decisions.get(r.payload.decision_id)
            if at is None or at >= r.position or signed(at) != "policy":
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


def divergences(
    agent: Agent[Any], codec: Codec, partitions: int, records: Sequence[Record], written: Sequence[Record]
) -> Iterator[str]:
    """Where a fresh fold over one partition's `records` gives other values than the agent had `written`."""
    fold = fresh_fold(agent, codec, partitions)
    again = [out for out in fold.step(records) if out.headers.get("event-type") != b"DeadLettered"]
    recorded = [r.value for r in written]
    if len(again) != len(recorded):
        yield f"{agent.name}: a fresh fold gives {len(again)} outputs, {len(recorded)} are recorded"
    for i, (fresh, old) in enumerate(zip(again, recorded, strict=False)):
        if fresh.value != old:
            yield f"{agent.name}: output {i} is {codec.decode(fresh.value)}, recorded {codec.decode(old)}"
            return


def fresh_fold(agent: Agent[Any], codec: Codec, partitions: int) -> PartitionFold[Any]:
    """A fold of an agent from nothing, which signs nothing."""
    return PartitionFold(agent, codec, Mint(codec, agent.name, partitions), reads_run="live")
