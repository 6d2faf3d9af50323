"""What an effector says of a step that it carries out at once, for loops in memory that have no target of their own."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import StepStarted, StepSucceeded
from autopilot.schemas.events.executor import StepRequested

State = Mapping[str, str]


def answer(recorded: Recorded[Any], payload: Payload) -> Draft:
    """What is said in answer to an event, about the same domain, service and incident."""
    asked = recorded.envelope
    return Draft(payload, asked.domain, asked.service, asked.correlation_id)


def carried_out(
    recorded: Recorded[StepRequested], before: State, act: Callable[[StepRequested], State]
) -> Iterator[Draft]:
    """The step is begun on the target as it was `before`; `act` carries it out and gives what it is like after it."""
    step = recorded.payload
    attempt = {
        "execution_id": step.execution_id,
        "plan_id": step.plan_id,
        "incident_id": step.incident_id,
        "step_id": step.step_id,
        "phase": step.phase,
        "attempt": step.attempt,
    }
    decided = {"decision_id": step.decision_id, "idempotency_key": step.idempotency_key}
    yield answer(recorded, StepStarted(**attempt, **decided, crash_class="convergent", before=dict(before)))
    yield answer(recorded, StepSucceeded(**attempt, changed=True, after=dict(act(step))))
