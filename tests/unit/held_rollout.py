"""The rollout under a policy that asks people about each stage as it is reached: its people, rules and answers."""

from typing import Any

import rollout as world
from held_plan import ask
from loop import PLANNER
from policy_bundles import PERMIT, bundle, rule
from rollout import Rollout

from autopilot.agents.policy.standing import remedies_of
from autopilot.policies.bundle import PolicyBundle, Rule
from autopilot.schemas.configuration import (
    Autonomy,
    Principal,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyStep,
    Role,
    Signers,
    document,
)
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.executor import (
    StepHeld,
)
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.planner import IncidentOpened, PlanProposed, RiskClass, Step
from autopilot.schemas.events.policy import (
    ApprovalRequested,
)
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.evidence import Evidence
from autopilot.streams.audit.findings import Kind
from autopilot.streams.record import Record

BEA = SigningKey.from_bytes("bea", b"1" * 32)
DAN = SigningKey.from_bytes("dan", b"2" * 32)
OLI = SigningKey.from_bytes("oli", b"3" * 32)
EXPIRES_S = 900
REMEDY = Remedy(
    name="roll-out",
    summary="roll it out",
    risk_class=RiskClass.LOW,
    autonomy=Autonomy.ACT,
    steps=[RemedyStep(id="s", driver="balancer", action=RemedyAction(verb="share"))],
)
AT = {"domain": "shop", "service": "web", "correlation_id": "inc-1"}


def asking(*more: Rule, **parameters: Any) -> PolicyBundle:
    """A bundle that asks for each step as it is reached, unless something else is said."""
    stated = {"expires_ms": EXPIRES_S * 1_000, **parameters}
    return bundle(PERMIT, ask(**stated), rule("calm", "deny", "service_tier == 0"), *more)


def rules(**parameters: Any) -> list[Any]:
    """The bundle, and its people: Bea and Dan may approve, Oli may halt."""
    people = [Principal(name=key.principal, public_key=key.public_key, roles=[Role.APPROVER]) for key in (BEA, DAN)]
    operators = [Principal(name="oli", public_key=OLI.public_key, roles=[Role.OPERATOR])]
    written = (
        asking(**parameters),
        Signers(name="people", signers=[*people, *operators]),
        RemedyCatalogue(name="remedies", remedies=[REMEDY]),
    )
    return [document(each.model_dump(mode="json")) for each in written]


def proposed(of: list[Step] | None = None) -> PlanProposed:
    return world.plan(of).model_copy(update={"remedy_digest": remedies_of([REMEDY])["roll-out"][1]})


class Approved(Rollout):
    """The rollout under a policy that asks people."""

    def __init__(self, of: list[Step] | None = None, **parameters: Any) -> None:
        super().__init__(rules=rules(**parameters))
        opened = IncidentOpened(incident_id="inc-1", signal_ids=[], severity="page", title="t", started_at_us=0)
        self.runner.pipe(opened, producer="planner", key=PLANNER, **AT)
        self.begin(proposed(of))
        self.run(15)

    def asked(self) -> ApprovalRequested:
        """The last request."""
        request: ApprovalRequested = self.said(ApprovalRequested)[-1]
        return request

    def approve(self, key: SigningKey = BEA) -> None:
        """Approves what was asked last."""
        self.answer(self.asked(), key)

    def answer(self, request: ApprovalRequested, key: SigningKey) -> None:
        """Approves a request."""
        decision = request.decision
        granted = ApprovalGranted(
            approval_id=request.approval_id,
            plan_id=decision.plan_id,
            plan_hash=decision.plan_hash,
            facts_digest=decision.facts_digest,
            approver=key.principal,
            comment="",
        )
        self.runner.pipe(granted, producer=key.principal, key=key, **AT)

    def reject(self, comment: str) -> None:
        """Bea refuses what was asked last."""
        decision = self.asked().decision
        rejected = ApprovalRejected(
            approval_id=self.asked().approval_id,
            plan_id=decision.plan_id,
            plan_hash=decision.plan_hash,
            approver="bea",
            comment=comment,
        )
        self.runner.pipe(rejected, producer="bea", key=BEA, **AT)

    def records(self) -> list[Record]:
        """The log as it stands."""
        return list(self.runner.topics[str(Topic.LOG)][0])

    def findings(self, records: list[Record] | None = None) -> list[tuple[Kind, str]]:
        """What an audit of the log finds wrong."""
        evidence = Evidence(self.runner.codec._registry)
        evidence.feed(self.records() if records is None else records)
        return [(finding.kind, finding.detail) for finding in evidence.finish() if finding.violation]


def second_stage(**parameters: Any) -> Approved:
    """The first stage is approved, reached and verified; people are asked about the second one."""
    rollout = Approved(**parameters)
    rollout.approve()
    rollout.run(60)
    assert [one.step_id for one in rollout.said(StepHeld)] == ["share-25"]
    return rollout
