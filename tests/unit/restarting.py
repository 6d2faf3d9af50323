"""An agent that loses its memory before every record and has it back from a snapshot: what it says is told again."""

from typing import Any

from autopilot.agents.agent import Agent
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.streams.in_process import InProcess


def said_with_restarts(agent: Agent[Any], runner: InProcess) -> list[Payload]:
    """What the agent says about all that it reads, restarted before each record."""
    said: list[Payload] = []
    state = agent.initial_state()
    for recorded in runner.read(agent.reads):
        if type(recorded.payload) not in agent.handles:
            continue
        kept = agent.dump_state(state)
        state = agent.load_state(kept)
        assert agent.dump_state(state) == kept  # by this it is told that a snapshot of other code has the same shape
        state, outputs = agent.handle(state, _signed(recorded))
        said += [output.payload for output in outputs if isinstance(output, Draft)]
    return said


def said_then(agent: Agent[Any], runner: InProcess) -> list[Payload]:
    """What the agent said, as it is recorded."""
    everything = [*runner.read(Topic.LOG), *runner.read(Topic.TELEMETRY)]
    return [one.payload for one in everything if one.envelope.producer == agent.name]


def _signed(recorded: Recorded[Payload]) -> Recorded[Payload]:
    """Who signed is known by the fold alone; here whoever produced it did."""
    return Recorded(recorded.position, recorded.event, recorded.envelope.producer, recorded.recorded_at_ms)
