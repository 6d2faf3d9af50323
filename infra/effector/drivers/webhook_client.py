"""HTTP to one endpoint of the webhook driver: signed calls and look-ups, every failure as an error of the port."""

import json
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from autopilot.infra.effector.drivers.webhook_settings import Endpoint
from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.infra.webhook_signature import read_secret, signed_headers

MAX_SHOWN = 300
"""How much of an answer is told, in characters."""
MAX_BODY_BYTES = 256 * 1024
"""How much of an answer is read."""
_REFUSED: Mapping[int, type[TargetError]] = {
    401: DeniedError,
    403: DeniedError,
    404: MissingError,
    408: TransientError,
    409: ConflictError,
    410: MissingError,
    429: TransientError,
}
"""Answers by which a request was not carried out. 408 (RFC 9110) and 429 (RFC 6585) are given before it is."""


class _Answer(NamedTuple):
    status: int
    reason: str
    body: bytes


_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class WebhookClient:
    """One endpoint. Files with secrets are read for each request: a new secret needs no restart."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self._name = name
        self._endpoint = endpoint
        verify = ssl.create_default_context(cafile=str(endpoint.ca_file)) if endpoint.ca_file else True
        # no connection is kept: one that the other side has closed meanwhile would leave open if a call got there;
        # a proxy is named in the settings and never found in the environment
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(verify=verify, proxy=endpoint.proxy or None, trust_env=False, limits=limits)

    def call(self, body: Mapping[str, Any], key: str, timeout_s: float) -> dict[str, Any]:
        """Posts what is to be done, under a key. Gives the answer's JSON object, an empty one for another answer.

        Whatever leaves open if it was carried out is raised as `TargetTimeoutError`, never as worth another try.
        """
        content = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        headers = {"content-type": "application/json", "idempotency-key": key, **self._authority()}
        if self._endpoint.secret_file is not None:
            headers |= signed_headers(self._secret(self._endpoint.secret_file), key, int(time.time()), content)
        request = self._http.build_request("POST", self._endpoint.url, headers=headers, content=content)
        return self._content(self._send(request, timeout_s, TargetTimeoutError), TargetTimeoutError)

    def look_up(self, key: str, timeout_s: float) -> dict[str, Any] | None:
        """What the endpoint says of a key; None when it never saw it."""
        found = self._get(str(self._endpoint.lookup_url), timeout_s, {"key": key})
        return None if found.status == httpx.codes.NOT_FOUND else self._content(found, TransientError)

    def state(self, timeout_s: float) -> dict[str, Any]:
        """The state that the endpoint tells."""
        return self._content(self._get(str(self._endpoint.state_url), timeout_s, {}), TransientError)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _get(self, url: str, timeout_s: float, query: Mapping[str, str]) -> _Answer:
        request = self._http.build_request("GET", httpx.URL(url).copy_merge_params(query), headers=self._authority())
        return self._send(request, timeout_s, TransientError)

    def _send(self, request: httpx.Request, timeout_s: float, unclear: type[TargetError]) -> _Answer:
        """The whole answer, within the time. `unclear` is raised when the request may have got there."""
        limit_s = max(0.001, min(timeout_s, self._endpoint.timeout_s))
        request.extensions["timeout"] = httpx.Timeout(limit_s).as_dict()
        until = time.monotonic() + limit_s
        try:
            answer = self._http.send(request, stream=True)
            try:
                return _Answer(answer.status_code, answer.reason_phrase, _body(answer, until))
            finally:
                answer.close()
        except _NOT_SENT as error:
            raise TransientError(f"`{self._name}` cannot be reached: {_named(error)}") from None
        except httpx.TimeoutException:
            raise TargetTimeoutError(f"`{self._name}` does not answer within {limit_s:g} s") from None
        except httpx.HTTPError as error:
            raise unclear(f"`{self._name}` broke off: {_named(error)}") from None

    def _content(self, answer: _Answer, unclear: type[TargetError]) -> dict[str, Any]:
        """The JSON object of a good answer. Raises what another one means."""
        if 200 <= answer.status < 300:
            return _object(answer.body)
        said = " ".join(answer.body.decode(errors="replace").split())[:MAX_SHOWN]
        error = _REFUSED.get(answer.status, unclear if answer.status >= 500 else PermanentError)
        raise error(f"`{self._name}` answers {answer.status} {answer.reason}" + (f": {said}" if said else ""))

    # -- secrets -----------------------------------------------------------------------------------------------------

    def _authority(self) -> dict[str, str]:
        path = self._endpoint.token_file
        if path is None:
            return {}
        try:
            return {"authorization": f"Bearer {path.read_text(encoding='utf-8').strip()}"}
        except OSError as error:
            raise DeniedError(f"the token of `{self._name}` cannot be read: {error}") from None

    def _secret(self, path: Path) -> bytes:
        try:
            return read_secret(path)
        except (OSError, ValueError) as error:
            raise DeniedError(f"the secret of `{self._name}` cannot be read: {error}") from None


def _body(answer: httpx.Response, until: float) -> bytes:
    body = b""
    for part in answer.iter_bytes():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise httpx.ReadError(f"the answer has more than {MAX_BODY_BYTES} bytes")
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer does not end")
    return body


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
