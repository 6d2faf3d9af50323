"""The OTLP/HTTP receiver: services that are instrumented with OpenTelemetry join by pointing their exporter here.

`POST /v1/metrics` (OTLP 1.x; protobuf or JSON, plain or gzip). The answer 200 is given once Kafka has acknowledged what
the request held, so what was answered is never lost. A client that is answered 503 sends again; what so is written
twice counts once, for the observer leaves out samples that are not newer than their series. Requests that arrive while
others are being written are written together and acknowledged once.

aiohttp serves it: Faust brings it in anyway, and it bounds bodies, inflates them and keeps connections alive itself.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from autopilot.infra.bridges.otlp_metrics import translate
from autopilot.schemas.envelope import Draft
from autopilot.schemas.errors import ContractError

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Largest body after inflating, in bytes."""
MAX_WAITING = 64
"""Requests that may wait for Kafka at once; further ones are answered 503."""
RETRY_AFTER_S = 1
_POLL_S = 0.1
_INVALID_ARGUMENT = 3
_UNAVAILABLE = 14

_log = structlog.get_logger(__name__)


class TelemetryPublisher(Protocol):
    """Where batches go. `flush` returns once everything published is acknowledged, and raises when it was not."""

    def publish(self, draft: Draft, partition: int | None = None) -> object:
        """Takes a draft for writing."""
        ...

    def flush(self) -> None:
        """Waits for the acknowledgement of all that was published."""
        ...


@dataclass(frozen=True)
class _Waiting:
    """A request's drafts; `written` gives None, or the error that the request alone is to blame for."""

    drafts: Sequence[Draft]
    written: asyncio.Future[ContractError | None]


class OtlpReceiver:
    """Serves until it is stopped.

    `ready` is set once it listens; `port` is then the real one (0 asks for a free one).
    """

    def __init__(self, *, publisher: TelemetryPublisher, host: str, port: int, max_waiting: int = MAX_WAITING) -> None:
        self.host = host
        self.port = port
        self.ready = threading.Event()
        self._publisher = publisher
        self._max_waiting = max_waiting
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(max_waiting)

    def run(self, stop: threading.Event) -> None:
        """Serves until `stop` is set; what was taken by then is still written and answered. Raises `OSError`
        when the port is taken."""
        asyncio.run(self._serve(stop))

    async def _serve(self, stop: threading.Event) -> None:
        self._queue = asyncio.Queue(self._max_waiting)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.post("/v1/metrics", self._export), web.get("/healthz", _healthy)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=10)
        await runner.setup()
        writer = asyncio.create_task(self._write())
        try:
            await web.TCPSite(runner, self.host, self.port).start()
            self.port = runner.addresses[0][1]
            self.ready.set()
            _log.info("otlp receiver listens", host=self.host, port=self.port)
            while not stop.is_set():
                await asyncio.sleep(_POLL_S)
        finally:
            await runner.cleanup()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    # -- one request -------------------------------------------------------------------------------------------------

    async def _export(self, request: web.Request) -> web.Response:
        encoding = request.content_type
        if encoding not in (PROTOBUF, JSON):
            return _refused(PROTOBUF, 415, f"content type `{encoding}`, expected {PROTOBUF} or {JSON}")
        try:
            message = _parsed(await request.read(), encoding)
        except web.HTTPRequestEntityTooLarge:
            return _refused(encoding, 413, f"the body has more than {MAX_BODY_BYTES} bytes")
        except (DecodeError, json_format.ParseError, UnicodeDecodeError, web.RequestPayloadError) as error:
            return _refused(encoding, 400, f"the body is no ExportMetricsServiceRequest: {error}")
        translated = translate(message, f"otlp:{request.remote}")
        drafts = [Draft(batch, domain="", service=service) for service, batch in translated.batches]
        if drafts:
            failure = await self._written(drafts, encoding)
            if failure is not None:
                return failure
        response = ExportMetricsServiceResponse()
        if translated.rejected or translated.reasons:
            response.partial_success.rejected_data_points = translated.rejected
            response.partial_success.error_message = "; ".join(translated.reasons)[:2_000]
            _log.warning("points refused", count=translated.rejected, reasons=translated.reasons[:5])
        return _answer(encoding, 200, response)

    async def _written(self, drafts: Sequence[Draft], encoding: str) -> web.Response | None:
        """None once Kafka has the drafts, otherwise what the client is answered."""
        waiting = _Waiting(drafts, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            return _refused(encoding, 503, f"{self._max_waiting} requests wait for Kafka already")
        try:
            refusal = await waiting.written
        except ConnectionError as error:
            return _refused(encoding, 503, str(error))
        return None if refusal is None else _refused(encoding, 400, str(refusal))

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            group = [await self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get_nowait())
            try:
                refusals = await asyncio.to_thread(self._commit, group)
            except Exception as error:  # whatever kept Kafka from acknowledging, the clients must keep their data
                _log.warning("telemetry not acknowledged", requests=len(group), error=str(error))
                for waiting in group:
                    waiting.written.set_exception(ConnectionError(f"Kafka did not acknowledge: {error}"))
            else:
                for waiting, refusal in zip(group, refusals, strict=True):
                    waiting.written.set_result(refusal)

    def _commit(self, group: Sequence[_Waiting]) -> list[ContractError | None]:
        refusals = [self._publish(waiting.drafts) for waiting in group]
        self._publisher.flush()
        return refusals

    def _publish(self, drafts: Sequence[Draft]) -> ContractError | None:
        try:
            for draft in drafts:
                self._publisher.publish(draft)
        except ContractError as error:
            return error
        return None


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _parsed(body: bytes, encoding: str) -> ExportMetricsServiceRequest:
    message = ExportMetricsServiceRequest()
    if encoding == JSON:
        json_format.Parse(body.decode(), message, ignore_unknown_fields=True)
    else:
        message.ParseFromString(body)
    return message


def _refused(encoding: str, status: int, reason: str) -> web.Response:
    code = _UNAVAILABLE if status == 503 else _INVALID_ARGUMENT
    answer = _answer(encoding, status, Status(code=code, message=reason))
    if status == 503:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    else:
        _log.warning("request refused", status=status, reason=reason)
    return answer


def _answer(encoding: str, status: int, message: Message) -> web.Response:
    body = json_format.MessageToJson(message).encode() if encoding == JSON else message.SerializeToString()
    return web.Response(body=body, status=status, content_type=encoding)
