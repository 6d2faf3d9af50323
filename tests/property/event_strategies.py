"""Instances of every contract, generated from the model's fields alone: a new event type needs nothing here."""

import types
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from autopilot.schemas.contract import Contract, Payload
from autopilot.schemas.envelope import Envelope, Event

_LONG = (-(2**63), 2**63 - 1)


def events(model: type[Payload]) -> st.SearchStrategy[Event[Any]]:
    """Events of one type, envelope and all."""
    return st.builds(Event, contracts(Envelope), contracts(model))


def contracts(model: type[Contract]) -> st.SearchStrategy[Any]:
    """Instances of a contract; a field with a default is sometimes left to it."""
    required, defaulted = {}, {}
    for name, info in model.model_fields.items():
        (required if info.is_required() else defaulted)[name] = _field(info)
    return st.fixed_dictionaries(required, optional=defaulted).map(lambda values: model(**values))


def _field(info: FieldInfo) -> st.SearchStrategy[Any]:
    return _type(info.annotation, info.metadata)


def _type(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(args[0], [*metadata, *args[1:]])
    if origin in (Union, types.UnionType):
        return st.one_of(*(_type(branch, metadata) for branch in args))
    if origin is list:
        return st.lists(_type(args[0], []), max_size=2)
    if origin is dict:
        return st.dictionaries(st.text(max_size=3), _type(args[1], []), max_size=2)
    if issubclass(annotation, Contract):
        return contracts(annotation)
    return _plain(annotation, metadata)


def _plain(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    if issubclass(annotation, StrEnum):
        return st.sampled_from(annotation)
    if annotation is int:
        return st.integers(*_bounds(metadata))
    if annotation is str:
        lengths = {type(m): m for m in metadata}
        low, high = lengths.get(MinLen, MinLen(0)).min_length, lengths.get(MaxLen, MaxLen(8)).max_length
        return st.text(min_size=low, max_size=min(high, low + 8))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        float: st.floats(allow_nan=False),
        bytes: st.binary(max_size=8),
    }
    return plain[annotation]


def _bounds(metadata: list[Any]) -> tuple[int, int]:
    low, high = _LONG
    for bound in metadata:
        if isinstance(bound, Ge):
            low = max(low, int(str(bound.ge)))
        elif isinstance(bound, Gt):
            low = max(low, int(str(bound.gt)) + 1)
        elif isinstance(bound, Le):
            high = min(high, int(str(bound.le)))
        elif isinstance(bound, Lt):
            high = min(high, int(str(bound.lt)) - 1)
    return low, high
