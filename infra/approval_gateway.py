"""The approval gateway: people answer approval requests over HTTP with records that they have signed themselves.

    GET  /v1/approvals      what waits, with all that an answer must name
    POST /v1/approvals      {"event_type", "value", "signature"}: 202 with the event's id once Kafka has it,
                            403 for a signature that is not the named person's, 404 for a request that there never was

`value` is the event in the wire format of `schemas/codec.py` in base64, `signature` what `SigningKey.sign` gives over
it: it covers type, key and Avro record but not the five bytes that name a schema, which are the gateway's. The gateway
holds no key and decides nothing: it refuses what bears no valid signature of the person who is named, so that nobody
can fill the log, and passes on the rest. Whether an approval counts, the policy decides, in the log.
"""

import asyncio
import base64
import binascii
import json
import threading
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiohttp import web

from autopilot.infra.approval_book import ApprovalBook
from autopilot.projections.approvals import PendingApproval
from autopilot.schemas.codec import HEADER_BYTES, Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft, Event
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import BundledRegistry, SchemaRegistry
from autopilot.schemas.signing import SigningKey, holds
from autopilot.streams.errors import StreamError
from autopilot.streams.mint import Mint
from autopilot.streams.publisher import Publisher
from autopilot.streams.record import EVENT_TYPE, RUN, SIGNATURE, Outgoing

PATH: Final = "/v1/approvals"
MAX_BODY_BYTES: Final = 64 * 1024
"""Largest body of a request, in bytes."""
_TYPES: Final = {model.event_type(): model for model in (ApprovalGranted, ApprovalRejected)}
_POLL_S: Final = 0.1

Answer = ApprovalGranted | ApprovalRejected

_log = structlog.get_logger(__name__)


class NotTakenError(Exception):
    """A request is not passed on; `status` is the HTTP status, the message says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class ApprovalGateway:
    """Serves until it is stopped. `ready` is set once it listens; `port` is then the real one (0: a free one)."""

    def __init__(
        self, *, kafka: Mapping[str, str], registry: SchemaRegistry, partitions: int, host: str, port: int
    ) -> None:
        self.host = host
        self.port = port
        self.ready = threading.Event()
        self._book = ApprovalBook(kafka, registry)
        self._codec = Codec(registry)
        self._publisher = Publisher(kafka=kafka, registry=registry, producer="gateway", partitions=partitions)

    def run(self, stop: threading.Event) -> None:
        """Serves until `stop` is set. Raises `OSError` when the port is taken."""
        try:
            asyncio.run(self._serve(stop))
        finally:
            self._publisher.close()

    async def _serve(self, stop: threading.Event) -> None:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.get(PATH, self._waiting), web.post(PATH, self._take)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
            self.port = runner.addresses[0][1]
            self.ready.set()
            _log.info("approval gateway listens", host=self.host, port=self.port)
            while not stop.is_set():
                await asyncio.sleep(_POLL_S)
        finally:
            await runner.cleanup()

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _waiting(self, _request: web.Request) -> web.Response:
        pending = await asyncio.to_thread(self._book.pending)
        return web.json_response([_shown(one) for one in pending])

    async def _take(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            event_id = await asyncio.to_thread(self._pass_on, body)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return _refused(400, "the body is no JSON")
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        except NotTakenError as why:
            return _refused(why.status, str(why))
        except StreamError as error:
            return _refused(503, str(error))
        return web.json_response({"event_id": event_id}, status=202)

    def _pass_on(self, body: Any) -> str:
        name, value, signature = _parts(body)
        model = _TYPES[name]
        framed = self._codec.encode(_blank(model))[:HEADER_BYTES] + value[HEADER_BYTES:]
        try:
            event = self._codec.decode(framed)
        except ContractError as error:
            raise NotTakenError(400, f"the value is no {name}: {error}") from None
        answer, key = event.payload, event.envelope.domain.encode()
        assert isinstance(answer, ApprovalGranted | ApprovalRejected)
        if event.envelope.run != LIVE_RUN:
            raise NotTakenError(400, f"the event is of the run `{event.envelope.run}`, expected `{LIVE_RUN}`")
        self._check_signature(answer, signature, name, key, framed)
        headers = {EVENT_TYPE: name.encode(), RUN: LIVE_RUN.encode(), SIGNATURE: signature}
        partition = self._partition_of(answer)
        self._publisher.send(Outgoing(str(Topic.LOG), partition, key, framed, headers))
        self._publisher.flush()
        _log.info("answer passed on", approver=answer.approver, approval=answer.approval_id, partition=partition)
        return event.envelope.event_id

    def _check_signature(self, answer: Answer, signature: bytes, name: str, key: bytes, value: bytes) -> None:
        keys = [each.public_key for each in self._book.signers() if each.name == answer.approver]
        if not any(holds(signature, public, name, key, value) for public in keys):
            raise NotTakenError(403, f"the signature is not that of `{answer.approver}` with a key in force")

    def _partition_of(self, answer: Answer) -> int:
        """Where the plan's request stands, answered or not; the policy there refuses what comes too late."""
        partition = self._book.partition_of(answer.approval_id)
        if partition is None:
            raise NotTakenError(404, f"there never was a request `{answer.approval_id}`")
        return partition


# -- the person's side -------------------------------------------------------------------------------------------------


def signed_body(
    key: SigningKey, answer: Answer, domain: str, service: str, incident_id: str, at_us: int
) -> dict[str, str]:
    """The body of a POST, made and signed where the person's key is."""
    mint = Mint(Codec(BundledRegistry()), key.principal, 1, key=key, signs=frozenset(_TYPES))
    event = mint.outside_event(Draft(answer, domain, service, incident_id), at_us)
    record = mint.record(event, 0)
    return {
        "event_type": event.type,
        "value": base64.b64encode(record.value).decode(),
        "signature": record.headers[SIGNATURE].decode(),
    }


# -- small things ------------------------------------------------------------------------------------------------------


def _parts(body: Any) -> tuple[str, bytes, bytes]:
    if not isinstance(body, dict) or not all(
        isinstance(body.get(n), str) for n in ("event_type", "value", "signature")
    ):
        raise NotTakenError(400, "expected an object with the texts `event_type`, `value` and `signature`")
    if body["event_type"] not in _TYPES:
        raise NotTakenError(400, f"`event_type` is `{body['event_type']}`, expected one of {', '.join(_TYPES)}")
    try:
        value = base64.b64decode(body["value"], validate=True)
    except binascii.Error as error:
        raise NotTakenError(400, f"`value` is not base64: {error}") from None
    return body["event_type"], value, body["signature"].encode()


def _blank(model: type[Answer]) -> Event[Any]:
    """An empty answer, to learn which five bytes this registry puts before one."""
    names = dict.fromkeys(model.model_fields, "")
    mint = Mint(Codec(BundledRegistry()), "", 1)
    return mint.outside_event(Draft(model(**names), ""), 0)


def _shown(pending: PendingApproval) -> dict[str, Any]:
    decision = pending.request.decision
    return {
        "approval_id": pending.approval_id,
        "incident_id": pending.incident_id,
        "plan_id": decision.plan_id,
        "plan_hash": decision.plan_hash,
        "facts_digest": decision.facts_digest,
        "domain": pending.domain,
        "service": pending.service,
        "summary": pending.summary,
        "subject": pending.request.subject,
        "step_ids": pending.request.step_ids,
        "execution_id": pending.request.execution_id,
        "outcome_id": pending.request.outcome_id,
        "group": pending.group,
        "needed": pending.needed,
        "approvers": list(pending.approvers),
        "expires_at_us": pending.expires_at_us,
    }


def _refused(status: int, reason: str) -> web.Response:
    _log.warning("request refused", status=status, reason=reason)
    return web.json_response({"error": reason}, status=status)
