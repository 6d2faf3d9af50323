"""`autopilot approve`: what has become of a request that waits no longer, and of an answer that decides nothing yet."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from autopilot.infra.cli import people
from autopilot.infra.cli.main import application
from autopilot.infra.cli.output import NO
from autopilot.projections.approvals import PendingApproval, pending_approvals
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Envelope, Event, Position, Recorded
from autopilot.schemas.events.policy import ApprovalRequested, Decision, PlanDenied

APP = application("approve")
DECISION = Decision(
    decision_id="dec-1",
    plan_id="plan-1",
    incident_id="inc-1",
    plan_hash="sha256:1",
    bundle="shop@1",
    bundle_digest="sha256:2",
    rules=[],
    facts=[],
    facts_digest="sha256:3",
)
REQUEST = ApprovalRequested(
    approval_id="apr-1", decision=DECISION, group="approver", needed=2, summary="scale up", expires_at_us=9
)
ENVELOPE = Envelope(
    event_id="e",
    run="live",
    correlation_id="inc-1",
    causation_id="",
    cause_topic="",
    cause_partition=-1,
    cause_offset=-1,
    occurred_at_us=0,
    domain="shop",
    service="checkout",
    producer="policy",
)
ASKED: Recorded[Payload] = Recorded(Position("autopilot.log", 0, 7), Event(ENVELOPE, REQUEST), None, 1)


def approved(monkeypatch: pytest.MonkeyPatch, waiting: list[PendingApproval], **parts: Any) -> Result:
    monkeypatch.setattr(people, "waiting", lambda _: waiting)
    for name, part in parts.items():
        monkeypatch.setattr(people, name, lambda *_, _part=part, **__: _part)
    arguments = ["approve", "apr-1", "--as", "ada", "--wait", "3"]
    return CliRunner().invoke(APP, arguments)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ([ASKED], "`apr-1` waits no longer; `autopilot timeline inc-1` says what became of it"),
        ([], "no request `apr-1` waits for approval; `autopilot approvals` lists them"),
    ],
    ids=["over", "never there"],
)
def test_a_request_that_is_over_is_told_from_one_that_never_was(
    log: list[Recorded[Payload]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = approved(monkeypatch, [], read=log, answering_kafka={}, registry_of=None)
    assert (result.exit_code, result.output.strip()) == (NO, said)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (None, 0, "nothing is decided after 3 s; `autopilot timeline inc-1` tells it"),
        (PlanDenied(decision=DECISION, reason="it froze"), NO, "PlanDenied: it froze"),
    ],
    ids=["not yet", "denied"],
)
def test_what_the_answer_has_led_to_is_said(
    answer: Payload | None, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"load_key": SimpleNamespace(principal="ada"), "_publish": "event-1", "_policy_answer": answer}
    result = approved(monkeypatch, pending_approvals([ASKED]), **parts)
    assert (result.exit_code, said in " ".join(result.output.split())) == (code, True), result.output
    assert result.output.startswith("recorded: event event-1\n")
