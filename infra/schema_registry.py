"""A schema registry with the Confluent API: Apicurio, Confluent's own, Redpanda's, Karapace."""

import json
import threading
from typing import Any

import httpx
from fastavro.schema import to_parsing_canonical_form

from autopilot.infra.errors import MendableError
from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.errors import UnknownSchemaError
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.registry import canonical_json, subject_of
from autopilot.streams.errors import UnreachableError

COMPATIBILITY = "FULL_TRANSITIVE"
_NO_IDLE_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)
"""Everything is asked once, so a connection is not worth keeping."""
_CONTENT = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


class RegistryError(MendableError, UnreachableError):
    """The registry cannot be reached or refuses: the message says what was asked of whom, and the answer.

    A worker takes it as it takes a broker that does not answer: it starts anew until the registry is back.
    """


class HttpSchemaRegistry:
    """Implements `SchemaRegistry`. Both directions are cached for ever, because an id never changes its schema.

    Registering is idempotent: the same schema under the same subject keeps its id. A subject that is registered for
    the first time is held to FULL_TRANSITIVE compatibility from then on.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(timeout=timeout_s, transport=transport, limits=_NO_IDLE_CONNECTIONS)
        self._ids: dict[type[Payload], int] = {}
        self._schemas: dict[int, Schema] = {}
        self._subjects: set[str] = set()
        self._lock = threading.Lock()

    def id_for(self, model: type[Payload]) -> int:
        """The id of the model's schema, registering it if need be. Raises `RegistryError`."""
        with self._lock:
            if model not in self._ids:
                self._ids[model] = self._register(model)
            return self._ids[model]

    def schema_for(self, schema_id: int) -> Schema:
        """The schema of an id. Raises `UnknownSchemaError` when there is none, `RegistryError` without an answer."""
        with self._lock:
            if schema_id not in self._schemas:
                self._schemas[schema_id] = self._fetch(schema_id)
            return self._schemas[schema_id]

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _register(self, model: type[Payload]) -> int:
        subject = subject_of(model)
        if subject not in self._subjects:
            self._subjects |= set(self._expect_ok("GET", "/subjects"))
        body = {"schema": canonical_json(schema_of(model)), "schemaType": "AVRO"}
        answer = self._expect_ok("POST", f"/subjects/{subject}/versions", body)
        if subject not in self._subjects:
            self._expect_ok("PUT", f"/config/{subject}", {"compatibility": COMPATIBILITY})
            self._subjects.add(subject)
        return int(answer["id"])

    def _fetch(self, schema_id: int) -> Schema:
        response = self._request("GET", f"/schemas/ids/{schema_id}")
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UnknownSchemaError("schema id", str(schema_id), "an id that the registry knows")
        answer = self._checked(response, "GET", f"/schemas/ids/{schema_id}")
        return _ours_if_equal(json.loads(answer["schema"]))

    def _expect_ok(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        return self._checked(self._request(method, path, body), method, path)

    def _checked(self, response: httpx.Response, method: str, path: str) -> Any:
        if response.status_code != httpx.codes.OK:
            raise RegistryError(
                f"registry at `{self.url}` answers {response.status_code} to {method} {path}: {response.text[:500]}"
            )
        return response.json()

    def _request(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, self.url + path, json=body, headers=_CONTENT if body else None)
        except httpx.HTTPError as error:
            raise RegistryError(
                f"registry at `{self.url}` does not answer ({type(error).__name__}); is it running? `autopilot status` "
                "shows it, `AUTOPILOT_REGISTRY` points at another"
            ) from None


def _ours_if_equal(written: Schema) -> Schema:
    """Our own form of `written` when both read the same bytes (Avro's parsing canonical form is equal).

    A registry may hand out a schema in another notation than it was given; the codec resolves schemas record by record
    when they differ, so a difference of notation would make every read slower.
    """
    model = EVENT_TYPES.get(written.get("name", ""))
    if model is None:
        return written
    current = schema_of(model)
    return current if to_parsing_canonical_form(written) == to_parsing_canonical_form(current) else written
