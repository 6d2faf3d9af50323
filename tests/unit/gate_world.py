"""The gate before a plan of two steps, or one of three of which two are held, and what is said of the execution."""

from typing import Any

from sagas import EXECUTION, SECOND_US, ok, plan, request, signed, signers, started, step
from scenario import START_US, Said, Scenario, given

from autopilot.infra.effector.gate import Gate
from autopilot.schemas.events.executor import ExecutionFailed, RollbackStarted, StepRequested
from autopilot.schemas.events.people import Halt
from autopilot.schemas.events.planner import IncidentClosed
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.runtime import Tick

TWO = plan()
HELD = plan(step(1), step(2), step(3))
NAMES = {"execution_id": EXECUTION, "plan_id": "plan-1", "incident_id": "inc-1"}
ROLLBACK = RollbackStarted(**NAMES, reason="r", step_ids=["s1"])
FAILED = ExecutionFailed(**NAMES, reason="r", needs_person=True, failure="permanent")
CLOSED = IncidentClosed(incident_id="inc-1", resolution="remediated", reason="r")
REVOKED = Said(
    AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="r"), signed_by="policy"
)


def halt(scope: str = "shop", by: str = "bob") -> Said:
    """A person halts the domain."""
    return Said(Halt(scope=scope, ordered_by=by, reason="r"), signed_by=by)


def authorised(**changes: Any) -> Scenario:
    """The plan of two steps is proposed and authorised."""
    return given(Gate(), [signers()], Tick(at_us=START_US), TWO, signed(TWO, **changes))


def at_a_held_step(**changes: Any) -> Scenario:
    """The first of three steps is done, and each of the others is held."""
    scenario = given(Gate(), [signers()], Tick(at_us=START_US), HELD, signed(HELD, held_steps=["s2", "s3"], **changes))
    return scenario.events(request(HELD), started(), ok())


def why_not(scenario: Scenario, asked: StepRequested | None = None, *, seconds: int = 0) -> str | None:
    """What the gate has against a step: the first of the two unless another is `asked` for, so many seconds later."""
    agent = scenario.agent
    assert isinstance(agent, Gate)
    return agent.refusal(scenario.state, asked or request(TWO), START_US + seconds * SECOND_US)
