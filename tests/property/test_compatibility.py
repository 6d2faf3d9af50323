"""fastavro as the oracle: data of one schema is readable with the other, both ways, whenever the checker says so."""

import io
from typing import Any

import fastavro
import pytest
from fastavro.read import SchemaResolutionError
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from autopilot.schemas.compatibility import full_obstacles, obstacles

Schema = dict[str, Any]

PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
}
DEFAULTS = {"boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": "", "bytes": ""}

primitive = st.sampled_from(sorted(DEFAULTS))
enum = st.sets(st.sampled_from("ABC"), min_size=1).flatmap(
    lambda symbols: st.sampled_from([{}, {"default": min(symbols)}]).map(
        lambda default: {"type": "enum", "name": "E", "symbols": sorted(symbols), **default}
    )
)


@st.composite
def fields(draw: st.DrawFn, types: st.SearchStrategy[Any]) -> list[Schema]:
    made = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3)):
        avro_type = draw(types)
        made.append({"name": name, "type": avro_type})
        if isinstance(avro_type, str) and avro_type in DEFAULTS and draw(st.booleans()):
            made[-1]["default"] = DEFAULTS[avro_type]
        elif isinstance(avro_type, list) and draw(st.booleans()):
            made[-1]["default"] = None
    return made


def nested(types: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        types.map(lambda items: {"type": "array", "items": items}),
        types.map(lambda values: {"type": "map", "values": values}),
        primitive.map(lambda branch: ["null", branch]),
        st.lists(primitive, unique=True, min_size=1, max_size=2).map(lambda branches: ["null", *branches]),
    )


leaf = st.one_of(primitive, primitive, nested(primitive))
inner = fields(leaf).map(lambda made: {"type": "record", "name": "Inner", "fields": made})


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A record with at most one nested record and one enum, so that no name is defined twice."""
    made = draw(fields(leaf))
    for name, other in (("i", inner), ("e", enum)):
        if draw(st.booleans()):
            made.append({"name": name, "type": draw(other)})
    return {"type": "record", "name": "Outer", "fields": made}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """A schema and what became of it: each field kept, dropped, joined by another, or given another type."""
    old = draw(schemas())
    other = draw(schemas())
    taken = {f["name"] for f in old["fields"]}
    kept = [f for f in old["fields"] if draw(st.sampled_from([True, True, True, False]))]
    new = [f for f in other["fields"] if f["name"] not in taken and draw(st.booleans())]
    changed = [
        {**f, "type": next(o["type"] for o in other["fields"] if o["name"] == f["name"])}
        if any(o["name"] == f["name"] for o in other["fields"]) and "default" not in f and draw(st.booleans())
        else f
        for f in kept
    ]
    return old, {**old, "fields": [*new, *changed]}


def data(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of(*(data(branch) for branch in schema))
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if schema["type"] == "array":
        return st.lists(data(schema["items"]), max_size=2)
    if schema["type"] == "map":
        return st.dictionaries(st.text(max_size=2), data(schema["values"]), max_size=2)
    if schema["type"] == "enum":
        return st.sampled_from(schema["symbols"])
    return st.fixed_dictionaries({f["name"]: data(f["type"]) for f in schema["fields"]})


def reads(writer: Schema, reader: Schema, datum: Any) -> Any:
    buffer = io.BytesIO()
    parsed = fastavro.parse_schema(writer)
    fastavro.schemaless_writer(buffer, parsed, datum)
    buffer.seek(0)
    return fastavro.schemaless_reader(buffer, parsed, fastavro.parse_schema(reader))


@settings(max_examples=300, deadline=None)
@given(pairs(), st.data())
def test_what_the_checker_calls_compatible_is_readable_both_ways(
    pair: tuple[Schema, Schema], draw: st.DataObject
) -> None:
    old, new = pair
    compatible = not full_obstacles(new, old)
    event(f"compatible: {compatible}, changed: {old != new}")
    assume(compatible)
    for writer, reader in ((old, new), (new, old)):
        datum = draw.draw(data(writer))
        back = reads(writer, reader, datum)
        assert set(back) == {f["name"] for f in reader["fields"]}


@settings(max_examples=200, deadline=None)
@given(schemas())
def test_every_schema_is_compatible_with_itself(schema: Schema) -> None:
    assert full_obstacles(schema, schema) == []


@settings(max_examples=300, deadline=None)
@given(schemas(), schemas(), st.data())
def test_a_missing_field_or_another_kind_of_type_is_refused_by_the_oracle_too(
    reader: Schema, writer: Schema, draw: st.DataObject
) -> None:
    """The other direction for what must fail on all data: a reader's field that the writer has not, with no default."""
    written = {f["name"] for f in writer["fields"]}
    lacking = [f["name"] for f in reader["fields"] if f["name"] not in written and "default" not in f]
    assume(lacking)
    assert {o.path for o in obstacles(reader, writer)} >= set(lacking)
    # a field before it may fail first: bytes that are read as a string need not be UTF-8
    with pytest.raises((SchemaResolutionError, UnicodeDecodeError)):
        reads(writer, reader, draw.draw(data(writer)))
