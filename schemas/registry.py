"""The schema registry port: schema ids for writers, schemas for readers. Subjects are record names."""

import json
from typing import Protocol

from autopilot.schemas.avro_schema import NAMESPACE, Schema, schema_of
from autopilot.schemas.contract import Payload
from autopilot.schemas.errors import UnknownSchemaError
from autopilot.schemas.events import EVENT_TYPES


class SchemaRegistry(Protocol):
    """What the codec needs of a registry. Implementations cache: an id never changes its schema."""

    def id_for(self, model: type[Payload]) -> int:
        """The id under which the model's current schema is registered, registering it if need be."""
        ...

    def schema_for(self, schema_id: int) -> Schema:
        """The schema of an id. Raises `UnknownSchemaError`."""
        ...


def subject_of(model: type[Payload]) -> str:
    """The registry subject of an event type (record name strategy)."""
    return f"{NAMESPACE}.{model.event_type()}"


def canonical_json(schema: Schema) -> str:
    """A schema as the one line of JSON that is registered."""
    return json.dumps(schema, separators=(",", ":"))


class BundledRegistry:
    """The schemas of this version under the ids 1, 2, 3 ...: for the in-process runner and for tests."""

    def __init__(self) -> None:
        self._ids = {model: i for i, model in enumerate(EVENT_TYPES.values(), start=1)}
        self._schemas = {i: schema_of(model) for model, i in self._ids.items()}

    def id_for(self, model: type[Payload]) -> int:
        """The model's place among the event types, from 1."""
        return self._ids[model]

    def schema_for(self, schema_id: int) -> Schema:
        """The schema at that place."""
        try:
            return self._schemas[schema_id]
        except KeyError:
            raise UnknownSchemaError("schema id", str(schema_id), "an id that the registry knows") from None
