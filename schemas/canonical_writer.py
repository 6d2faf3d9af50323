"""Canonical JSON of contracts: what `canonical` gives of their plain data, written from the fields themselves."""

import types
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from json.encoder import encode_basestring
from typing import Any, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from autopilot.schemas.contract import Contract

Write = Callable[[Any], str]


@cache
def canonical_writer(model: type[Contract], *, without_defaults: bool = False) -> Write:
    """What gives the canonical JSON of the model's instances; `without_defaults` leaves out what is its default.

    Raises TypeError for a model with a field of another type than text, whole number, truth, or list, map or contract
    of these.
    """
    members = [
        (f"{encode_basestring(name)}:", name, _writer(info.annotation, without_defaults), info.default)
        for name, info in sorted(model.model_fields.items())
    ]

    def write(value: Any) -> str:
        fields = value.__dict__
        return f"{{{','.join([label + write_field(fields[name]) for label, name, write_field, _ in members])}}}"

    def write_others(value: Any) -> str:
        fields = value.__dict__
        others = [
            label + write_field(fields[name])
            for label, name, write_field, default in members
            if default is PydanticUndefined or fields[name] != default
        ]
        return f"{{{','.join(others)}}}"

    return write_others if without_defaults else write


def _writer(annotation: Any, without_defaults: bool) -> Write:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = [one for one in args if one is not type(None)]
        return _optional(_writer(inner, without_defaults))
    if origin is list:
        return _list(_writer(args[0], without_defaults))
    if origin is dict and args[0] is str:
        return _map(_writer(args[1], without_defaults))
    if hasattr(annotation, "__metadata__"):
        return _writer(annotation.__origin__, without_defaults)
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        return canonical_writer(annotation, without_defaults=without_defaults)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return encode_basestring
    if annotation not in _PLAIN:
        raise TypeError(f"`{annotation}` has no canonical text here; dump it")
    return _PLAIN[annotation]


def _optional(write: Write) -> Write:
    return lambda value: "null" if value is None else write(value)


def _list(write: Write) -> Write:
    return lambda values: f"[{','.join(map(write, values))}]"


def _map(write: Write) -> Write:
    def write_map(values: dict[str, Any]) -> str:
        members = [f"{encode_basestring(key)}:{write(value)}" for key, value in sorted(values.items())]
        return f"{{{','.join(members)}}}"

    return write_map


_PLAIN: dict[Any, Write] = {str: encode_basestring, int: int.__repr__, bool: lambda value: "true" if value else "false"}
