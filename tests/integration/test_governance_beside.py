"""What stands beside the policy on a real Kafka: shadows that are killed, and approvals that come by HTTP."""

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from governed import HOME, KEYS, REGISTRY, Log, await_, cluster_of, configuration, mortal
from policy_bundles import PERMIT, approval, bundle, rule
from policy_world import activated, reviewed, shadowed, submitted

from autopilot.agents.policy.shadow import run_of
from autopilot.infra.approval_gateway import PATH, signed_body
from autopilot.infra.governance import broadcast
from autopilot.projections.shadow import RULINGS, compare
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.people import ApprovalGranted
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalRequested,
    PlanAuthorized,
    PlanDenied,
    PreviewRequested,
)
from autopilot.schemas.signing import SigningKey
from autopilot.streams.reader import read, read_raw
from autopilot.streams.record import RUN, SIGNATURE

pytestmark = pytest.mark.kafka

ASKS = bundle(PERMIT, approval("ask", 'plan_risk_class == "high"', expires_ms=600_000))
THRIFTY = bundle(PERMIT, rule("dear", "deny", "plan_cost > 1", message="too dear"), version="2")
RUN_NAME = run_of("mine@2")


@pytest.fixture
def log(cluster: dict[str, str]) -> Iterator[Log]:
    it = Log(cluster)
    it.configure(configuration(ASKS))
    it.tick()
    it.troubled()
    yield it
    it.close()


def test_a_shadow_that_is_killed_compares_each_plan_once_and_changes_nothing_live(log: Log) -> None:
    kafka = cluster_of(log.kafka)
    with mortal("policy", log.kafka) as policy, mortal("shadow", log.kafka) as shadow:
        for said in (submitted(THRIFTY), reviewed(THRIFTY), shadowed(THRIFTY)):
            assert said.signed_by is not None
            assert not broadcast(kafka, KEYS[said.signed_by], said.payload).refused
        for number in range(6):
            log.propose(f"plan-{number}", cost=number % 3)
            if number == 2:
                shadow.kill()
            if number == 4:
                policy.kill()
        log.await_(PlanAuthorized, 6)
        await_(lambda: len(shadow_rulings(log)) >= 6, "the shadow's rulings")
        order = broadcast(kafka, KEYS["eve"], activated(THRIFTY).payload)
        assert not order.refused
        log.propose("promoted", cost=2)
        log.await_(PlanDenied)
    events = list(read(log.kafka, REGISTRY, Topic.LOG, types=tuple(RULINGS)))
    report = compare(events, RUN_NAME)
    assert report.flips == {"allow -> deny": 2}
    assert (report.compared, report.differing, report.only_live) == (6, 2, 1)
    assert {line.plan_id for line in report.lines if line.differs} == {"plan-2", "plan-5"}
    assert all(line.shadow.reason == "dear: too dear" for line in report.lines if line.differs)
    ids = Counter(event.envelope.event_id for event in events)
    assert set(ids.values()) == {1}
    for record in read_raw(log.kafka, Topic.LOG, partitions=[HOME]):
        if record.headers[RUN] == RUN_NAME.encode():
            assert SIGNATURE not in record.headers


def shadow_rulings(log: Log) -> list[str]:
    """The plans that the shadow has ruled on."""
    kinds = (PlanAuthorized, PlanDenied)
    return [event.payload.decision.plan_id for event in log.events(*kinds, run=RUN_NAME)]


def test_a_person_approves_by_http_with_a_signature_of_their_own_and_the_gateway_refuses_what_bears_none(
    log: Log, tmp_path: Path
) -> None:
    port_file = tmp_path / "port"
    with mortal("policy", log.kafka) as policy, mortal("gateway", log.kafka, str(port_file)):
        log.propose("plan", risk=RiskClass.HIGH)
        log.await_(PreviewRequested)
        log.previewed("plan")
        log.await_(ApprovalRequested)
        await_(port_file.exists, "the gateway listens")
        address = f"http://127.0.0.1:{port_file.read_text()}{PATH}"
        (shown,) = httpx.get(address, timeout=30).json()
        answer = ApprovalGranted(
            approval_id=shown["approval_id"],
            plan_id=shown["plan_id"],
            plan_hash=shown["plan_hash"],
            facts_digest=shown["facts_digest"],
            approver="bob",
            comment="by HTTP",
        )

        def post(body: object) -> tuple[int, str]:
            response = httpx.post(address, json=body, timeout=30)
            return response.status_code, response.json().get("error", "")

        good = signed_body(KEYS["bob"], answer, "shop", "checkout", "inc", log.now_us)
        forged = signed_body(SigningKey.generate("bob"), answer, "shop", "checkout", "inc", log.now_us)
        changed = base64.b64decode(good["value"]).replace(b"by HTTP", b"by MAIL")
        tampered = {**good, "value": base64.b64encode(changed).decode()}
        assert post(forged) == (403, "the signature is not that of `bob` with a key in force")
        assert post(tampered)[0] == 403
        assert post({"event_type": "Halt", "value": "", "signature": ""})[0] == 400
        assert post({**good, "value": "?"})[0] == 400
        assert post([])[0] == 400
        elsewhere = answer.model_copy(update={"approval_id": "apr-none"})
        assert post(signed_body(KEYS["bob"], elsewhere, "shop", "checkout", "inc", log.now_us))[0] == 404
        assert log.events(ApprovalGranted) == []
        proposer = answer.model_copy(update={"approver": "planner"})
        assert post(signed_body(KEYS["planner"], proposer, "shop", "checkout", "inc", log.now_us))[0] == 202
        (refused,) = log.await_(ApprovalRefused)
        assert "proposes or decides plans" in refused.payload.reason
        policy.kill()
        assert post(good)[0] == 202
        (authorized,) = log.await_(PlanAuthorized)
        assert [use.approver for use in authorized.payload.approvals] == ["bob"]
        assert post(good)[0] == 202
        assert "closed" in log.await_(ApprovalRefused, 2)[-1].payload.reason
        assert httpx.get(address, timeout=30).json() == []
