"""A held step that is answered over HTTP, on a real Kafka: approved or refused by one of the group and nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from governed import KEYS, Log, await_, configuration, mortal
from held_plan import STARTED, WHOLE, asks, held, stage_verified
from policy_world import granted, preview, rejected
from scenario import Said

from autopilot.infra.approval_gateway import PATH, Answer, signed_body
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PreviewRequested,
    StepAuthorized,
)
from autopilot.schemas.signing import SigningKey

pytestmark = pytest.mark.kafka


class Gateway:
    """The gateway as a person's client sees it."""

    def __init__(self, address: str, log: Log) -> None:
        self._address = address
        self._log = log

    def waiting(self) -> list[dict[str, Any]]:
        """What it says that waits."""
        shown: list[dict[str, Any]] = httpx.get(self._address, timeout=30).json()
        return shown

    def post(self, said: Said, key: SigningKey | None = None, **changes: str) -> tuple[int, str]:
        """Posts an answer, signed by who gives it or with that key: the status, and the error if there is one."""
        answer: Answer = said.payload.model_copy(update=changes)
        body = signed_body(key or KEYS[answer.approver], answer, "shop", "checkout", "inc", self._log.now_us)
        response = httpx.post(self._address, json=body, timeout=30)
        return response.status_code, response.json().get("error", "")


@pytest.fixture
def log(cluster: dict[str, str]) -> Iterator[Log]:
    it = Log(cluster)
    it.configure(configuration(asks(per="stage")))
    it.tick()
    it.troubled()
    yield it
    it.close()


@pytest.fixture
def gateway(log: Log, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway, beside a policy."""
    port_file = tmp_path / "port"
    with mortal("policy", log.kafka), mortal("gateway", log.kafka, str(port_file)):
        await_(port_file.exists, "the gateway listens")
        yield Gateway(f"http://127.0.0.1:{port_file.read_text()}{PATH}", log)


@pytest.fixture
def request_for_step(log: Log, gateway: Gateway) -> ApprovalRequested:
    """The request for the second stage: the first was approved, done and verified, and the execution waits."""
    log.say(WHOLE)
    log.await_(PreviewRequested)
    log.say(preview().model_copy(update={"plan_hash": WHOLE.plan_hash}))
    (first,) = log.await_(ApprovalRequested)
    log.say(granted(first.payload))
    log.await_(PlanAuthorized)
    for said in (STARTED, stage_verified(), held("2")):
        log.say(said)
    return log.await_(ApprovalRequested, 2)[-1].payload


def test_a_held_step_is_approved_over_http_by_one_of_the_group_with_their_own_key(
    log: Log, gateway: Gateway, request_for_step: ApprovalRequested
) -> None:
    (shown,) = gateway.waiting()
    assert shown["approval_id"] == request_for_step.approval_id
    assert (shown["step_ids"], shown["execution_id"], shown["outcome_id"]) == (["2", "3"], "exe", "out-1")
    assert "its stage verified with 99 %" in shown["summary"]
    good = granted(request_for_step, "dee")
    not_dees = (403, "the signature is not that of `dee` with a key in force")
    assert gateway.post(good, SigningKey.generate("dee")) == not_dees
    assert gateway.post(good, KEYS["bob"]) == not_dees
    assert gateway.post(good, approval_id="apr-none") == (404, "there never was a request `apr-none`")
    assert [said.payload.approver for said in log.events(ApprovalGranted)] == ["bob"]
    assert gateway.post(granted(request_for_step, "cem"))[0] == 202
    assert log.await_(ApprovalRefused)[-1].payload.reason == "`cem` is not of the group `approver`"
    assert log.events(StepAuthorized) == []
    assert gateway.post(good)[0] == 202
    (authorized,) = log.await_(StepAuthorized)
    assert authorized.payload.step_id == "2"
    assert [(use.approver, use.step_id) for use in authorized.payload.approvals] == [("dee", "2")]
    assert gateway.waiting() == []
    assert gateway.post(granted(request_for_step, "bob"))[0] == 202
    late = log.await_(ApprovalRefused, 2)[-1].payload
    assert (late.given_by, late.reason) == ("bob", "the request is closed: the plan is started")


def test_a_held_step_is_refused_over_http_and_what_was_done_is_undone(
    log: Log, gateway: Gateway, request_for_step: ApprovalRequested
) -> None:
    no = rejected(request_for_step, "dee", comment="errors on the canary")
    assert gateway.post(no, SigningKey.generate("dee"))[0] == 403
    assert gateway.post(no, KEYS["bob"])[0] == 403
    assert gateway.post(no, approval_id="apr-none")[0] == 404
    assert log.events(ApprovalRejected) == []
    assert gateway.post(rejected(request_for_step, "cem"))[0] == 202
    assert log.await_(ApprovalRefused)[-1].payload.reason == "`cem` is not of the group `approver`"
    assert log.events(AuthorizationRevoked) == []
    assert gateway.post(no)[0] == 202
    (revoked,) = log.await_(AuthorizationRevoked)
    assert (revoked.payload.step_id, revoked.payload.plan_id) == ("2", "plan")
    assert revoked.payload.reason == "step `2`: dee refused it: errors on the canary"
    assert gateway.waiting() == []
    assert gateway.post(granted(request_for_step, "bob"))[0] == 202
    assert log.await_(ApprovalRefused, 2)[-1].payload.reason == "the request is closed: the plan is revoked"
    assert log.events(StepAuthorized) == []
