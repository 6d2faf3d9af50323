"""The targets file: which drivers the effector has, with the settings and bounds of each.

    drivers:
      - driver: haproxy
        name: edge              # by which services refer to it; the kind itself when left out
        ...                     # the kind's own settings

Only the effector reads it. Secrets are not in it: settings name files that hold them. A kind's module is loaded when
the file names it, so that an effector needs no more libraries than it has targets.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from autopilot.infra.effector.port import Driver
from autopilot.infra.errors import MendableError

_PACKAGE = "autopilot.infra.effector.drivers"


class Kind(NamedTuple):
    """Where a kind of driver is: its module, its settings (a pydantic model) and its class, `driver(settings)`."""

    module: str
    settings: str
    driver: str


KINDS: Mapping[str, Kind] = {
    "aws_ecs": Kind("aws_ecs", "AwsEcsSettings", "AwsEcsDriver"),
    "command": Kind("command", "CommandSettings", "CommandDriver"),
    "haproxy": Kind("haproxy", "HaproxySettings", "HaproxyDriver"),
    "kubernetes": Kind("kubernetes", "KubernetesSettings", "KubernetesDriver"),
    "opentofu": Kind("opentofu", "OpentofuSettings", "OpentofuDriver"),
    "supervisord": Kind("supervisord", "SupervisordSettings", "SupervisordDriver"),
    "webhook": Kind("webhook", "WebhookSettings", "WebhookDriver"),
}
"""Kind of driver -> where it is. Every settings model has a field `name` with the kind as its default."""


class TargetsFileError(MendableError):
    """The targets file is not as it should be. The message names the file, the field and what was expected."""


def read_drivers(path: Path) -> dict[str, Driver]:
    """The drivers of a targets file, by name. Raises `TargetsFileError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise TargetsFileError(f"{path} cannot be read: {error}") from error
    entries = content.get("drivers") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise TargetsFileError(f"{path}: `drivers` is {entries!r}, expected a list with one entry for each driver")
    drivers: dict[str, Driver] = {}
    for number, entry in enumerate(entries):
        driver = _driver(f"{path}: drivers[{number}]", entry)
        if driver.name in drivers:
            raise TargetsFileError(f"{path}: drivers[{number}].name is `{driver.name}`, expected one that is not taken")
        drivers[driver.name] = driver
    return drivers


def _driver(where: str, entry: Any) -> Driver:
    kind = KINDS.get(str(entry.get("driver", ""))) if isinstance(entry, dict) else None
    if kind is None:
        given = entry.get("driver") if isinstance(entry, dict) else entry
        raise TargetsFileError(f"{where}.driver is {given!r}, expected one of {', '.join(KINDS)}")
    try:
        module = import_module(f"{_PACKAGE}.{kind.module}")
    except ModuleNotFoundError as error:
        raise TargetsFileError(f"{where}: driver `{entry['driver']}` needs the package `{error.name}`") from error
    settings = {field: value for field, value in entry.items() if field != "driver"}
    try:
        driver: Driver = getattr(module, kind.driver)(getattr(module, kind.settings).model_validate(settings))
    except ValidationError as error:
        raise TargetsFileError(f"{where}{_complaint(error)}") from None
    except (OSError, ValueError) as error:
        raise TargetsFileError(f"{where}: driver `{entry['driver']}` cannot be made: {error}") from error
    return driver


def _complaint(error: ValidationError) -> str:
    """The first thing that is wrong. Values of what nobody asked for are not told: they may be secrets."""
    first = error.errors()[0]
    field = "".join(f".{part}" for part in first["loc"])
    if first["type"] == "missing":
        return f"{field} is missing, and is needed"
    if first["type"] == "extra_forbidden":
        return f"{field} is no setting of this driver"
    return f"{field} is {first['input']!r}: {first['msg']}"
