"""The published JSON Schema (draft 2020-12) of remedy catalogues, for completion and checks in editors.

`python -m autopilot.schemas.remedy_schema FILE` writes it; without a file it is printed. Editors find it by the first
line of a catalogue: `# yaml-language-server: $schema=PATH`.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from autopilot.schemas.remedies import RemedyCatalogue

FILE_NAME: Final = "remedy-catalogue.schema.json"


def catalogue_schema() -> dict[str, Any]:
    """The schema. What is made when a catalogue is read is left out: nobody writes it."""
    schema = RemedyCatalogue.model_json_schema()
    remedy = schema["$defs"]["Remedy"]
    del remedy["properties"]["rests_on"]
    remedy["oneOf"] = [{"required": ["steps"]}, {"required": ["goal"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(catalogue_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
    else:
        sys.stdout.write(schema_text())
