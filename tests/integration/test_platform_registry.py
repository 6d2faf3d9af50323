"""The embedded registry behind the Confluent API: ids for writers, schemas for readers, kept in Kafka."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from autopilot.infra.platform.registry import EmbeddedRegistry
from autopilot.infra.schema_registry import HttpSchemaRegistry, RegistryError
from autopilot.schemas.avro_schema import schema_of
from autopilot.schemas.errors import UnknownSchemaError
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import canonical_json, subject_of

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def registry(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRegistry]:
    process = EmbeddedRegistry(tmp_path_factory.mktemp("registry"), kafka)
    process.start(print)
    yield process
    process.stop()


@pytest.fixture
def client(registry: EmbeddedRegistry) -> Iterator[HttpSchemaRegistry]:
    connected = HttpSchemaRegistry(registry.url)
    yield connected
    connected.close()


def test_every_event_type_registers_and_reads_back_unchanged(client: HttpSchemaRegistry) -> None:
    ids = {model: client.id_for(model) for model in EVENT_TYPES.values()}
    assert len(set(ids.values())) == len(EVENT_TYPES)
    for model, schema_id in ids.items():
        assert client.schema_for(schema_id) == schema_of(model)


def test_registering_again_gives_the_same_id(client: HttpSchemaRegistry, registry: EmbeddedRegistry) -> None:
    other = HttpSchemaRegistry(registry.url)
    assert other.id_for(Tick) == client.id_for(Tick)
    other.close()


def test_an_unknown_id_is_a_contract_error(client: HttpSchemaRegistry) -> None:
    with pytest.raises(UnknownSchemaError, match="`schema id` is 999999"):
        client.schema_for(999_999)


def test_an_incompatible_change_is_refused(client: HttpSchemaRegistry, registry: EmbeddedRegistry) -> None:
    client.id_for(Tick)
    schema = schema_of(Tick)
    broken = schema | {"fields": [*schema["fields"], {"name": "mandatory", "type": "string"}]}
    answer = httpx.post(
        f"{registry.url}/subjects/{subject_of(Tick)}/versions", json={"schema": canonical_json(broken)}, timeout=10
    )
    assert answer.status_code == 409


def test_ids_outlive_the_registry_process(kafka: str, tmp_path: Path, client: HttpSchemaRegistry) -> None:
    before = client.id_for(Tick)
    second = EmbeddedRegistry(tmp_path, kafka)
    second.start()
    reader = HttpSchemaRegistry(second.url)
    try:
        assert reader.schema_for(before) == schema_of(Tick)
        assert reader.id_for(Tick) == before
    finally:
        reader.close()
        second.stop()


def test_an_unreachable_registry_is_named() -> None:
    lonely = HttpSchemaRegistry("http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(RegistryError, match=r"registry at `http://127\.0\.0\.1:9` does not answer"):
        lonely.id_for(Tick)
    lonely.close()
