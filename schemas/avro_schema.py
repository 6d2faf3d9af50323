"""Avro schemas derived from the pydantic models: one record for each event type, its envelope first.

The models are the one definition. `schema_of(model)` is pure; `autopilot.schemas.avro_files` holds the result against
the committed `avro/*.avsc` files.
"""

import types
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from autopilot.schemas.contract import Contract, Payload
from autopilot.schemas.envelope import Envelope

NAMESPACE = "autopilot.events"
Schema = dict[str, Any]

_PRIMITIVES: dict[type, str] = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes"}


@cache
def schema_of(model: type[Payload]) -> Schema:
    """The Avro record schema of an event type: `envelope`, then the payload's fields (Avro 1.12)."""
    named: set[str] = set()
    envelope = {"name": "envelope", "doc": _summary(Envelope), "type": _record(Envelope, named)}
    fields = [envelope, *(_field(name, info, named) for name, info in model.model_fields.items())]
    return {
        "type": "record",
        "name": model.event_type(),
        "namespace": NAMESPACE,
        "doc": _summary(model),
        "fields": fields,
    }


def _record(model: type[Contract], named: set[str]) -> Schema | str:
    if model.__name__ in named:
        return f"{NAMESPACE}.{model.__name__}"
    named.add(model.__name__)
    fields = [_field(name, info, named) for name, info in model.model_fields.items()]
    return {"type": "record", "name": model.__name__, "namespace": NAMESPACE, "doc": _summary(model), "fields": fields}


def _field(name: str, info: FieldInfo, named: set[str]) -> Schema:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    avro_type = _type(info.annotation, named)
    logical = extra.get("logicalType")
    if logical is not None:
        avro_type = {"type": avro_type, "logicalType": logical}
    if "items" in extra:
        avro_type = {"type": "array", "items": {"type": "long", "logicalType": extra["items"]}}
    if not info.description:
        raise TypeError(f"field `{name}` has no description")
    field: Schema = {"name": name, "doc": info.description, "type": avro_type}
    if info.default is not PydanticUndefined:
        default = info.default
        field["default"] = default.model_dump(mode="json") if isinstance(default, Contract) else default
    return field


def _type(annotation: Any, named: set[str]) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = [a for a in args if a is not type(None)]
        return ["null", _type(inner, named)]
    if origin is list:
        return {"type": "array", "items": _type(args[0], named)}
    if origin is dict:
        return {"type": "map", "values": _type(args[1], named)}
    if hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__, named)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "string"
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        return _record(annotation, named)
    if annotation in _PRIMITIVES:
        return _PRIMITIVES[annotation]
    raise TypeError(f"`{annotation}` has no Avro type; use a primitive, StrEnum, list, dict or Contract")


def _summary(model: type[Contract]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
