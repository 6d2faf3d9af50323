"""The agent in the runner: its authorisations are signed by its key, an approval by a person's key reaches it."""

from policy_world import ASKS, PEOPLE, documents, incident, plan, preview, signal

from autopilot.agents.policy import PolicyAgent
from autopilot.schemas.configuration import Principal, Signers, document
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.people import ApprovalGranted
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.events.policy import ApprovalRefused, ApprovalRequested, PlanAuthorized
from autopilot.schemas.signing import SigningKey
from autopilot.streams.in_process import InProcess
from autopilot.streams.trust import signer_of

KEYS = {name: SigningKey.from_bytes(name, name.encode().ljust(32, b".")) for name in PEOPLE}


def test_an_approval_by_a_key_in_force_leads_to_an_authorisation_signed_by_the_policys_key() -> None:
    principals = [
        Principal(name=name, public_key=KEYS[name].public_key, roles=list(roles)) for name, roles in PEOPLE.items()
    ]
    signers = Signers(name="people", signers=principals)
    configuration = [d for d in documents(ASKS) if d.kind != "Signers"] + [document(signers.model_dump(mode="json"))]
    runner = InProcess([PolicyAgent()], start_us=1_760_000_000_000_000, keys=[KEYS["policy"]])
    runner.configure(configuration, KEYS["ada"])
    runner.advance(seconds=1)
    for payload in (signal(), incident(), plan(risk=RiskClass.HIGH), preview()):
        runner.pipe(payload, domain="shop", service="checkout", correlation_id="inc")
    (request,) = runner.read(Topic.LOG, ApprovalRequested)
    answer = ApprovalGranted(
        approval_id=request.payload.approval_id,
        plan_id="plan",
        plan_hash=request.payload.decision.plan_hash,
        facts_digest=request.payload.decision.facts_digest,
        approver="bob",
        comment="go",
    )
    runner.pipe(answer, domain="shop", key=KEYS["dee"])
    (refused,) = runner.read(Topic.LOG, ApprovalRefused)
    assert refused.payload.reason == "it was signed by `dee`, not by `bob`"
    runner.pipe(answer, domain="shop", key=KEYS["bob"])
    (authorized,) = runner.read(Topic.LOG, PlanAuthorized)
    (record,) = [r for r in runner.topics[str(Topic.LOG)][0] if r.headers["event-type"] == b"PlanAuthorized"]
    assert signer_of(record, "PlanAuthorized", principals) == "policy"
    assert [use.approver for use in authorized.payload.approvals] == ["bob"]
