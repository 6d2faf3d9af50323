"""The kiosk of the Kubernetes demonstration in the whole loop in memory: its documents, and a made-up cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carried_out import answer, carried_out
from loop import ADMINISTRATOR, EFFECTOR, KEYS, START_US, five_agents, signers

from autopilot.infra.configuration_files import read_folder
from autopilot.schemas.configuration import Principal, Signers, document
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.executor import ExecutionRolledBack, RollbackStarted, StepRequested
from autopilot.schemas.events.people import ApprovalGranted, Document
from autopilot.schemas.events.planner import IncidentClosed, NoPlanFound, PlanProposed
from autopilot.schemas.events.policy import ApprovalRequested
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess

LOADED, _ = read_folder(Path(__file__).parents[3] / "examples" / "kubernetes" / "documents")
PARTITIONS = 2
STABLE, CANARY = "kiosk/kiosk", "kiosk/kiosk-canary"
REQUESTS = {STABLE: 8.0, CANARY: 4.0}
"""A second, by deployment."""
APPROVER = SigningKey.from_bytes("approver", b"q" * 32)
OUTCOMES = (OutcomeVerified, OutcomeRejected, OutcomeInconclusive)
State = dict[str, str]


def with_an_approver() -> Document:
    """Those who sign in the loop, and a person who approves."""
    known = Signers.model_validate_json(signers().content)
    person = Principal(name=APPROVER.principal, public_key=APPROVER.public_key, roles=["approver"])
    return document(known.model_copy(update={"signers": [*known.signers, person]}).model_dump(mode="json"))


class Kiosk:
    """The loop with two deployments. While it is `slow` each request takes long, however many pods there are."""

    def __init__(self) -> None:
        self.slow = False
        self.states: dict[str, State] = {target: self._state("v1", "", "complete", target) for target in REQUESTS}
        self.before: dict[str, State] = {}
        self.runner = InProcess(
            five_agents(PARTITIONS),
            start_us=START_US,
            partitions=PARTITIONS,
            keys=KEYS.values(),
            responders=[self._effector],
        )
        self.runner.configure([*(item.document() for item in LOADED), with_an_approver()], ADMINISTRATOR)
        self._observe()
        self.run(15)

    def deploy_what_cannot_start(self) -> None:
        """Both rollouts get stuck; the pods before go on serving."""
        self.states = {target: self._state("v2", "v1", "stuck", target) for target in REQUESTS}
        self._observe()

    def run(self, seconds: int) -> None:
        """Lets time pass; whoever is asked for an approval gives it."""
        for _ in range(seconds):
            for target in REQUESTS:
                self.runner.pipe(self._telemetry(target), service="kiosk", producer="bridge")
            database = [self._series("k8s.deployment.available_pods", 1.0, "price-database", SeriesKind.GAUGE)]
            batch = TelemetryBatch(source="bridge", series=database)
            self.runner.pipe(batch, service="price-database", producer="bridge")
            self.runner.advance(seconds=1)
            self._approve()

    def said(self, *kinds: type[Payload]) -> list[Any]:
        """What the log says in the kiosk's domain, of these kinds, in order."""
        log = self.runner.read(Topic.LOG)
        return [one.payload for one in log if one.envelope.domain == "kiosk" and isinstance(one.payload, kinds)]

    def verdicts(self) -> list[tuple[str, str]]:
        """Each verdict and what it is about."""
        return [(type(one).__name__.removeprefix("Outcome"), one.outcome.phase) for one in self.said(*OUTCOMES)]

    # -- what is made up ---------------------------------------------------------------------------------------------

    @staticmethod
    def _state(release: str, previous: str, rollout: str, target: str) -> State:
        count = {STABLE: "2", CANARY: "1"}[target]
        pods = {"desired": count, "running": count, "max": {STABLE: "4", CANARY: "2"}[target]}
        return {"release": release, "previous_release": previous, "rollout": rollout, **pods}

    def _telemetry(self, target: str) -> TelemetryBatch:
        name, requests = target.partition("/")[2], REQUESTS[target]
        stuck = self.states[target]["rollout"] == "stuck"
        counts = {"http.client.request.count": requests, "http.client.error.count": 0.0}
        levels = {"stuck": stuck, "waiting_pods": stuck, "available_pods": int(self.states[target]["running"])}
        series = [self._series(metric, value, name, SeriesKind.DELTA) for metric, value in counts.items()]
        for le, value in (("500", 0.0 if self.slow else requests), ("+Inf", requests)):
            metric = "http.client.request.duration.bucket"
            series.append(self._series(metric, value, name, SeriesKind.DELTA, le=le))
        for metric, level in levels.items():
            series.append(self._series(f"k8s.deployment.{metric}", float(level), name, SeriesKind.GAUGE))
        return TelemetryBatch(source="bridge", series=series)

    def _series(self, metric: str, value: float, deployment: str, kind: SeriesKind, **more: str) -> Series:
        attributes = {"k8s.deployment.name": deployment, **more}
        at = [self.runner.now_us]
        return Series(metric=metric, kind=kind, unit="1", attributes=attributes, timestamps_us=at, values=[value])

    def _observe(self) -> None:
        for target, state in self.states.items():
            told = TargetObserved(driver="kubernetes", target=target, state=state, revision="")
            self.runner.pipe(told, domain="kiosk", service="kiosk", producer="effector", key=EFFECTOR)

    def _approve(self) -> None:
        granted = {one.approval_id for one in self.said(ApprovalGranted)}
        for asked in self.said(ApprovalRequested):
            if asked.approval_id not in granted:
                answer = ApprovalGranted(
                    approval_id=asked.approval_id,
                    plan_id=asked.decision.plan_id,
                    plan_hash=asked.decision.plan_hash,
                    facts_digest=asked.decision.facts_digest,
                    approver=APPROVER.principal,
                    comment="",
                )
                self.runner.pipe(answer, domain="kiosk", service="kiosk", producer="approver", key=APPROVER)

    def _effector(self, recorded: Recorded[Payload]) -> Iterator[Draft]:
        if not isinstance(recorded.payload, StepRequested):
            return
        target = recorded.payload.action.target
        yield from carried_out(recorded, self.states[target], self._act)
        told = TargetObserved(driver="kubernetes", target=target, state=self.states[target], revision="")
        yield answer(recorded, told)

    def _act(self, step: StepRequested) -> State:
        target = step.action.target
        self.states[target] = after = self._after(step, self.states[target])
        return after

    def _after(self, step: StepRequested, before: State) -> State:
        if step.action.verb == "revert":
            return self.before[step.action.parameters["step"]]
        self.before[step.step_id] = before
        if step.action.verb == "scale":
            count = step.action.parameters["count"]
            return before | {"desired": count, "running": count}
        return self._state(before["previous_release"], before["release"], "complete", step.action.target)


def test_more_pods_that_do_not_help_are_taken_away_again_and_a_person_is_asked() -> None:
    kiosk = Kiosk()
    kiosk.slow = True
    kiosk.run(60)
    (plan,) = kiosk.said(PlanProposed)
    assert plan.remedy == "more-pods"
    assert kiosk.verdicts() == [("Verified", "stage"), ("Rejected", "remedy"), ("Verified", "rollback")]
    (rollback,) = kiosk.said(RollbackStarted)
    assert rollback.step_ids == [step.step_id for step in plan.steps][::-1]
    assert len(kiosk.said(ExecutionRolledBack)) == 1
    assert kiosk.states[STABLE]["desired"] == "2"
    (asked,) = kiosk.said(NoPlanFound)
    assert any("price-database" in hint for hint in asked.look_at)
    assert kiosk.said(IncidentClosed) == []
    kiosk.slow = False
    kiosk.run(20)
    assert len(kiosk.said(IncidentClosed)) == 1


def test_a_release_that_cannot_start_is_taken_back_before_a_customer_notices() -> None:
    kiosk = Kiosk()
    kiosk.deploy_what_cannot_start()
    kiosk.run(60)
    (plan,) = kiosk.said(PlanProposed)
    assert (plan.remedy, kiosk.verdicts()) == ("undo-rollout", [("Verified", "stage"), ("Verified", "remedy")])
    assert {state["release"] for state in kiosk.states.values()} == {"v1"}
    (closed,) = kiosk.said(IncidentClosed)
    assert closed.resolution == "remediated"
    assert kiosk.said(RollbackStarted, NoPlanFound, ApprovalRequested) == []
