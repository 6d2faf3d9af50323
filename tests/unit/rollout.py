"""A rollout in stages in memory: observer, executor and verifier, a service of two releases, and shares of its load.

The plan is given and authorised; which share of the load the new release gets is what its steps set. Its telemetry
says what share of its requests fails.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sagas
from carried_out import carried_out
from loop import ADMINISTRATOR, ERRORS, KEYS, PLANNER, POLICY, REQUESTS, signers
from sagas import authorization

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.observer import Observer
from autopilot.agents.policy import PolicyAgent
from autopilot.agents.verifier import Verifier
from autopilot.schemas.configuration import (
    BurnAlert,
    Domain,
    Fleet,
    Objective,
    RatioIndicator,
    Selector,
    Service,
    ServiceLevelObjectives,
    TelemetryContract,
    document,
)
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.executor import StageReached, StepRequested
from autopilot.schemas.events.observer import SliKind
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import (
    Action,
    PlanProposed,
    StageGate,
    Step,
    Verification,
)
from autopilot.schemas.events.telemetry import Group, Series, SeriesKind, TelemetryBatch
from autopilot.schemas.events.verifier import Outcome, OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.plan_hash import plan_hash
from autopilot.streams.in_process import InProcess

SHARES = (5, 25, 100)
"""Of the load, in percent, that the new release gets at each stage."""
START_US = 1_760_000_000_000_000
OUTCOMES = (OutcomeVerified, OutcomeRejected, OutcomeInconclusive)
GROUPS = [
    Group(name="canary", attributes={"service.instance.id": "new-*"}),
    Group(name="control", attributes={"service.instance.id": "old-*"}),
]


def steps(shares: tuple[int, ...] = SHARES) -> list[Step]:
    """A step for each share; all but the last have a gate that compares the new release with the old one."""
    gate = StageGate(
        slo_names=[], guard_metrics=["memory"], settle_ms=2_000, after_ms=30_000, deadline_ms=120_000, groups=GROUPS
    )
    return [
        Step(
            step_id=f"share-{share}",
            action=Action(driver="balancer", verb="share", target="web", parameters={"new": str(share)}),
            compensation=Action(driver="balancer", verb="revert", target="web", parameters={"step": f"share-{share}"}),
            timeout_ms=5_000,
            max_attempts=2,
            gate=gate if share < shares[-1] else None,
        )
        for share in shares
    ]


def plan(of: list[Step] | None = None) -> PlanProposed:
    """The whole rollout."""
    taken = of or steps()
    verification = Verification(
        slo_names=["web-errors"],
        guard_metrics=["memory"],
        before_ms=20_000,
        settle_ms=2_000,
        after_ms=30_000,
        deadline_ms=120_000,
    )
    return sagas.plan(*taken).model_copy(
        update={"plan_hash": plan_hash(taken, verification), "verification": verification, "remedy": "roll-out"}
    )


def documents() -> list[Any]:
    """One service with one objective of 99 %."""
    contract = TelemetryContract(interval_ms=1_000, required_metrics=[REQUESTS, ERRORS])
    service = Service(name="web", domain="shop", tier=1, owner="o", telemetry=contract)
    objective = Objective(
        name="web-errors",
        service="web",
        sli=SliKind.ERRORS,
        objective_bp=9_900,
        indicator=RatioIndicator(bad=Selector(metric=ERRORS), total=Selector(metric=REQUESTS)),
        alerts=[BurnAlert(long_window_ms=60_000, short_window_ms=10_000, burn_rate_milli=14_000)],
    )
    fleet = Fleet(name="f", domains=[Domain(name="shop")], services=[service])
    slos = ServiceLevelObjectives(name="s", objectives=[objective])
    return [*(document(one.model_dump(mode="json")) for one in (fleet, slos)), signers()]


class Rollout:
    """The runner and its service. `fails`: what share of the new release's requests fails at each share of load.

    With `rules`, the documents of a policy, the policy agent decides; else the rollout is authorised as it is proposed.
    """

    def __init__(
        self,
        fails: Mapping[int, float] | None = None,
        *,
        requests: int = 400,
        silent: int = -1,
        rules: Sequence[Document] = (),
    ) -> None:
        self._rules = rules
        self.fails = fails or {}
        self.requests = requests
        self.silent = silent
        """The share of load at which the new release's telemetry does not arrive."""
        self.history = [0]
        self.before: dict[str, int] = {}
        agents: list[Agent[Any]] = [Observer(1), *([PolicyAgent()] if rules else []), Executor(), Verifier()]
        self.runner = InProcess(agents, start_us=START_US, keys=KEYS.values(), responders=[self._effector])
        self.runner.configure([*documents(), *rules], ADMINISTRATOR)
        self.run(25)

    @property
    def share(self) -> int:
        """What the new release gets of the load, in percent."""
        return self.history[-1]

    def begin(self, of: PlanProposed | None = None) -> None:
        """Proposes the rollout, and authorises it where no policy decides."""
        proposed = of or plan()
        at = {"domain": "shop", "service": "web", "correlation_id": "inc-1"}
        self.runner.pipe(proposed, producer="planner", key=PLANNER, **at)
        if not self._rules:
            self.runner.pipe(authorization(proposed, seconds=3_000), producer="policy", key=POLICY, **at)

    def run(self, seconds: int) -> None:
        """Lets time pass; each release sends its telemetry every second."""
        for _ in range(seconds):
            for name, share in (("old-0", 100 - self.share), ("new-0", self.share)):
                if share and not (name == "new-0" and share == self.silent):
                    self.runner.pipe(self._telemetry(name, share), service="web", producer="fleet")
            self.runner.advance(seconds=1)

    def said(self, *kinds: type[Payload]) -> list[Any]:
        """What the log says, of these kinds, in order."""
        return [one.payload for one in self.runner.read(Topic.LOG) if isinstance(one.payload, kinds)]

    def verdicts(self) -> list[tuple[str, str, str]]:
        """Kind, phase and step of each verdict."""
        found: list[tuple[str, Outcome]] = [(type(one).__name__, one.outcome) for one in self.said(*OUTCOMES)]
        return [(kind.removeprefix("Outcome").lower(), one.phase, one.step_id) for kind, one in found]

    def stages(self) -> list[str]:
        """The steps whose stages were reached."""
        return [one.step_id for one in self.said(StageReached)]

    def _telemetry(self, name: str, share: int) -> TelemetryBatch:
        requests = self.requests * share // 100
        failing = self.fails.get(share, 0.0) if name == "new-0" else 0.0
        return TelemetryBatch(
            source=name,
            series=[
                Series(
                    metric=metric,
                    kind=kind,
                    unit="1",
                    attributes={"service.instance.id": name},
                    timestamps_us=[self.runner.now_us],
                    values=[value],
                )
                for metric, kind, value in (
                    (REQUESTS, SeriesKind.DELTA, float(requests)),
                    (ERRORS, SeriesKind.DELTA, float(round(requests * failing))),
                    ("memory", SeriesKind.GAUGE, 100.0),
                )
            ],
        )

    def _effector(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        if isinstance(recorded.payload, StepRequested):
            yield from carried_out(recorded, {"new": str(self.share)}, self._shift)

    def _shift(self, step: StepRequested) -> dict[str, str]:
        parameters = step.action.parameters
        if step.action.verb == "revert":
            self.history.append(self.before[parameters["step"]])
        else:
            self.before[step.step_id] = self.share
            self.history.append(int(parameters["new"]))
        return {"new": str(self.share)}
