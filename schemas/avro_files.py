"""The committed `avro/*.avsc` files: what they must say, and how what was found differs from it.

Files exist for people, for other languages and for reviews; the models stay the one definition. Both functions are
pure; `autopilot schemas generate` and `autopilot schemas check` do the reading and writing.
"""

import json
from collections.abc import Mapping

from autopilot.schemas.avro_schema import Schema, schema_of
from autopilot.schemas.events import EVENT_TYPES

SUFFIX = ".avsc"


def current_schemas() -> dict[str, Schema]:
    """Event type -> schema, for every event type of this version."""
    return {name: schema_of(model) for name, model in EVENT_TYPES.items()}


def expected_files() -> dict[str, str]:
    """File name -> content, for every event type: indented JSON that ends with a newline."""
    return {name + SUFFIX: as_text(schema) for name, schema in current_schemas().items()}


def as_text(content: object) -> str:
    """Plain data as the indented JSON that is committed."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def differences(found: Mapping[str, str]) -> list[str]:
    """One line for each file in which `found` (file name -> content) differs from `expected_files()`; sorted."""
    expected = expected_files()
    missing = [f"avro/{name} is missing" for name in expected.keys() - found.keys()]
    surplus = [f"avro/{name} belongs to no event type" for name in found.keys() - expected.keys()]
    stale = [
        f"avro/{name} differs from its model"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    return sorted(missing + surplus + stale)
