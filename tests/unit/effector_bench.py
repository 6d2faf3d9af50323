"""An effector on a partition in memory with a fake target that counts what is done to it, and that can be killed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from sagas import ADA, POLICY, authorization, plan, request, signers
from scenario import START_US

from autopilot.infra.effector.gate import Gate
from autopilot.infra.effector.jobs import Jobs
from autopilot.infra.effector.journal import PartitionJournal
from autopilot.infra.effector.port import Applied, CrashClass, Difference, KeyedDriver, Observation, TargetError
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Position, Recorded
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepSucceeded
from autopilot.schemas.events.executor import RollbackStarted
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import Action, PlanProposed
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Outgoing, Record
from autopilot.streams.trust import SIGNS


class KilledError(BaseException):
    """The process dies here."""


class Inline(Executor):
    """A pool that works at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@dataclass
class FakeDriver(KeyedDriver):
    """Targets with a number `n` and a revision; one verb of each crash class, all of which set `n`."""

    name: str = "fake"
    verbs: Mapping[str, CrashClass] = field(
        default_factory=lambda: {
            "set": CrashClass.CONVERGENT,
            "bump": CrashClass.WITNESSED,
            "send": CrashClass.KEYED,
            "blast": CrashClass.BLIND,
        }
    )
    reverts: frozenset[str] = frozenset({"set", "bump"})
    numbers: dict[str, str] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)
    dies: str = ""
    """`before` or `after` the effect of the next act."""
    error: TargetError | None = None
    """What the next act raises instead of having its effect."""
    unseen: TargetError | None = None
    """What every look raises."""
    given: list[Mapping[str, str]] = field(default_factory=list)
    """The states before the act that acts were told."""
    blinded: bool = False
    """Whether nobody can tell by looking whether a witnessed act happened."""

    def observe(self, target: str) -> Observation:
        if self.unseen is not None:
            raise self.unseen
        revision = str(self.effects[target])
        return Observation({"n": self.numbers.get(target, "0"), "revision": revision}, revision)

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        now, wanted = observation.state["n"], action.parameters["n"]
        return [Difference("n", now, wanted)] if now != wanted else []

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float, /) -> Applied:
        self._die("before")
        self.given.append(observation.state)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        changed = action.verb != "set" or bool(self.diff(action, self.observe(action.target)))
        if changed:
            self.numbers[action.target] = action.parameters["n"]
            self.effects[action.target] += 1
            self.keys.add(key)
        self._die("after")
        return Applied(changed, self.observe(action.target).state)

    def happened(self, action: Action, before: Mapping[str, str], observation: Observation) -> bool | None:
        return None if self.blinded else observation.state["revision"] != before["revision"]

    def done_under(self, action: Action, key: str) -> Applied | None:
        return Applied(True, self.observe(action.target).state) if key in self.keys else None

    def revert(self, action: Action, before: Mapping[str, str], key: str, timeout_s: float, /) -> Applied:
        self._die("before")
        changed = self.numbers.get(action.target, "0") != before["n"]
        if changed:
            self.numbers[action.target] = before["n"]
            self.effects[action.target] += 1
        self._die("after")
        return Applied(changed, self.observe(action.target).state)

    def _die(self, when: str) -> None:
        if self.dies == when:
            self.dies = ""
            raise KilledError


class Bench:
    """The partition, the clock and the effector on it."""

    def __init__(self) -> None:
        self.codec = Codec(BundledRegistry())
        self.log: list[Record] = []
        self.dead: list[Outgoing] = []
        self.now_us = START_US
        self.driver = FakeDriver()
        self.key: SigningKey | None = None
        """What the effector signs with; another one is taken with the next process."""
        self.crash = ""
        """Where the effector dies next: `before_intent`, `after_intent` or `before_result`."""
        self.configure()
        self.start()

    def configure(self) -> None:
        documents = [signers()]
        activation = ConfigurationActivated(revision="r", documents=documents, author="ada", comment="")
        self.say(activation, key=ADA)

    def say(self, payload: Payload, *, key: SigningKey | None = None) -> None:
        """Someone else records an event on the partition."""
        mint = Mint(self.codec, "someone", 1, key=key, signs=frozenset({payload.event_type()}))
        draft = Draft(payload, "" if payload.broadcast else "shop", "cart", "inc-1")
        self.append([mint.from_outside(draft, self.now_us + len(self.log), {})])

    def append(self, outgoing: Sequence[Outgoing]) -> None:
        for out in outgoing:
            if out.topic != "autopilot.log":
                self.dead.append(out)
                continue
            position = Position(out.topic, 0, len(self.log))
            self.log.append(Record(position, 0, out.key, out.value, out.headers))

    # -- the effector ------------------------------------------------------------------------------------------------

    def start(self, gate: Gate | None = None) -> None:
        """A new process: nothing of the old one is left but the log."""
        gate = gate or Gate()
        mint = Mint(self.codec, "effector", 1, key=self.key, signs=SIGNS["effector"])
        fold = PartitionFold(gate, self.codec, mint, reads_run="live")
        self.gate = gate
        self.jobs = Jobs(Inline())
        drivers = {"fake": self.driver}
        self.journal = PartitionJournal(gate, fold, mint, drivers, self.jobs, lambda: self.now_us)

    def run(self, turns: int = 12) -> None:
        """Lets the effector work; when it dies, a new one goes on."""
        for _ in range(turns):
            try:
                self._turn()
            except KilledError:
                self.start()

    def read(self) -> None:
        """Folds what is on the log."""
        self.append(self.journal.step(self.log[self.journal.fold.runtime.next_offset :]))

    def _turn(self) -> None:
        self.read()
        self.journal.look()
        results = self.journal.results()
        if results:
            self._die("before_result")
        self.append([outgoing for _, outgoing in results])
        self.journal.written(results)
        if self.journal.wants_end:
            begun = self.journal.at_end()
            self._die("before_intent")
            self.append([outgoing for one in begun for outgoing in one.outgoing])
            self._die("after_intent")
            self.journal.committed(begun)

    def _die(self, where: str) -> None:
        if self.crash == where:
            self.crash = ""
            raise KilledError

    # -- what came of it ---------------------------------------------------------------------------------------------

    def recorded(self, *kinds: type[Payload]) -> list[Recorded[Any]]:
        """What the effector recorded, of these kinds."""
        events = [Recorded(record.position, self.codec.decode(record.value)) for record in self.log]
        return [e for e in events if isinstance(e.payload, kinds) and e.envelope.producer == "effector"]

    def said(self, *kinds: type[Payload]) -> list[Any]:
        """The payloads of what the effector recorded."""
        return [recorded.payload for recorded in self.recorded(*kinds)]


# -- a plan of two steps on it ---------------------------------------------------------------------------------------

TWO = plan()
RESULTS = (StepSucceeded, StepFailed, StepIndeterminate)


def authorised(of: PlanProposed = TWO) -> Bench:
    """A bench on which the plan is proposed and authorised."""
    bench = Bench()
    bench.say(of)
    bench.say(authorization(of), key=POLICY)
    return bench


def asked(of: PlanProposed = TWO) -> Bench:
    """The same, and the first step is asked for."""
    bench = authorised(of)
    bench.say(request(of))
    return bench


def only_result(bench: Bench) -> Payload:
    """The one result that the effector recorded."""
    (result,) = bench.said(*RESULTS)
    return result


def undo(bench: Bench, of: PlanProposed = TWO) -> None:
    """The executor turns back and asks for the compensation of the first step."""
    names = {"execution_id": request(of).execution_id, "plan_id": "plan-1", "incident_id": "inc-1"}
    bench.say(RollbackStarted(**names, reason="r", step_ids=["s1"]))
    bench.say(request(of, phase="compensation"))
