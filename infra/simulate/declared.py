"""What people declare for a simulation: the configuration folder and the model of effects."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from autopilot.infra.configuration_files import Finding, check_together, read_folder
from autopilot.infra.simulate.files import InputError
from autopilot.schemas.configuration import Configuration, Fleet
from autopilot.schemas.events.people import Document
from autopilot.streams.simulation.effects import RECORDED, EffectModel


def read_configuration(folder: Path) -> tuple[list[Document], list[Finding]]:
    """The documents of a folder, checked as `autopilot apply` checks them, and what is wrong.

    A simulation has one partition, wherever the fleet pins its domains: how many the real log has is not known here.
    """
    loaded, findings = read_folder(folder)
    fleets = [item.model for item in loaded if isinstance(item.model, Fleet)]
    pinned = [domain.partition or 0 for fleet in fleets for domain in fleet.domains]
    findings += check_together(loaded, Configuration(), 1 + max(pinned, default=0), whole=not findings)
    return [item.document() for item in loaded], findings


def read_effects(path: Path | None) -> EffectModel:
    """The declared model; the one without effects where there is no file. Raises `InputError`."""
    if path is None:
        return RECORDED
    try:
        return EffectModel.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise InputError(path, 0, "file", str(error).splitlines()[0], "YAML") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise InputError(path, 0, field, first["input"], first["msg"]) from None
