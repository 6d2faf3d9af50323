"""Replaying a recorded log, each agent on one core: fold it again and compare every output byte for byte.

The log is what five agents made of a fleet whose services break again and again and are mended, with its ticks, in one
partition. It is in memory, so that Kafka is not measured. Rates are per second of processor time: of the log's events,
all of which are read though each agent handles some only, and beside them of the events that it handles.
"""

import gc
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from loop import Loop

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.observer import Observer
from autopilot.agents.planner import Planner
from autopilot.agents.policy import PolicyAgent
from autopilot.agents.verifier import Verifier
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Position
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.record import EVENT_TYPE, Record
from autopilot.streams.replay import Recordings, replay
from bench.measure import Figure

SERVICES, ROUNDS, ROUND_S = 40, 20, 30
CHUNK = 500
REPEATS = 3
CODEC = Codec(BundledRegistry())
DECISIONS = frozenset({b"PlanAuthorized", b"PlanDenied", b"ApprovalRequested"})


def topics() -> dict[str, list[Record]]:
    """The log and the telemetry of a fleet that breaks in every round."""
    loop = Loop(services=SERVICES)
    loop.run(10)
    for _ in range(ROUNDS):
        for name in loop.names:
            loop.break_(name)
        loop.run(ROUND_S)
    return {str(topic): loop.runner.topics[str(topic)][0] for topic in (Topic.LOG, Topic.TELEMETRY)}


def figures() -> Iterator[Figure]:
    """Taking note of what was recorded, then each agent."""
    recorded = topics()
    log = recorded[str(Topic.LOG)]
    kinds = Counter(record.headers[EVENT_TYPE].decode() for record in log)
    mix = ", ".join(f"{kind} {count / len(log):.0%}" for kind, count in kinds.most_common(6))
    yield Figure("events in the log", len(log), "events", note=f"{mix} ...")
    yield Figure("taking note of the outputs", len(log) / _noting_s(recorded), "events/s", note="decoded and digested")
    for agent in (PolicyAgent(), Planner(), Executor(), Verifier(), Observer(1)):
        yield from _of(agent, recorded)


def _of(agent: Agent[Any], recorded: dict[str, list[Record]]) -> Iterator[Figure]:
    records = recorded[str(agent.reads)]
    wanted = {model.event_type().encode() for model in agent.handles}
    handled = sum(record.headers[EVENT_TYPE] in wanted for record in records)
    spent = statistics.median(_replay_s(agent, recorded) for _ in range(REPEATS))
    goal = ">= 20 k/s" if agent.reads == Topic.LOG and agent.name != "policy" else ""
    note = f"of which it handles {handled / len(records):.0%}: {handled / spent:,.0f}/s"
    yield Figure(f"replay {agent.name}", len(records) / spent, "events/s", goal, note)
    if agent.name == "policy":
        decisions = sum(record.headers[EVENT_TYPE] in DECISIONS for record in records)
        yield Figure("replay policy", decisions / spent, "decisions/s", ">= 3 k/s", f"{decisions:,} decisions")


def _recordings(recorded: dict[str, list[Record]], agents: list[str]) -> Recordings:
    recordings = Recordings(CODEC, agents)
    for records in recorded.values():
        recordings.take(records)
    return recordings


def _noting_s(recorded: dict[str, list[Record]]) -> float:
    started = time.process_time()
    Recordings(CODEC, ["planner"]).take(recorded[str(Topic.LOG)])
    return time.process_time() - started


def _replay_s(agent: Agent[Any], recorded: dict[str, list[Record]]) -> float:
    """Seconds of processor time. Raises AssertionError when the replay diverges: a rate of wrong work is none."""
    recordings, records = _recordings(recorded, [agent.name]), recorded[str(agent.reads)]

    def fetch(at: Position) -> Record:
        return recorded[at.topic][at.offset]

    gc.collect()
    started = time.process_time()
    chunks = (records[at : at + CHUNK] for at in range(0, len(records), CHUNK))
    replayed = replay(agent, CODEC, [chunks], recordings, fetch)
    spent = time.process_time() - started
    assert not replayed.divergences, replayed.divergences[0]
    return spent
