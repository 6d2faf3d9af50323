"""What the signatures of processes cost: to sign, to check, and in a fold over the log of an ordinary incident."""

import statistics
from collections.abc import Callable, Iterator, Sequence

from loop import ADMINISTRATOR, EFFECTOR, Loop, signers

from autopilot.agents.planner import Planner
from autopilot.infra.effector.gate import Gate
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Role, Signers, document
from autopilot.schemas.contract import Topic
from autopilot.schemas.registry import BundledRegistry
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, SIGNATURE, Record
from autopilot.streams.trust import ANSWERED_FOR, check_signature
from bench.measure import Figure, rate

CALLS = 200
SEEN, UNSIGNED = "TargetObserved", "SignalRaised"
_UNASKED = {*ANSWERED_FOR.values()} - {Role.POLICY}
"""Whose words count without a signature when nobody on the list has the role; an authorisation always needs one."""


def figures() -> Iterator[Figure]:
    """Microseconds for one event, and for a fold over all records of one incident."""
    log, principals = _course(), Configuration().with_activated([signers()]).signers()
    seen, raised = (next(r for r in log if r.headers[EVENT_TYPE].decode() == name) for name in (SEEN, UNSIGNED))
    yield _each(f"sign a {SEEN}", lambda: EFFECTOR.sign(SEEN, seen.key, seen.value), f"{len(seen.value)} bytes")
    yield _each(f"check a {SEEN}", lambda: check_signature(seen, SEEN, principals), "once for each reader")
    yield _each(f"pass by a {UNSIGNED}", lambda: check_signature(raised, UNSIGNED, principals), "it is not signed")
    answered = sum(record.headers[EVENT_TYPE].decode() in ANSWERED_FOR for record in log)
    for agent in (Planner(), Gate()):
        asked, unasked = (_fold_us(agent, records) for records in (log, _unasked(log)))
        note = f"{len(log)} records, {answered} that processes answer for"
        yield Figure(f"an incident through the {agent.name}", asked, "us/record", note=note)
        yield Figure(f"an incident through the {agent.name}, none of them signed or asked for", unasked, "us/record")


def _course() -> list[Record]:
    loop = Loop(services=1)
    loop.run(10)
    loop.break_(loop.names[0])
    loop.run(60)
    return loop.runner.topics[str(Topic.LOG)][0]


def _unasked(log: Sequence[Record]) -> list[Record]:
    """The same log without these signatures, under a signer list that has nobody with such a role."""
    listed = Signers.model_validate_json(signers().content)
    people = [one for one in listed.signers if _UNASKED.isdisjoint(one.roles)]
    fewer = document(listed.model_copy(update={"signers": people}).model_dump(mode="json"))
    loop = Loop(services=1)
    loop.runner.configure([fewer], ADMINISTRATOR)
    activation = loop.runner.topics[str(Topic.LOG)][0][-1]
    return [log[0], activation._replace(position=log[0].position), *map(_bare, log[1:])]


def _bare(record: Record) -> Record:
    if record.headers[EVENT_TYPE].decode() not in ANSWERED_FOR:
        return record
    return record._replace(headers={name: value for name, value in record.headers.items() if name != SIGNATURE})


def _each(name: str, call: Callable[[], object], note: str) -> Figure:
    def work() -> int:
        for _ in range(CALLS):
            call()
        return CALLS

    return Figure(name, 1e6 / rate(work), "us", note=note)


def _fold_us(agent: Planner | Gate, records: Sequence[Record]) -> float:
    codec = Codec(BundledRegistry())

    def work() -> int:
        PartitionFold(agent, codec, Mint(codec, agent.name, 1), reads_run="live").step(records)
        return len(records)

    return statistics.median(1e6 / rate(work, rounds=1) for _ in range(5))
