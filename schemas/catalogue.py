"""The catalogue of events as a page of documentation, made from the models so that it cannot drift from them."""

import inspect
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.configuration import canonical
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Envelope
from autopilot.schemas.events import EVENT_TYPES, FAMILIES

_UNITS = {
    "_us": "microseconds",
    "_ms": "milliseconds",
    "_bp": "basis points",
    "_milli": "thousandths",
}
"""Last part of a field's name -> its unit."""

_INTRODUCTION = """\
# Events

Made from the models in `schemas/events/` by `autopilot schemas docs`; do not edit by hand.

Every event is one Avro record: the envelope, then the fields of its type. Units are the last part of a field's name:
`_us` microseconds (since the Unix epoch for `timestamp-micros`), `_ms` milliseconds, `_bp` basis points (10000 is the
whole), `_milli` thousandths. What is said to be signed [counts for nothing](security.md) without that signature. The
schemas themselves are in [`schemas/avro/`](../schemas/avro/).
"""


def events_page(signers: Mapping[str, str]) -> str:
    """The whole page, in Markdown. `signers`: event type -> who signs it, for those that are signed."""
    lines = (line for family in FAMILIES for line in _family(family, signers))
    return "\n".join([_INTRODUCTION, *_envelope(), *lines])


def unit_of(field: str) -> str:
    """The unit that a field's name ends with, in words; empty when it has none."""
    return next((unit for suffix, unit in _UNITS.items() if field.endswith(suffix)), "")


def _envelope() -> Iterator[str]:
    (envelope,) = [f for f in schema_of(next(iter(EVENT_TYPES.values())))["fields"] if f["name"] == "envelope"]
    yield from ["## Envelope", "", _doc(Envelope), "", *_fields(envelope["type"]["fields"])]


def _family(family: ModuleType, signers: Mapping[str, str]) -> Iterator[str]:
    yield from [f"## {family.__name__.rpartition('.')[2].capitalize()}", "", _doc(family), ""]
    for model in EVENT_TYPES.values():
        if model.__module__ == family.__name__:
            yield from _event(model, signers.get(model.event_type(), ""))


def _event(model: type[Payload], signer: str) -> Iterator[str]:
    schema = schema_of(model)
    where = f"Topic `{model.topic}`" + (
        ", broadcast to every partition of it and of telemetry." if model.broadcast else "."
    )
    where += f" Signed by {signer}." if signer else ""
    yield from [f"### {model.event_type()}", "", _doc(model), "", where, ""]
    yield from _fields([f for f in schema["fields"] if f["name"] != "envelope"])
    for record in _records(schema["fields"]):
        yield from [f"`{record['name']}`: {record['doc']}", "", *_fields(record["fields"])]


def _fields(fields: list[Schema]) -> Iterator[str]:
    yield from ["| field | type | unit | meaning |", "|---|---|---|---|"]
    for field in fields:
        meaning = field["doc"] + (f" Default `{_shown(field['default'])}`." if "default" in field else "")
        cells = (f"`{field['name']}`", _type(field["type"]), unit_of(field["name"]), meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _records(fields: list[Schema]) -> Iterator[Schema]:
    """The records nested in `fields`, where each is defined, outermost first; not the envelope."""
    for field in fields:
        node = field["type"]
        while isinstance(node, dict) and node["type"] in ("array", "map"):
            node = node["items"] if node["type"] == "array" else node["values"]
        if isinstance(node, list):
            node = node[1]
        if isinstance(node, dict) and node["type"] == "record" and field["name"] != "envelope":
            yield node
            yield from _records(node["fields"])


def _type(node: Any) -> str:
    if isinstance(node, str):
        return node.rpartition(".")[2]
    if isinstance(node, list):
        return " or ".join(_type(branch) for branch in node)
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if node["type"] == "map":
        return f"map of {_type(node['values'])}"
    return str(node.get("logicalType") or node.get("name") or node["type"])


def _shown(default: Any) -> str:
    if isinstance(default, dict):
        return canonical(default)
    return "null" if default is None else str(default)


def _doc(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split())
