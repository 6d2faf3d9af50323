"""`autopilot approvals`, `approve`, `reject`: what people answer, signed with their keys."""

import time
from typing import Annotated

import httpx
import typer

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, AsPerson, announce, date_time, print_json, print_table, refuse
from autopilot.infra.cli.views import waiting
from autopilot.infra.composition import publisher_of, registry_of
from autopilot.infra.keys import load_key
from autopilot.infra.settings import Settings
from autopilot.projections.approvals import PendingApproval
from autopilot.projections.wording import why
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)
from autopilot.schemas.signing import SigningKey
from autopilot.streams.reader import read

ApprovalId = Annotated[str, typer.Argument(help="Id of the request, or the beginning of one.", metavar="APPROVAL_ID")]
Comment = Annotated[str, typer.Option(help="Why.")]
Gateway = Annotated[str, typer.Option(help="Address of an approval gateway, to send the signed answer there.")]
WaitS = Annotated[float, typer.Option("--wait", help="Seconds to wait for the policy's answer.", min=0)]

ANSWERS = (PlanAuthorized, PlanDenied, StepAuthorized, AuthorizationRevoked, ApprovalRefused)


def approvals(as_json: AsJson = False) -> None:
    """List the plans, and the steps that executions have reached, that wait for people.

    Example: autopilot approvals
    """
    pending = waiting(Settings())
    if as_json:
        print_json([_summary(p) for p in pending])
        return
    print_table(
        ("approval", "incident", "domain", "service", "who may", "given", "until (UTC)", "what"),
        (
            (
                p.approval_id,
                p.incident_id,
                p.domain,
                p.service,
                p.group,
                f"{len(p.approvers)} of {p.needed}",
                date_time(p.expires_at_us // 1_000),
                p.summary,
            )
            for p in pending
        ),
        "nothing waits for approval",
    )


def approve(
    approval_id: ApprovalId, person: AsPerson, comment: Comment = "", wait_s: WaitS = 10, gateway: Gateway = ""
) -> None:
    """Approve a plan or a step, as it was shown: the approval is bound to the plan's hash and the request's facts.

    Exit code 1 when the policy refuses the approval, denies the plan, or turns back what was begun.
    Example: autopilot approve apr-3f0a9c2b71d4e6a8 --as approver --comment "checked the dashboards"
    """
    request = _request(approval_id)
    decision = request.request.decision
    granted = ApprovalGranted(
        approval_id=request.approval_id,
        plan_id=decision.plan_id,
        plan_hash=decision.plan_hash,
        facts_digest=decision.facts_digest,
        approver=person,
        comment=comment,
    )
    _answer(request, granted, person, wait_s, gateway)


def reject(
    approval_id: ApprovalId, person: AsPerson, comment: Comment = "", wait_s: WaitS = 10, gateway: Gateway = ""
) -> None:
    """Refuse a plan that waits for approval, or a step: what was done before the step is then undone.

    Example: autopilot reject apr-3f0a9c2b71d4e6a8 --as approver --comment "release is a hotfix"
    """
    request = _request(approval_id)
    decision = request.request.decision
    rejected = ApprovalRejected(
        approval_id=request.approval_id,
        plan_id=decision.plan_id,
        plan_hash=decision.plan_hash,
        approver=person,
        comment=comment,
    )
    _answer(request, rejected, person, wait_s, gateway)


def _request(prefix: str) -> PendingApproval:
    settings = Settings()
    matching = [pending for pending in waiting(settings) if pending.approval_id.startswith(prefix)]
    if not matching:
        refuse(_not_waiting(settings, prefix), NO)
    if len(matching) > 1:
        refuse(f"`{prefix}` is the beginning of {len(matching)} ids: say more of it")
    return matching[0]


def _not_waiting(settings: Settings, prefix: str) -> str:
    """Why there is no such request: it is over, or there never was one."""
    asked = read(answering_kafka(settings), registry_of(settings), str(Topic.LOG), types=(ApprovalRequested,))
    for request in (recorded.payload for recorded in asked):
        if isinstance(request, ApprovalRequested) and request.approval_id.startswith(prefix):
            incident_id = request.decision.incident_id
            return f"`{request.approval_id}` waits no longer; `autopilot timeline {incident_id}` says what became of it"
    return f"no request `{prefix}` waits for approval; `autopilot approvals` lists them"


def _answer(
    request: PendingApproval, payload: ApprovalGranted | ApprovalRejected, person: str, wait_s: float, gateway: str
) -> None:
    settings = Settings()
    key = load_key(settings.keys, person)
    event_id = _post(gateway, request, payload, key) if gateway else _publish(settings, request, payload, key)
    typer.echo(f"recorded: event {event_id}")
    answer = _policy_answer(settings, request, event_id, wait_s)
    if answer is not None:
        typer.echo(f"{answer.event_type()}: {why(answer)}")
    else:
        course = f"`autopilot timeline {request.incident_id}`"
        announce(f"nothing is decided after {wait_s:g} s; {course} tells it, `autopilot approvals` who else is needed")
    granted = isinstance(payload, ApprovalGranted)
    if isinstance(answer, ApprovalRefused) or (granted and isinstance(answer, PlanDenied | AuthorizationRevoked)):
        raise typer.Exit(NO)


def _publish(settings: Settings, request: PendingApproval, payload: Payload, key: SigningKey) -> str:
    publisher = publisher_of(settings, key.principal, key)
    try:
        draft = Draft(payload, request.domain, request.service, request.incident_id)
        event_id = publisher.publish(draft, request.position.partition)
        publisher.flush()
    finally:
        publisher.close()
    return event_id


def _post(gateway: str, request: PendingApproval, payload: ApprovalGranted | ApprovalRejected, key: SigningKey) -> str:
    from autopilot.infra.approval_gateway import PATH, signed_body  # a web server: most commands do without

    body = signed_body(key, payload, request.domain, request.service, request.incident_id, time.time_ns() // 1_000)
    try:
        response = httpx.post(gateway.rstrip("/") + PATH, json=body, timeout=30)
        told = response.json()
    except (httpx.HTTPError, ValueError) as error:
        refuse(f"the gateway at {gateway} does not answer as one: {error}")
    if response.status_code != httpx.codes.ACCEPTED:
        refuse(f"the gateway refuses it: {told.get('error', response.status_code)}", NO)
    return str(told["event_id"])


def _policy_answer(settings: Settings, request: PendingApproval, event_id: str, wait_s: float) -> Payload | None:
    """What the policy says about the plan after the event, or None when it has not by the time."""
    at, kafka, registry = request.position, answering_kafka(settings), registry_of(settings)
    plan = request.request.decision.plan_id
    deadline = time.monotonic() + wait_s
    while True:
        events = read(
            kafka,
            registry,
            str(Topic.LOG),
            types=ANSWERS,
            partitions=[at.partition],
            start={at.partition: at.offset},
        )
        for recorded in events:
            payload = recorded.payload
            if isinstance(payload, ApprovalRefused) and payload.event_id == event_id:
                return payload
            if isinstance(payload, PlanAuthorized | PlanDenied | StepAuthorized) and payload.decision.plan_id == plan:
                return payload
            if isinstance(payload, AuthorizationRevoked) and payload.plan_id == plan:
                return payload
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)


def _summary(p: PendingApproval) -> dict[str, object]:
    return {
        "approval_id": p.approval_id,
        "incident_id": p.incident_id,
        "plan_id": p.request.decision.plan_id,
        "domain": p.domain,
        "service": p.service,
        "summary": p.summary,
        "subject": p.request.subject,
        "step_ids": p.request.step_ids,
        "outcome_id": p.request.outcome_id,
        "group": p.group,
        "needed": p.needed,
        "approvers": list(p.approvers),
        "expires_at_us": p.expires_at_us,
    }
