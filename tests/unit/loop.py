"""The whole loop in memory: five agents, a synthetic fleet that can break, and an effector that mends it.

For laws that must hold of any log, and for benchmarks: a fault goes in, an ordinary log comes out.
"""

from collections.abc import Iterator
from typing import Any

import yaml
from carried_out import answer, carried_out

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.observer import Observer
from autopilot.agents.planner import Planner
from autopilot.agents.policy import PolicyAgent
from autopilot.agents.verifier import Verifier
from autopilot.policies.bundle import PolicyBundle
from autopilot.schemas.configuration import (
    Autonomy,
    BurnAlert,
    Domain,
    Fleet,
    Objective,
    Principal,
    RatioIndicator,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyFlapping,
    RemedyStep,
    RemedyVerification,
    Role,
    Selector,
    Service,
    ServiceLevelObjectives,
    Signers,
    TargetRef,
    TelemetryContract,
    document,
)
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.executor import StepRequested
from autopilot.schemas.events.observer import SliKind
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess

DRIVER = "files"
REQUESTS = "http.server.request.count"
ERRORS = "http.server.error.count"
ADMINISTRATOR = SigningKey.from_bytes("ada", b"a" * 32)
PLANNER = SigningKey.from_bytes("planner", b"l" * 32)
POLICY = SigningKey.from_bytes("policy", b"p" * 32)
EXECUTOR = SigningKey.from_bytes("executor", b"x" * 32)
EFFECTOR = SigningKey.from_bytes("effector", b"e" * 32)
VERIFIER = SigningKey.from_bytes("verifier", b"v" * 32)
KEYS = {key.principal: key for key in (PLANNER, POLICY, EXECUTOR, EFFECTOR, VERIFIER)}
"""Process -> the key that it signs with."""
BUNDLE = """
kind: PolicyBundle
name: loop
version: "1.0.0"
description: lets the autopilot act while it can see
facts: 1
params:
  max_blast_radius_bp: {value: 10000, description: share above which nothing is done}
rules:
  - {id: act, effect: permit, when: 'service_autonomy == "act"', message: "{service_name} may act"}
  - {id: halted, effect: deny, when: halted, message: "halted"}
  - {id: blind, effect: deny, when: telemetry_lost || telemetry_freshness_bp < 5000, message: "telemetry is stale"}
  - {id: radius, effect: deny, when: plan_blast_radius_bp > params.max_blast_radius_bp, message: "touches too much"}
"""
START_US = 1_760_000_000_000_000


def five_agents(partitions: int = 4) -> list[Agent[Any]]:
    """A fresh one of each."""
    return [Observer(partitions), Planner(), PolicyAgent(), Executor(), Verifier()]


def fleet_documents(names: list[str], domains: int) -> list[Document]:
    """Fleet, objectives and the one remedy. Windows are a few seconds; release `bad` is what a fault rolls out."""
    services = [
        Service(
            name=name,
            domain=f"domain-{i % domains}",
            tier=1,
            owner="somebody",
            autonomy=Autonomy.ACT,
            targets=[TargetRef(driver=DRIVER, target=name)],
            telemetry=TelemetryContract(
                interval_ms=1_000, required_metrics=[REQUESTS, ERRORS], stale_after_ms=8_000, lost_after_ms=60_000
            ),
        )
        for i, name in enumerate(names)
    ]
    fleet = Fleet(
        name="fleet", domains=[Domain(name=f"domain-{i}", partition=i) for i in range(domains)], services=services
    )
    objectives = ServiceLevelObjectives(name="fleet", objectives=[_objective(name) for name in names])
    never = RemedyFlapping(raises=1_000)  # what breaks here again and again is broken on purpose
    remedies = RemedyCatalogue(name="fleet", flapping=never, remedies=[roll_back()])
    return [document(model.model_dump(mode="json")) for model in (fleet, objectives, remedies)]


def _objective(name: str) -> Objective:
    return Objective(
        name=f"{name}-errors",
        service=name,
        sli=SliKind.ERRORS,
        objective_bp=9_900,
        indicator=RatioIndicator(bad=Selector(metric=ERRORS), total=Selector(metric=REQUESTS)),
        alerts=[BurnAlert(long_window_ms=4_000, short_window_ms=2_000, burn_rate_milli=5_000, min_events=50)],
    )


def roll_back() -> Remedy:
    """Switch to the release before."""
    return Remedy(
        name="roll-back",
        summary="go back to the release before",
        slis=[SliKind.ERRORS],
        precondition="has_target && previous_release != '' && release != previous_release",
        risk_class=RiskClass.LOW,
        autonomy=Autonomy.ACT,
        prior_successes_milli=20_000,
        prior_failures_milli=1_000,
        cooldown_ms=0,
        steps=[
            RemedyStep(
                id="switch",
                driver=DRIVER,
                action=RemedyAction(verb="switch_release", parameters={"release": "previous_release"}),
                compensation=RemedyAction(verb="switch_release", parameters={"release": "release"}),
                timeout_ms=10_000,
                max_attempts=3,
            )
        ],
        verification=RemedyVerification(before_ms=4_000, settle_ms=1_000, after_ms=4_000, deadline_ms=60_000),
    )


def signers() -> Document:
    """The administrator and the processes that sign."""
    principals = [
        Principal(name="ada", public_key=ADMINISTRATOR.public_key, roles=[Role.ADMINISTRATOR]),
        Principal(name="planner", public_key=PLANNER.public_key, roles=[Role.PLANNER]),
        Principal(name="policy", public_key=POLICY.public_key, roles=[Role.POLICY]),
        Principal(name="executor", public_key=EXECUTOR.public_key, roles=[Role.EXECUTOR]),
        Principal(name="effector", public_key=EFFECTOR.public_key, roles=[Role.EFFECTOR]),
        Principal(name="verifier", public_key=VERIFIER.public_key, roles=[Role.VERIFIER]),
    ]
    return document(Signers(name="fleet", signers=principals).model_dump(mode="json"))


def bundle() -> Document:
    """A policy that lets the autopilot act while it can see."""
    return document(PolicyBundle.model_validate(yaml.safe_load(BUNDLE)).model_dump(mode="json"))


def telemetry(name: str, at_us: int, *, bad: bool) -> TelemetryBatch:
    """One second of a service's telemetry; half of its requests fail when it is bad."""
    series = [
        Series(
            metric=metric,
            kind=SeriesKind.DELTA,
            unit="1",
            attributes={"service.instance.id": f"{name}-0"},
            timestamps_us=[at_us],
            values=[value],
        )
        for metric, value in ((REQUESTS, 100.0), (ERRORS, 50.0 if bad else 0.0))
    ]
    return TelemetryBatch(source="fleet", series=series)


class Loop:
    """The runner and its fleet."""

    def __init__(self, *, services: int = 2, partitions: int = 1) -> None:
        self.names = [f"svc-{i:03}" for i in range(services)]
        self.bad: set[str] = set()
        self.runner = InProcess(
            five_agents(partitions),
            start_us=START_US,
            partitions=partitions,
            keys=KEYS.values(),
            responders=[self._effector],
        )
        self._domain_of = {name: f"domain-{i % partitions}" for i, name in enumerate(self.names)}
        self.runner.configure([*fleet_documents(self.names, partitions), signers(), bundle()], ADMINISTRATOR)
        for name in self.names:
            self._observe(name)

    def break_(self, name: str) -> None:
        """Rolls out the bad release."""
        self.bad.add(name)
        self._observe(name)

    def run(self, seconds: int) -> None:
        """Lets time pass; every service sends its telemetry each second."""
        for _ in range(seconds):
            for name in self.names:
                batch = telemetry(name, self.runner.now_us, bad=name in self.bad)
                self.runner.pipe(batch, service=name, producer="fleet")
            self.runner.advance(seconds=1)

    def _observe(self, name: str) -> None:
        domain = self._domain_of[name]
        self.runner.pipe(self._state(name), domain=domain, service=name, producer="effector", key=EFFECTOR)

    def _state(self, name: str) -> TargetObserved:
        release, previous = ("bad", "good") if name in self.bad else ("good", "bad")
        state = {"release": release, "previous_release": previous, "desired": "1", "running": "1", "max": "1"}
        return TargetObserved(driver=DRIVER, target=name, state=state, revision="")

    def _effector(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        if not isinstance(recorded.payload, StepRequested):
            return
        name = recorded.payload.action.target
        yield from carried_out(recorded, self._state(name).state, self._switch)
        yield answer(recorded, self._state(name))

    def _switch(self, step: StepRequested) -> dict[str, str]:
        name = step.action.target
        (self.bad.add if step.action.parameters["release"] == "bad" else self.bad.discard)(name)
        return self._state(name).state
