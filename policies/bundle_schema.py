"""The published JSON Schema (draft 2020-12) of policy bundles, for completion and checks in editors.

`python -m autopilot.policies.bundle_schema FILE` writes it; without a file it is printed. Editors find it by the first
line of a bundle: `# yaml-language-server: $schema=PATH`.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from autopilot.policies.bundle import PolicyBundle
from autopilot.policies.facts import FACTS, FACTS_VERSION, FactSpec
from autopilot.policies.obligations import APPROVAL, OBLIGATIONS, Per

FILE_NAME: Final = "policy-bundle.schema.json"
_ASK_GOES_WITH_PARTS: Final[dict[str, Any]] = {
    "if": {"required": ["ask"]},
    "then": {"required": ["per"], "properties": {"per": {"enum": [per.value for per in Per if per is not Per.PLAN]}}},
}


def bundle_schema() -> dict[str, Any]:
    """The schema. Facts of test cases and obligations are spelled out, with their meaning and bounds."""
    schema = PolicyBundle.model_json_schema()
    definitions = schema["$defs"]
    definitions["Case"]["properties"]["facts"] = {
        "type": "object",
        "description": "facts that differ from the baseline",
        "properties": {spec.name: _fact(spec) for spec in FACTS},
        "additionalProperties": False,
    }
    definitions["RuleObligation"]["oneOf"] = [_obligation(name) for name in OBLIGATIONS]
    schema["properties"]["facts"] |= {"minimum": 1, "maximum": FACTS_VERSION}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _fact(spec: FactSpec) -> dict[str, Any]:
    described: dict[str, Any] = {"description": f"{spec.meaning}{f' ({spec.unit})' if spec.unit else ''}"}
    if spec.type is int:
        return described | {"type": "integer", "minimum": spec.low, "maximum": spec.high, "examples": [spec.example]}
    if spec.type is bool:
        return described | {"type": "boolean"}
    return described | {"type": "string", **({"enum": list(spec.choices)} if spec.choices else {})}


def _obligation(name: str) -> dict[str, Any]:
    spec = OBLIGATIONS[name]
    parameters = {
        parameter: {"description": each.meaning, **(_count(each.most) if each.whole else _text(each.pattern))}
        for parameter, each in spec.parameters.items()
    }
    needed = [parameter for parameter, each in spec.parameters.items() if not each.optional]
    return {
        "title": name,
        "description": spec.meaning,
        "properties": {
            "name": {"const": name},
            "parameters": {
                "properties": parameters,
                "required": needed,
                "additionalProperties": False,
                **(_ASK_GOES_WITH_PARTS if name == APPROVAL else {}),
            },
        },
    }


def _count(most: int | None) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, **({"maximum": most} if most is not None else {})}


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, **({"pattern": f"^({pattern})$"} if pattern else {})}


def schema_text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(bundle_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
    else:
        sys.stdout.write(schema_text())
