"""The registry client: what it asks, what it remembers, what it says when there is no answer."""

import json

import httpx
import pytest

from autopilot.infra.schema_registry import HttpSchemaRegistry, RegistryError
from autopilot.schemas.avro_schema import schema_of
from autopilot.schemas.errors import UnknownSchemaError
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import subject_of


class FakeRegistry(httpx.MockTransport):
    """A registry that numbers what it is given and keeps a list of what it was asked."""

    def __init__(self, subjects: list[str] | None = None) -> None:
        super().__init__(self.answer)
        self.subjects = subjects or []
        self.schemas: list[str] = []
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if request.url.path == "/subjects":
            return httpx.Response(200, json=self.subjects)
        if request.method == "PUT":
            return httpx.Response(200, json=json.loads(request.content))
        if request.method == "POST":
            self.schemas.append(json.loads(request.content)["schema"])
            return httpx.Response(200, json={"id": len(self.schemas)})
        number = int(request.url.path.rsplit("/", 1)[1])
        if number > len(self.schemas):
            return httpx.Response(404, json={"error_code": 40403})
        return httpx.Response(200, json={"schema": self.schemas[number - 1]})


def client(transport: httpx.BaseTransport) -> HttpSchemaRegistry:
    return HttpSchemaRegistry("http://registry/", transport=transport)


def test_a_new_subject_is_registered_once_and_held_to_compatibility() -> None:
    registry = FakeRegistry()
    asking = client(registry)
    assert [asking.id_for(Tick), asking.id_for(Tick)] == [1, 1]
    subject = subject_of(Tick)
    assert registry.asked == ["GET /subjects", f"POST /subjects/{subject}/versions", f"PUT /config/{subject}"]


def test_a_known_subject_keeps_its_compatibility() -> None:
    registry = FakeRegistry([subject_of(Tick)])
    client(registry).id_for(Tick)
    assert not any(asked.startswith("PUT") for asked in registry.asked)


def test_a_schema_in_another_notation_is_recognised_as_ours() -> None:
    registry = FakeRegistry()
    asking = client(registry)
    asking.id_for(Tick)
    registry.schemas[0] = json.dumps(dict(reversed(json.loads(registry.schemas[0]).items())) | {"doc": "reworded"})
    assert asking.schema_for(1) is schema_of(Tick)


def test_another_schema_is_given_as_it_is() -> None:
    registry = FakeRegistry()
    registry.schemas.append(json.dumps({"type": "record", "name": "Foreign", "fields": []}))
    assert client(registry).schema_for(1)["name"] == "Foreign"


def test_an_unknown_id_is_a_contract_error() -> None:
    with pytest.raises(UnknownSchemaError, match="`schema id` is 7"):
        client(FakeRegistry()).schema_for(7)


def test_a_refusal_says_what_was_asked_of_whom() -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(409, text="incompatible"))
    with pytest.raises(RegistryError, match=r"`http://registry` answers 409 to GET /subjects: incompatible"):
        client(refusing).id_for(Tick)
